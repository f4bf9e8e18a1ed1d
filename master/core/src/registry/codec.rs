//! Commands as the log keeps them.

use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::time::{Span, Time};
use prost::Message;
use wire::registry as w;

use super::agent::{drain_from_wire, drain_to_wire, holder_from_wire, holder_to_wire, presence_to_wire};
use super::framework::{framework_from_wire, framework_to_wire};
use super::maintenance::{from_wire as maintenance_from_wire, to_wire as maintenance_to_wire};
use super::quota::{from_wire as quota_from_wire, to_wire as quota_to_wire};
use super::{
    AgentCommand, Away, Command, Compare, FrameworkCommand, LEVEL, LeaseCommand, LevelCommand, Limits,
    LimitsCommand, Member, MemberCommand, Operation, QuotaCommand, RangeQuery, Relation, Target, Text, Txn,
    Weight, WeightCommand,
};

/// Why bytes are not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("not a registry command: {0}")]
    Undecodable(String),
    /// Written by a newer version, or damaged.
    #[error("the registry command has a part this program does not know: {0}")]
    Unknown(&'static str),
    #[error(
        "the masters of this group write what programs of level {found} know, and this one knows level {known}: start a newer version of it"
    )]
    Newer { found: u32, known: u32 },
}

impl Command {
    pub fn to_bytes(&self) -> Vec<u8> {
        let family = match self {
            Self::Framework(command) => w::command::Family::Framework(framework_out(command)),
            Self::Agent(command) => w::command::Family::Agent(agent_out(command)),
            Self::Weight(command) => w::command::Family::Weight(weight_out(command)),
            Self::Quota(command) => w::command::Family::Quota(w::QuotaCommand {
                set: command.set.iter().map(quota_to_wire).collect(),
            }),
            Self::Maintenance(command) => w::command::Family::Maintenance(maintenance_to_wire(command)),
            Self::Txn(txn) => w::command::Family::Txn(txn_out(txn)),
            Self::Lease(command) => w::command::Family::Lease(lease_out(command)),
            Self::Member(command) => w::command::Family::Member(member_out(command)),
            Self::Limits(command) => {
                w::command::Family::Limits(w::LimitsCommand { set: command.set.to_wire() })
            }
            Self::Level(command) => w::command::Family::Level(w::LevelCommand { level: command.level }),
        };
        w::Command { family: Some(family) }.encode_to_vec()
    }

    /// Reads what [`Command::to_bytes`] wrote, in this version or an earlier one.
    ///
    /// # Errors
    /// Bytes that are no command, or one with a part of a newer version: to leave it out would be another command.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::from_bytes_knowing(bytes, LEVEL)
    }

    /// As [`Command::from_bytes`] in a program that knows this level.
    ///
    /// # Errors
    /// The same.
    pub fn from_bytes_knowing(bytes: &[u8], known: u32) -> Result<Self, Malformed> {
        let command = w::Command::decode(bytes).map_err(|error| Malformed::Undecodable(error.to_string()))?;
        // What is not known was skipped, and is missing from the length.
        if command.encoded_len() != bytes.len() {
            return Err(Malformed::Unknown("member"));
        }
        Ok(match command.family.ok_or(Malformed::Unknown("family"))? {
            w::command::Family::Framework(command) => Self::Framework(framework_in(command)?),
            w::command::Family::Agent(command) => Self::Agent(agent_in(command)?),
            w::command::Family::Weight(command) => Self::Weight(weight_in(command)),
            w::command::Family::Quota(command) => {
                let quota = |quota| quota_from_wire(quota).ok_or(Malformed::Unknown("amount of a quota"));
                Self::Quota(QuotaCommand {
                    set: command.set.into_iter().map(quota).collect::<Result<_, _>>()?,
                })
            }
            w::command::Family::Maintenance(command) => {
                let command = maintenance_from_wire(command);
                Self::Maintenance(command.ok_or(Malformed::Unknown("maintenance command"))?)
            }
            w::command::Family::Txn(txn) => Self::Txn(txn_in(txn)?),
            w::command::Family::Lease(command) => Self::Lease(lease_in(command)?),
            w::command::Family::Member(command) => Self::Member(member_in(command)?),
            w::command::Family::Limits(command) => {
                Self::Limits(LimitsCommand { set: Limits::from_wire(&command.set) })
            }
            #[cfg(feature = "mutants")]
            w::command::Family::Level(_) if mutant::planted("what-is-newer-is-skipped") => {
                Self::Level(LevelCommand { level: known })
            }
            w::command::Family::Level(w::LevelCommand { level }) if level > known => {
                return Err(Malformed::Newer { found: level, known });
            }
            w::command::Family::Level(w::LevelCommand { level }) => Self::Level(LevelCommand { level }),
        })
    }
}

