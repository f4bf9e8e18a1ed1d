//! Between the master's messages and the supervisor's terms: the one place that knows both.

use std::collections::BTreeMap;

use model::resources::Form;
use model::time::Span;
use sdk::update::Update;
use wire::v1;

use crate::core::app::{HealthCheck, Protocol};
use crate::core::offer::Offer;
use crate::core::update::{Reason, TaskUpdate};
use crate::limits;
use crate::supervisor::message::Launch;

/// An offer, with what placement rules ask about.
pub(super) fn offer(offer: sdk::offer::Offer) -> Offer {
    let fields = offer.fields();
    Offer {
        id: offer.id,
        agent: offer.agent,
        hostname: offer.hostname,
        role: offer.role,
        resources: offer.resources,
        fields,
    }
}

/// An update, with the reasons that make a difference.
pub(super) fn update(update: &Update) -> TaskUpdate {
    TaskUpdate {
        reason: update.reason.map_or(Reason::Other, reason),
        task: update.task.clone(),
        agent: update.agent.clone(),
        state: update.state,
        uuid: update.uuid.clone(),
        message: update.message.clone(),
        addresses: update.addresses.clone(),
        healthy: update.healthy,
    }
}

fn reason(reason: v1::task_status::Reason) -> Reason {
    use v1::task_status::Reason as Wire;
    match reason {
        Wire::InvalidOffers => Reason::InvalidOffers,
        Wire::Reconciliation => Reason::Reconciliation,
        Wire::AgentDisconnected => Reason::AgentDisconnected,
        Wire::AgentRemoved => Reason::AgentRemoved,
        Wire::AgentDraining => Reason::AgentDraining,
        Wire::TaskHealthCheckStatusUpdated => Reason::Health,
        _ => Reason::Other,
    }
}

/// A week: an outage of every supervisor must not end the apps.
pub(crate) const FAILOVER_TIMEOUT: f64 = 604_800.0;

/// What the supervisor of `role` subscribes as; `advertise` is the `host:port` of its own API.
pub fn framework_info(role: &str, advertise: &str) -> v1::FrameworkInfo {
    let host = advertise.rsplit_once(':').map_or(advertise, |(host, _)| host);
    v1::FrameworkInfo {
        name: "marathon".to_owned(),
        failover_timeout: Some(FAILOVER_TIMEOUT),
        checkpoint: Some(true),
        roles: vec![role.to_owned()],
        hostname: Some(host.to_owned()),
        webui_url: Some(format!("http://{advertise}")),
        capabilities: sdk::scheduler::capabilities(),
        ..Default::default()
    }
}

fn kill_policy(grace: Span) -> v1::KillPolicy {
    v1::KillPolicy { grace_period: Some(grace.into()) }
}

/// A launch in the words of the protocol.
pub(super) fn task_info(launch: Launch) -> v1::TaskInfo {
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
