//! Between the master's messages and the supervisor's terms: the one place that knows both.

use std::collections::BTreeMap;

use model::attributes::{AttributeValue, Attributes};
use model::id::{AgentId, FrameworkId};
use model::resources::{Bag, Form};
use model::role::Role;
use model::task::TaskState;
use model::time::{Span, Time};
use wire::scheduler::{Event, call, event};
use wire::v1;

use crate::core::app::{HealthCheck, Protocol};
use crate::core::offer::Offer;
use crate::core::update::{Reason, TaskUpdate};
use crate::limits;
use crate::supervisor::message::{Call, Input, Launch};

/// What a message of the master means to the supervisor; `None` for what changes nothing here: heartbeats, withdrawn
/// offers (none is ever kept), lost agents (their tasks are told one by one).
pub(super) fn input(event: Event) -> Option<Input> {
    if let Some(subscribed) = event.subscribed {
        let master = subscribed.master_info.and_then(|info| info.hostname).unwrap_or_default();
        return Some(Input::Subscribed { framework: FrameworkId::from(subscribed.framework_id), master });
    }
    if let Some(offers) = event.offers {
        return Some(Input::Offers(offers.offers.into_iter().filter_map(offer).collect()));
    }
    event.update.and_then(|update| self::update(update.status)).map(Input::Update)
}

/// The text of an ERROR event, after which the stream ends.
pub(super) fn error(event: &Event) -> Option<&str> {
    event.error.as_ref().map(|event::Error { message }| message.as_str())
}

fn offer(offer: v1::Offer) -> Option<Offer> {
    let role = offer.allocation_info.and_then(|info| info.role).unwrap_or_else(|| "*".to_owned());
    let readable = role.parse::<Role>().ok().zip(Bag::from_wire(&offer.resources).ok());
    let Some((role, resources)) = readable else {
        tracing::warn!(offer = offer.id.value, "an offer cannot be read and is left to time out");
        return None;
    };
    let mut fields = BTreeMap::from([("hostname".to_owned(), offer.hostname.clone())]);
    if let Some(domain) = offer.domain.and_then(|domain| domain.fault_domain) {
        fields.insert("@region".to_owned(), domain.region.name);
        fields.insert("@zone".to_owned(), domain.zone.name);
    }
    if let Ok(attributes) = Attributes::from_wire(&offer.attributes) {
        for (name, value) in attributes.iter() {
            fields.entry(name.to_owned()).or_insert_with(|| text(value));
        }
    }
    Some(Offer {
        id: offer.id.into(),
        agent: offer.agent_id.into(),
        hostname: offer.hostname,
        role,
        resources,
        fields,
    })
}

/// An attribute as constraints see it; intervals are written without spaces.
fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Ranges(_) | AttributeValue::Set(_) => value.to_string().replace(", ", ","),
        AttributeValue::Scalar(_) | AttributeValue::Text(_) => value.to_string(),
    }
}

fn update(status: v1::TaskStatus) -> Option<TaskUpdate> {
    let addresses = status.container_status.iter().flat_map(|container| &container.network_infos);
    Some(TaskUpdate {
        state: TaskState::try_from(status.state).ok()?,
        addresses: addresses
            .flat_map(|network| network.ip_addresses.iter().filter_map(|address| address.ip_address.clone()))
            .collect(),
        task: status.task_id.into(),
        agent: status.agent_id.map(AgentId::from),
        uuid: status.uuid.map(|uuid| uuid.to_vec()),
        message: status.message.unwrap_or_default(),
        reason: reason(status.reason),
        healthy: status.healthy,
        unreachable_since: status.unreachable_time.as_ref().map(Time::from),
    })
}

fn reason(number: Option<i32>) -> Reason {
    use v1::task_status::Reason as Wire;
    match number.and_then(|number| Wire::try_from(number).ok()) {
        Some(Wire::InvalidOffers) => Reason::InvalidOffers,
        Some(Wire::Reconciliation) => Reason::Reconciliation,
        Some(Wire::AgentDisconnected) => Reason::AgentDisconnected,
        Some(Wire::AgentRemoved) => Reason::AgentRemoved,
        Some(Wire::AgentDraining) => Reason::AgentDraining,
        Some(Wire::TaskHealthCheckStatusUpdated) => Reason::Health,
        _ => Reason::Other,
    }
}

/// The master's message for a call; `None` for those that are no message but a connection.
pub(super) fn message(call: Call) -> Option<wire::scheduler::Call> {
    use call::Type;
    let empty = wire::scheduler::Call::default;
    let typed =
        |kind: Type, call: wire::scheduler::Call| wire::scheduler::Call { r#type: Some(kind.into()), ..call };
    Some(match call {
        Call::Subscribe { .. } | Call::Disconnect => return None,
        Call::Accept { offer, launches, refuse } => {
            let task_infos = launches.into_iter().map(task_info).collect();
            let operation = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch.into()),
                launch: Some(v1::offer::operation::Launch { task_infos }),
                ..Default::default()
            };
            let accept = call::Accept {
                offer_ids: vec![offer.into()],
                operations: vec![operation],
                filters: Some(filters(refuse)),
            };
            typed(Type::Accept, wire::scheduler::Call { accept: Some(accept), ..empty() })
        }
        Call::Decline { offers, refuse } => {
            let offer_ids = offers.into_iter().map(Into::into).collect();
            let decline = call::Decline { offer_ids, filters: Some(filters(refuse)) };
            typed(Type::Decline, wire::scheduler::Call { decline: Some(decline), ..empty() })
        }
        Call::Revive => {
            typed(Type::Revive, wire::scheduler::Call { revive: Some(Default::default()), ..empty() })
        }
        Call::Suppress => {
            typed(Type::Suppress, wire::scheduler::Call { suppress: Some(Default::default()), ..empty() })
        }
        Call::Kill(kill) => {
            let kill = call::Kill {
                task_id: kill.task.into(),
                agent_id: Some(kill.agent.into()),
                kill_policy: kill.grace.map(kill_policy),
            };
            typed(Type::Kill, wire::scheduler::Call { kill: Some(kill), ..empty() })
        }
        Call::Acknowledge { agent, task, uuid } => {
            let acknowledge =
                call::Acknowledge { agent_id: agent.into(), task_id: task.into(), uuid: uuid.into() };
            typed(Type::Acknowledge, wire::scheduler::Call { acknowledge: Some(acknowledge), ..empty() })
        }
        Call::Reconcile { tasks } => {
            let tasks = tasks
                .into_iter()
                .map(|(task, agent)| call::reconcile::Task {
                    task_id: task.into(),
                    agent_id: Some(agent.into()),
                })
                .collect();
            let reconcile = call::Reconcile { tasks };
            typed(Type::Reconcile, wire::scheduler::Call { reconcile: Some(reconcile), ..empty() })
        }
    })
}

