//! How much the registry holds.
//!
//! The limits are replicated, not compiled in: `apply` must give the same verdict on two masters of different
//! versions, and a constant changed by an upgrade would make them diverge half-way through it.

use wire::registry::{Record, record};

use super::table::Fact;
use super::{Outcome, Refusal};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Bytes of a namespace's name. Part of the format, like the three below.
pub(crate) const NAMESPACE_NAME_BYTES: u64 = 128;
/// Bytes of the id of a lease or of a request.
pub(crate) const NAME_BYTES: u64 = 128;
/// Bytes of a member's address, a role, a principal.
pub(crate) const LABEL_BYTES: u64 = 512;
/// Bytes of an id of a framework or an agent.
pub(crate) const ID_BYTES: u64 = 255;
/// Bytes of what a framework or an agent says of itself: every master holds all of it, and the log each version.
pub(crate) const INFO_BYTES: u64 = MIB;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $default:expr, $least:expr, $most:expr;)*) => {
        /// The bounds in force. Each is documented with what it protects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            fn check(&self) -> Result<(), Refusal> {
                $(if !($least..=$most).contains(&self.$name) {
                    let (least, most): (u64, u64) = ($least, $most);
                    return Err(Refusal::invalid(
                        concat!("limits.", stringify!($name)),
                        format!("must be from {least} to {most}"),
                    ));
                })*
                Ok(())
            }

            pub(crate) fn to_wire(self) -> wire::registry::Limits {
                wire::registry::Limits { $($name: self.$name,)* }
            }

            pub(crate) fn from_wire(limits: &wire::registry::Limits) -> Self {
                Self { $($name: limits.$name,)* }
            }
        }
    };
}

limits! {
    /// Masters in the group.
    members: 9, 1, 31;
    /// Frameworks at a time.
    frameworks: 10_000, 1, 1_000_000;
    /// Removed frameworks remembered; the oldest is forgotten first.
    tombstones: 10_000, 1, 1_000_000;
    /// Agents at a time, those gone or unreachable among them.
    agents: 200_000, 1, 2_000_000;
    /// Roles with a weight of their own; and as many may have a quota.
    weights: 10_000, 1, 1_000_000;
    /// Namespaces that hold a key or a lease.
    namespaces: 1_000, 1, 100_000;
    /// Bytes of keys and values in one namespace: all of them are in memory on every master.
    namespace_bytes: 512 * MIB, MIB, 64 * 1024 * MIB;
    /// Bytes of a key.
    key_bytes: KIB, 64, 64 * KIB;
    /// Bytes of a value.
    value_bytes: MIB, KIB, 8 * MIB;
    /// Comparisons of a transaction, and operations of each branch.
    txn_operations: 128, 1, 10_000;
    /// Bytes of a transaction's keys and values together: one entry of the log.
    txn_bytes: 4 * MIB, 16 * KIB, 16 * MIB;
    /// Bytes of keys and values in one answer.
    answer_bytes: 4 * MIB, 64 * KIB, 64 * MIB;
    /// Leases of one namespace.
    leases: 10_000, 1, 1_000_000;
    /// Keys under one lease: its end deletes them in one step.
    lease_keys: 1_024, 1, 100_000;
    /// Requests whose outcome is remembered; the oldest is forgotten first.
    requests: 16_384, 1, 1_000_000;
    /// Events kept for watchers; the oldest are forgotten first.
    history_events: 65_536, 1, 10_000_000;
    /// Bytes of keys and values in the events kept.
    history_bytes: 64 * MIB, MIB, 4096 * MIB;
}

/// Replaces the limits. Lowering one refuses what comes later; what is there stays, except that tables which
/// forget their oldest shrink at their next insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsCommand {
    pub set: Limits,
}

impl LimitsCommand {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.set.check()
    }
}

pub(crate) fn apply(limits: &mut Limits, command: LimitsCommand) -> Outcome {
    if *limits == command.set {
        return Outcome::Unchanged;
    }
    *limits = command.set;
    Outcome::Changed
}

impl Fact for Limits {
    fn record(&self) -> Record {
        Record { record: Some(record::Record::Limits(self.to_wire())) }
    }
}