/// A transaction's bytes, for its fingerprint.
pub(crate) fn txn_bytes(txn: &Txn) -> Vec<u8> {
    txn_out(txn).encode_to_vec()
}

fn framework_out(command: &FrameworkCommand) -> w::FrameworkCommand {
    use w::framework_command::Command as C;
    let command = match command {
        FrameworkCommand::Admit(framework) => {
            let framework = framework_to_wire(framework);
            C::Admit(w::FrameworkAdmit {
                id: framework.id,
                info: framework.info,
                principal: framework.principal,
                failover_timeout_ms: framework.failover_timeout_ms,
                at_ms: framework.admitted_at_ms,
            })
        }
        FrameworkCommand::Remove { id, at } => {
            C::Remove(w::FrameworkRemove { id: id.to_string(), at_ms: at.as_millis() })
        }
    };
    w::FrameworkCommand { command: Some(command) }
}

fn framework_in(command: w::FrameworkCommand) -> Result<FrameworkCommand, Malformed> {
    use w::framework_command::Command as C;
    Ok(match command.command.ok_or(Malformed::Unknown("framework command"))? {
        C::Admit(admit) => FrameworkCommand::Admit(framework_from_wire(w::Framework {
            id: admit.id,
            info: admit.info,
            principal: admit.principal,
            failover_timeout_ms: admit.failover_timeout_ms,
            admitted_at_ms: admit.at_ms,
        })),
        C::Remove(remove) => {
            FrameworkCommand::Remove { id: FrameworkId::from(remove.id), at: Time::from_millis(remove.at_ms) }
        }
    })
}

fn agent_out(command: &AgentCommand) -> w::AgentCommand {
    use w::agent_command::Command as C;
    let command = match command {
        AgentCommand::Admit { id, info, at, holder } => C::Admit(w::AgentAdmit {
            id: id.to_string(),
            info: (**info).clone(),
            at_ms: at.as_millis(),
            holder: holder.as_ref().map(holder_to_wire),
        }),
        AgentCommand::Mark { id, away, at } => C::Mark(w::AgentMark {
            id: id.to_string(),
            presence: presence_to_wire((*away).into()).into(),
            at_ms: at.as_millis(),
        }),
        AgentCommand::Deactivate { id, deactivated } => {
            C::Deactivate(w::AgentDeactivate { id: id.to_string(), deactivated: *deactivated })
        }
        AgentCommand::Drain { id, drain } => {
            C::Drain(w::AgentDrain { id: id.to_string(), drain: drain_to_wire(*drain) })
        }
        AgentCommand::Forget { id } => C::Forget(w::AgentForget { id: id.to_string() }),
    };
    w::AgentCommand { command: Some(command) }
}

fn agent_in(command: w::AgentCommand) -> Result<AgentCommand, Malformed> {
    use w::agent_command::Command as C;
    Ok(match command.command.ok_or(Malformed::Unknown("agent command"))? {
        C::Admit(admit) => AgentCommand::Admit {
            id: AgentId::from(admit.id),
            info: Arc::new(admit.info),
            at: Time::from_millis(admit.at_ms),
            holder: admit.holder.map(holder_from_wire),
        },
        C::Mark(mark) => AgentCommand::Mark {
            away: match mark.presence() {
                w::Presence::Unreachable => Away::Unreachable,
                w::Presence::Gone => Away::Gone,
                w::Presence::Admitted | w::Presence::Unknown => return Err(Malformed::Unknown("presence")),
            },
            id: AgentId::from(mark.id),
            at: Time::from_millis(mark.at_ms),
        },
        C::Deactivate(command) => {
            AgentCommand::Deactivate { id: AgentId::from(command.id), deactivated: command.deactivated }
        }
        C::Drain(command) => {
            AgentCommand::Drain { id: AgentId::from(command.id), drain: drain_from_wire(command.drain) }
        }
        C::Forget(forget) => AgentCommand::Forget { id: AgentId::from(forget.id) },
    })
}

