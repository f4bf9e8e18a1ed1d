//! What an instance says of itself.

use front::standby;
use http::{HeaderMap, Method, StatusCode};
use sdk::leadership::Standing;
use serde_json::json;
use wire::marathon::{HttpConfig, Info, Leader, MarathonConfig, Message, ZookeeperConfig};

use super::{wants_only, wrong_method};
use crate::http::respond::{Answered, JSON, Problem, TEXT, json, ok, with_type};
use crate::http::{Api, Call};
use crate::limits;

/// The version tools branch on: that of the API, which is Marathon's.
const API_VERSION: &str = "1.11.24";

/// Answers by itself, leader or not: it says that this process is alive, nothing else.
pub(super) fn ping(headers: &HeaderMap) -> Answered {
    let accepted: Vec<&str> = headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|one| one.split(';').next().unwrap_or_default().trim())
        .collect();
    let accepts = |kinds: &[&str]| accepted.iter().any(|one| kinds.contains(one));
    Ok(if accepted.is_empty() || accepts(&["*/*", "text/*", TEXT]) {
        with_type(StatusCode::OK, TEXT, b"pong".to_vec())
    } else if accepts(&["text/html"]) {
        with_type(StatusCode::OK, "text/html", b"pong".to_vec())
    } else if accepts(&["application/*", JSON]) {
        with_type(StatusCode::OK, JSON, b"\"pong\"".to_vec())
    } else {
        super::status(StatusCode::NO_CONTENT)
    })
}

/// Healthy is who leads with its records read, or knows who leads.
pub(super) fn health(api: &Api) -> Answered {
    let (able, role, leader) = match api.standing() {
        Standing::Leading(_) => (api.view_now().is_some(), "leader", Some(api.config().advertise.clone())),
        Standing::Following { leader } => (leader.is_some(), "standby", leader),
    };
    let status = if able { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json(status, &json!({"healthy": able, "role": role, "leader": leader})))
}

pub(super) fn version() -> Answered {
    ok(&json!({"name": "stoa-marathon", "version": env!("CARGO_PKG_VERSION"), "api": API_VERSION}))
}

fn observe(api: &Api) {
    let readers = api.hub().map_or(0, |hub| hub.readers());
    api.metrics().observe(api.view_now().as_deref(), readers);
}

pub(super) fn metrics(api: &Api, headers: &HeaderMap) -> Answered {
    observe(api);
    if wants_json(headers) { ok(&api.metrics().json()) } else { prometheus_text(api) }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains(JSON)) && !wants_only(headers, TEXT)
}

pub(super) fn prometheus(api: &Api) -> Answered {
    observe(api);
    prometheus_text(api)
}

fn prometheus_text(api: &Api) -> Answered {
    Ok(with_type(StatusCode::OK, "text/plain; version=0.0.4", api.metrics().text()))
}

pub(super) fn info(api: &Api, call: &Call) -> Answered {
    if call.method() != Method::GET {
        return Err(wrong_method());
    }
    let config = api.config();
    let (host, port) = config.advertise.rsplit_once(':').unwrap_or((&config.advertise, "0"));
    let framework = api.view_now().and_then(|state| state.framework.as_ref().map(ToString::to_string));
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    ok(&Info {
        name: "marathon".to_owned(),
        version: API_VERSION.to_owned(),
        buildref: "unknown".to_owned(),
        elected: true,
        leader: Some(config.advertise.clone()),
        framework_id: framework,
        marathon_config: MarathonConfig {
            master: config.masters.join(","),
            failover_timeout: crate::driver::FAILOVER_TIMEOUT as u64,
            framework_name: "marathon".to_owned(),
            ha: true,
            checkpoint: true,
            local_port_min: config.service_ports.0,
            local_port_max: config.service_ports.1,
            executor: "//cmd".to_owned(),
            hostname: host.to_owned(),
            webui_url: None,
            mesos_role: config.role.clone(),
            mesos_user: None,
            task_launch_timeout: limits::LAUNCH_TIMEOUT.as_millis(),
            task_reservation_timeout: 20_000,
            reconciliation_initial_delay: 0,
            reconciliation_interval: sdk::limits::RECONCILE_ALL.as_millis(),
            mesos_leader_ui_url: None,
            leader_proxy_connection_timeout_ms: millis(standby::CONNECT),
            leader_proxy_read_timeout_ms: millis(limits::ANSWER),
            features: Vec::new(),
        },
        // There is no such system here; clients only walk over the keys.
        zookeeper_config: ZookeeperConfig { zk_max_versions: limits::VERSIONS_PER_APP, ..Default::default() },
        http_config: HttpConfig { http_port: port.parse().unwrap_or(0), https_port: None },
    })
}

pub(super) fn leader(api: &Api, call: &Call) -> Answered {
    match *call.method() {
        Method::GET => ok(&Leader { leader: api.config().advertise.clone() }),
        Method::DELETE => {
            if let Some(given) = ["backup", "restore"].iter().find(|key| call.query.get(key).is_some()) {
                return Err(Problem::Unprocessable(format!(
                    "{given} is not available: the masters hold all state"
                )));
            }
            api.abdicate();
            ok(&Message { message: "Leadership abdicated".to_owned() })
        }
        _ => Err(wrong_method()),
    }
}

pub(super) fn plugins(call: &Call) -> Answered {
    if call.method() != Method::GET {
        return Err(wrong_method());
    }
    ok(&json!({"plugins": []}))
}
