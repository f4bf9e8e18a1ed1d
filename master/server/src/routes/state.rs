//! `/state`: all that the leader knows, as dashboards of the first implementation read it (spec mesos-v1, 7.1).

use std::collections::BTreeMap;
use std::io;

use master_core::snapshot::Snapshot;
use model::time::Time;
use serde_json::json;

use super::snapshot_json::{self as shapes, Each, Members};
use crate::who;

/// What a master says of itself in its state.
#[derive(Clone, Debug)]
pub struct About {
    /// `host:port` others use.
    pub advertise: String,
    /// When the program started.
    pub started: Time,
    /// The settings as text, by name.
    pub flags: Vec<(&'static str, String)>,
}

/// Writes `/state` piece by piece, everything in it as of the moment of the snapshot.
///
/// # Errors
/// Those of `out`.
pub fn write_state(snapshot: &Snapshot, about: &About, out: &mut dyn io::Write) -> io::Result<()> {
    let tables = &snapshot.tables;
    let pid = who::pid(&about.advertise);
    let (hostname, port) = who::host_and_port(&about.advertise);
    let id = snapshot.master.id.clone();
    let active = tables.agents.values().filter(|agent| agent.link.is_some() && !agent.deactivated).count();
    let deactivated = tables.agents.values().filter(|agent| agent.deactivated).count();
    let unreachable = snapshot.unreachable_agents();
    let flags: BTreeMap<&str, &str> =
        about.flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let domain = snapshot.master.domain.as_ref().map(shapes::v1_shape);
    let mut leader = json!({"id": id, "pid": pid, "port": port, "hostname": hostname});
    if let Some(domain) = &domain {
        leader["domain"] = domain.clone();
    }
    let mut members: Vec<(&'static str, Box<dyn shapes::erased::Write + '_>)> = vec![
        ("version", Box::new(who::API_VERSION)),
        ("stoa_version", Box::new(who::VERSION)),
        ("build_date", Box::new("")),
        ("build_time", Box::new(0.0)),
        ("build_user", Box::new("stoa")),
        ("start_time", Box::new(about.started.as_secs_f64())),
        ("elected_time", Box::new(snapshot.elected_at.as_secs_f64())),
        ("id", Box::new(id)),
        ("pid", Box::new(pid.clone())),
        ("hostname", Box::new(hostname)),
        ("capabilities", Box::new(["AGENT_UPDATE"])),
        ("activated_slaves", Box::new(active as f64)),
        ("deactivated_slaves", Box::new(deactivated as f64)),
        ("unreachable_slaves", Box::new(unreachable as f64)),
        ("leader", Box::new(pid)),
        ("leader_info", Box::new(leader)),
        ("flags", Box::new(flags)),
        ("slaves", Box::new(Each(|| tables.agents.values().map(|agent| shapes::agent(snapshot, agent))))),
        ("recovered_slaves", Box::new(shapes::recovered(snapshot))),
        ("frameworks", Box::new(Each(|| tables.frameworks.values().map(|one| shapes::Whole(one))))),
        ("completed_frameworks", Box::new(Each(|| tables.completed.iter().map(|one| shapes::Whole(one))))),
        ("orphan_tasks", Box::new([0; 0])),
        ("unregistered_frameworks", Box::new([0; 0])),
    ];
    members.extend(domain.map(|domain| ("domain", Box::new(domain) as _)));
    Members(members).write(out)
}