fn weight_out(command: &WeightCommand) -> w::WeightCommand {
    let weight =
        |weight: &Weight| w::Weight { role: weight.role.to_string(), thousandths: weight.thousandths };
    w::WeightCommand { set: command.set.iter().map(weight).collect() }
}

fn weight_in(command: w::WeightCommand) -> WeightCommand {
    let weight = |weight: w::Weight| Weight { role: weight.role.into(), thousandths: weight.thousandths };
    WeightCommand { set: command.set.into_iter().map(weight).collect() }
}

fn member_out(command: &MemberCommand) -> w::MemberCommand {
    use w::member_command::Command as C;
    let command = match command {
        MemberCommand::Form { cluster } => C::Form(w::MemberForm { cluster: cluster.to_string() }),
        MemberCommand::Announce(member) => {
            C::Announce(w::MemberAnnounce { node: member.node, address: member.address.to_string() })
        }
        MemberCommand::Remove { node } => C::Remove(w::MemberRemove { node: *node }),
    };
    w::MemberCommand { command: Some(command) }
}

fn member_in(command: w::MemberCommand) -> Result<MemberCommand, Malformed> {
    use w::member_command::Command as C;
    Ok(match command.command.ok_or(Malformed::Unknown("member command"))? {
        C::Form(form) => MemberCommand::Form { cluster: form.cluster.into() },
        C::Announce(announce) => {
            MemberCommand::Announce(Member { node: announce.node, address: announce.address.into() })
        }
        C::Remove(remove) => MemberCommand::Remove { node: remove.node },
    })
}

fn lease_out(command: &LeaseCommand) -> w::LeaseCommand {
    use w::lease_command::Command as C;
    let command = match command {
        LeaseCommand::Grant { namespace, lease, ttl } => C::Grant(w::LeaseGrant {
            namespace: String::from(&**namespace),
            lease: String::from(&**lease),
            ttl_ms: ttl.as_millis(),
        }),
        LeaseCommand::Renew { namespace, lease } => {
            C::Renew(w::LeaseRenew { namespace: String::from(&**namespace), lease: String::from(&**lease) })
        }
        LeaseCommand::Revoke { namespace, lease } => {
            C::Revoke(w::LeaseRevoke { namespace: String::from(&**namespace), lease: String::from(&**lease) })
        }
        LeaseCommand::Expire { namespace, lease, granted, renewals_seen } => C::Expire(w::LeaseExpire {
            namespace: String::from(&**namespace),
            lease: String::from(&**lease),
            granted: *granted,
            renewals_seen: *renewals_seen,
        }),
    };
    w::LeaseCommand { command: Some(command) }
}

fn lease_in(command: w::LeaseCommand) -> Result<LeaseCommand, Malformed> {
    use w::lease_command::Command as C;
    Ok(match command.command.ok_or(Malformed::Unknown("lease command"))? {
        C::Grant(grant) => LeaseCommand::Grant {
            namespace: grant.namespace.into(),
            lease: grant.lease.into(),
            ttl: Span::from_millis(grant.ttl_ms),
        },
        C::Renew(name) => LeaseCommand::Renew { namespace: name.namespace.into(), lease: name.lease.into() },
        C::Revoke(name) => {
            LeaseCommand::Revoke { namespace: name.namespace.into(), lease: name.lease.into() }
        }
        C::Expire(expire) => LeaseCommand::Expire {
            namespace: expire.namespace.into(),
            lease: expire.lease.into(),
            granted: expire.granted,
            renewals_seen: expire.renewals_seen,
        },
    })
}

