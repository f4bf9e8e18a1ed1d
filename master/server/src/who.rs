//! Who this master is to clients.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use wire::v1::master_info::{Capability, capability};
use wire::v1::{Address, DomainInfo, MasterInfo};

/// The version of the API that is spoken. Clients take it apart as numbers and expect at least 1.0.0.
pub(crate) const API_VERSION: &str = "1.11.0";

/// Our own.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// 64 random bits of the system.
pub(crate) fn random() -> u64 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    // Six bits of a UUID are fixed, but not the same ones in both halves.
    high ^ low
}

/// Host and port of an advertised address, which was checked when it was given.
pub(crate) fn host_and_port(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or_default())
}

/// The first address of the advertised name, as the wire wants one beside it. Looked up once, at the start: a name
/// server that does not answer must not stop the loop.
pub(crate) async fn resolve(address: &str) -> IpAddr {
    let (host, port) = host_and_port(address);
    if let Ok(ip) = host.parse() {
        return ip;
    }
    let found = tokio::net::lookup_host((host, port)).await.ok().and_then(|mut all| all.next());
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// With a fresh id: it changes with each leadership, so that ids made of it are never made twice.
pub(crate) fn master_info(advertise: &str, ip: IpAddr, domain: Option<DomainInfo>) -> MasterInfo {
    let (host, port) = host_and_port(advertise);
    let number = match ip {
        IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
        IpAddr::V6(_) => 0,
    };
    let can = |kind: capability::Type| Capability { r#type: Some(kind.into()) };
    MasterInfo {
        id: uuid::Uuid::new_v4().to_string(),
        ip: number,
        port: port.into(),
        pid: Some(pid(advertise)),
        hostname: Some(host.to_owned()),
        version: Some(API_VERSION.to_owned()),
        address: Some(Address {
            hostname: Some(host.to_owned()),
            ip: Some(ip.to_string()),
            port: port.into(),
        }),
        domain,
        // Neither QUOTA_V2 nor AGENT_DRAINING, though both are there: mesos-go refuses a whole SUBSCRIBED in JSON for a capability it does not know.
        capabilities: vec![can(capability::Type::AgentUpdate)],
    }
}

/// The name old tools know a master by.
pub(crate) fn pid(advertise: &str) -> String {
    format!("master@{advertise}")
}

pub(crate) fn version() -> Value {
    json!({ "version": API_VERSION, "build_user": "stoa", "build_date": "", "build_time": 0.0, "stoa_version": VERSION })
}