fn filters(refuse: Span) -> v1::Filters {
    v1::Filters { refuse_seconds: Some(refuse.as_secs_f64()) }
}

fn kill_policy(grace: Span) -> v1::KillPolicy {
    v1::KillPolicy { grace_period: Some(grace.into()) }
}

fn task_info(launch: Launch) -> v1::TaskInfo {
    v1::TaskInfo {
        name: launch.name.clone(),
        task_id: launch.task.clone().into(),
        agent_id: launch.agent.clone().into(),
        resources: launch.resources.to_wire(Form::Stack),
        health_check: launch.health_check.as_ref().map(|(check, port)| health_check(check, *port)),
        kill_policy: launch.kill_grace.map(kill_policy),
        labels: Some(labels(&launch.labels)),
        discovery: Some(discovery(&launch)),
        command: Some(command(launch)),
        ..Default::default()
    }
}

fn command(launch: Launch) -> v1::CommandInfo {
    let variable = |(name, value): (String, String)| v1::environment::Variable {
        name,
        value: Some(value),
        ..Default::default()
    };
    let uris = launch.fetch.into_iter().map(|fetch| v1::command_info::Uri {
        value: fetch.uri,
        executable: Some(fetch.executable),
        extract: Some(fetch.extract),
        cache: Some(fetch.cache),
        output_file: fetch.dest_path,
    });
    v1::CommandInfo {
        uris: uris.collect(),
        environment: Some(v1::Environment { variables: launch.env.into_iter().map(variable).collect() }),
        shell: Some(launch.cmd.is_some()),
        // Without a shell the first argument is also the program.
        value: launch.cmd.or_else(|| launch.args.first().cloned()),
        arguments: launch.args,
        user: launch.user,
    }
}

fn labels(labels: &BTreeMap<String, String>) -> v1::Labels {
    let label = |(key, value): (&String, &String)| v1::Label { key: key.clone(), value: Some(value.clone()) };
    v1::Labels { labels: labels.iter().map(label).collect() }
}

fn discovery(launch: &Launch) -> v1::DiscoveryInfo {
    let ports = launch.ports.iter().map(|port| v1::Port {
        number: port.number.into(),
        name: port.name.clone(),
        protocol: Some(port.protocol.clone()),
        labels: Some(labels(&port.labels)),
        ..Default::default()
    });
    v1::DiscoveryInfo {
        visibility: v1::discovery_info::Visibility::Framework.into(),
        name: Some(launch.name.clone()),
        ports: Some(v1::Ports { ports: ports.collect() }),
        ..Default::default()
    }
}

/// The check the agent runs. It never kills by itself: the supervisor counts the failures it reports and decides, so
/// that a fault of the checks cannot take down every instance at once.
fn health_check(check: &HealthCheck, port: u16) -> v1::HealthCheck {
    use v1::health_check::{HttpCheckInfo, TcpCheckInfo, Type};
    let seconds = |span: Span| Some(span.as_secs_f64());
    let (kind, mut wire) = match check.protocol {
        Protocol::Command => {
            let command =
                v1::CommandInfo { shell: Some(true), value: check.command.clone(), ..Default::default() };
            (Type::Command, v1::HealthCheck { command: Some(command), ..Default::default() })
        }
        Protocol::Tcp | Protocol::MesosTcp => {
            let tcp = TcpCheckInfo { port: port.into(), ..Default::default() };
            (Type::Tcp, v1::HealthCheck { tcp: Some(tcp), ..Default::default() })
        }
        Protocol::Http | Protocol::Https | Protocol::MesosHttp | Protocol::MesosHttps => {
            let http = HttpCheckInfo {
                scheme: Some(if check.protocol.is_encrypted() { "https" } else { "http" }.to_owned()),
                port: port.into(),
                path: Some(check.path.clone().unwrap_or_else(|| "/".to_owned())),
                ..Default::default()
            };
            (Type::Http, v1::HealthCheck { http: Some(http), ..Default::default() })
        }
    };
    wire.r#type = Some(kind.into());
    // The delay is a matter of the MESOS kinds. The others begin soon: what is not up by then is covered by the grace
    // period, but the next look comes only after a whole interval.
    let delayed = matches!(check.protocol, Protocol::MesosHttp | Protocol::MesosHttps | Protocol::MesosTcp);
    wire.delay_seconds = seconds(if delayed { check.delay } else { check.interval.min(limits::FIRST_CHECK) });
    wire.interval_seconds = seconds(check.interval);
    wire.timeout_seconds = seconds(check.timeout);
    wire.grace_period_seconds = seconds(check.grace);
    wire.consecutive_failures = Some(u32::MAX);
    wire
}