fn txn_out(txn: &Txn) -> w::TxnCommand {
    w::TxnCommand {
        namespace: String::from(&*txn.namespace),
        request: txn.request.as_deref().map(str::to_owned),
        compare: txn.compare.iter().map(compare_out).collect(),
        then: txn.then.iter().map(operation_out).collect(),
        otherwise: txn.otherwise.iter().map(operation_out).collect(),
    }
}

fn txn_in(txn: w::TxnCommand) -> Result<Txn, Malformed> {
    Ok(Txn {
        namespace: txn.namespace.into(),
        request: txn.request.map(Text::from),
        compare: txn.compare.into_iter().map(compare_in).collect::<Result<_, _>>()?,
        then: txn.then.into_iter().map(operation_in).collect::<Result<_, _>>()?,
        otherwise: txn.otherwise.into_iter().map(operation_in).collect::<Result<_, _>>()?,
    })
}

fn compare_out(compare: &Compare) -> w::Compare {
    let relation = match compare.relation {
        Relation::Equal => w::Relation::Equal,
        Relation::NotEqual => w::Relation::NotEqual,
        Relation::Less => w::Relation::Less,
        Relation::Greater => w::Relation::Greater,
    };
    let target = match &compare.target {
        Target::Exists(exists) => w::compare::Target::Exists(*exists),
        Target::Value(value) => w::compare::Target::Value(value.clone()),
        Target::Version(version) => w::compare::Target::Version(*version),
        Target::CreateRevision(revision) => w::compare::Target::CreateRevision(*revision),
        Target::ModRevision(revision) => w::compare::Target::ModRevision(*revision),
    };
    w::Compare { key: String::from(&*compare.key), relation: relation.into(), target: Some(target) }
}

fn compare_in(compare: w::Compare) -> Result<Compare, Malformed> {
    let relation = match compare.relation() {
        w::Relation::Equal => Relation::Equal,
        w::Relation::NotEqual => Relation::NotEqual,
        w::Relation::Less => Relation::Less,
        w::Relation::Greater => Relation::Greater,
        w::Relation::Unknown => return Err(Malformed::Unknown("relation")),
    };
    let target = match compare.target.ok_or(Malformed::Unknown("compare target"))? {
        w::compare::Target::Exists(exists) => Target::Exists(exists),
        w::compare::Target::Value(value) => Target::Value(value),
        w::compare::Target::Version(version) => Target::Version(version),
        w::compare::Target::CreateRevision(revision) => Target::CreateRevision(revision),
        w::compare::Target::ModRevision(revision) => Target::ModRevision(revision),
    };
    Ok(Compare { key: compare.key.into(), relation, target })
}

fn operation_out(operation: &Operation) -> w::Operation {
    use w::operation::Operation as O;
    let operation = match operation {
        Operation::Put { key, value, lease } => O::Put(w::Put {
            key: String::from(&**key),
            value: value.clone(),
            lease: lease.as_deref().map(str::to_owned),
        }),
        Operation::Delete { key } => O::Delete(String::from(&**key)),
        Operation::Get { key } => O::Get(String::from(&**key)),
        Operation::Range(query) => O::Range(w::Range {
            prefix: String::from(&*query.prefix),
            after: query.after.as_deref().map(str::to_owned),
            limit: query.limit,
        }),
    };
    w::Operation { operation: Some(operation) }
}

fn operation_in(operation: w::Operation) -> Result<Operation, Malformed> {
    use w::operation::Operation as O;
    Ok(match operation.operation.ok_or(Malformed::Unknown("operation"))? {
        O::Put(put) => {
            Operation::Put { key: put.key.into(), value: put.value, lease: put.lease.map(Text::from) }
        }
        O::Delete(key) => Operation::Delete { key: key.into() },
        O::Get(key) => Operation::Get { key: key.into() },
        O::Range(range) => Operation::Range(RangeQuery {
            prefix: range.prefix.into(),
            after: range.after.map(Text::from),
            limit: range.limit,
        }),
    })
}
