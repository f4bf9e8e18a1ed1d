//! Which processes a cluster on one machine consists of, and on which ports: a value, computed before anything starts.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// The most agents or supervisors on one machine: each further one takes the next port a hundred up.
const MOST: u16 = 20;
/// The host ports that all agents of the machine share out.
const TASK_PORTS: std::ops::Range<u32> = 31_000..32_000;

/// What a person asked for.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) masters: u16,
    pub(crate) agents: u16,
    pub(crate) marathons: u16,
    pub(crate) chronoses: u16,
    pub(crate) agent_resources: Option<String>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) port_shift: u16,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct RolePlan {
    /// `master-0`, `agent-1`, ...
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// All of them, in the order of starting.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) data_dir: PathBuf,
    pub(crate) roles: Vec<RolePlan>,
    pub(crate) marathon: SocketAddr,
    pub(crate) master: SocketAddr,
    pub(crate) routed: bool,
}

impl Plan {
    pub(crate) fn new(program: PathBuf, data_dir: PathBuf, shape: &Shape) -> Result<Self, String> {
        if ![1, 3, 5].contains(&shape.masters) {
            return Err(format!("--masters is {}: it must be 1, 3 or 5", shape.masters));
        }
        for (flag, count) in
            [("--agents", shape.agents), ("--marathons", shape.marathons), ("--chronoses", shape.chronoses)]
        {
            if count == 0 || count > MOST {
                return Err(format!("{flag} is {count}: it must be between 1 and {MOST}"));
            }
        }
        let masters = addresses(5050, shape.masters, shape.port_shift)?;
        let agents = addresses(5051, shape.agents, shape.port_shift)?;
        let marathons = addresses(8080, shape.marathons, shape.port_shift)?;
        let chronoses = addresses(4400, shape.chronoses, shape.port_shift)?;
        let sidecar = addresses(9090, 1, shape.port_shift)?[0];
        let all_masters = list(&masters);
        let role = |name: String, address: SocketAddr, role: &str, flags: Vec<String>| {
            let folder = data_dir.join(&name).display().to_string();
            let mut arguments = vec![role.to_owned(), format!("--listen={address}")];
            if role != "marathon" && role != "chronos" {
                arguments.push(format!("--data-dir={folder}"));
            }
            arguments.extend(flags);
            RolePlan { name, address, program: program.clone(), arguments }
        };

        let mut roles = Vec::new();
        for (i, address) in masters.iter().enumerate() {
            let peers = if masters.len() > 1 { vec![format!("--peers={all_masters}")] } else { Vec::new() };
            roles.push(role(format!("master-{i}"), *address, "master", peers));
        }
        for (i, address) in agents.iter().enumerate() {
            let resources = shape
                .agent_resources
                .clone()
                .unwrap_or_else(|| equal_part(i, agents.len(), shape.port_shift, &data_dir));
            let flags = vec![
                format!("--master={all_masters}"),
                format!("--resources={resources}"),
                "--kill-tasks-on-exit".to_owned(),
            ];
            roles.push(role(format!("agent-{i}"), *address, "agent", flags));
        }
        for (kind, addresses) in [("marathon", &marathons), ("chronos", &chronoses)] {
            for (i, address) in addresses.iter().enumerate() {
                let flags = vec![format!("--master={all_masters}")];
                roles.push(role(format!("{kind}-{i}"), *address, kind, flags));
            }
        }
        if let Some(haproxy) = &shape.haproxy {
            let urls: Vec<String> = marathons.iter().map(|address| format!("http://{address}")).collect();
            let flags = vec![
                format!("--marathon={}", urls.join(",")),
                format!("--haproxy={}", haproxy.display()),
                "--stop-haproxy-on-exit".to_owned(),
            ];
            roles.push(role("haproxy".to_owned(), sidecar, "haproxy", flags));
        }
        Ok(Self {
            data_dir,
            marathon: marathons[0],
            master: masters[0],
            routed: shape.haproxy.is_some(),
            roles,
        })
    }

    /// A sentence about the first port that somebody else holds.
    pub(crate) fn taken_port(&self) -> Option<String> {
        self.roles.iter().find_map(|role| {
            let error = TcpListener::bind(role.address).err()?;
            Some(format!(
                "{} wants to listen on {}, which fails: {error}. Is a cluster running here already? `--port-shift` moves all ports",
                role.name, role.address
            ))
        })
    }

    /// Where everything is, for a person to read.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("\nThe cluster is up:\n\n");
        for role in &self.roles {
            let _ = writeln!(text, "  {:<12} http://{}", role.name, role.address);
        }
        let _ = writeln!(text, "\n  data         {}", self.data_dir.display());
        if !self.routed {
            text.push_str("  routing      off (no HAProxy)\n");
        }
        text
    }
}

fn addresses(first: u16, count: u16, shift: u16) -> Result<Vec<SocketAddr>, String> {
    (0..count)
        .map(|i| {
            let port = u32::from(first) + 100 * u32::from(i) + u32::from(shift);
            u16::try_from(port)
                .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
                .map_err(|_| format!("--port-shift {shift} puts a port at {port}: the highest is 65535"))
        })
        .collect()
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Agents on one machine must not offer the same core, byte or port twice.
fn equal_part(index: usize, count: usize, shift: u16, data_dir: &Path) -> String {
    let parts = u32::try_from(count).unwrap_or(1);
    let width = (TASK_PORTS.end - TASK_PORTS.start) / parts;
    let low = TASK_PORTS.start + width * u32::try_from(index).unwrap_or(0) + u32::from(shift);
    let high = (low + width - 1).min(65_535);
    format!("{};ports:[{low}-{high}]", agent::share(data_dir, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            masters: 3,
            agents: 2,
            marathons: 2,
            chronoses: 2,
            agent_resources: None,
            haproxy: Some("/usr/sbin/haproxy".into()),
            port_shift: 0,
        }
    }

    fn plan(shape: &Shape) -> Result<Plan, String> {
        Plan::new("/bin/stoa".into(), "/tmp".into(), shape)
    }

    #[test]
    fn roles_listen_a_hundred_apart() {
        let plan = plan(&shape()).expect("a plan");
        let ports: Vec<u16> = plan.roles.iter().map(|role| role.address.port()).collect();
        assert_eq!(ports, [5050, 5150, 5250, 5051, 5151, 8080, 8180, 4400, 4500, 9090]);
    }

    #[test]
    fn agents_offer_disjoint_ports() {
        let plan = plan(&shape()).expect("a plan");
        let offered: Vec<&str> = plan
            .roles
            .iter()
            .filter(|role| role.name.starts_with("agent"))
            .filter_map(|role| role.arguments.iter().find(|flag| flag.starts_with("--resources")))
            .filter_map(|flag| flag.split("ports:").nth(1))
            .collect();
        assert_eq!(offered, ["[31000-31499]", "[31500-31999]"]);
    }

    #[test]
    fn an_even_number_of_masters_is_refused() {
        let error = plan(&Shape { masters: 2, ..shape() }).expect_err("refused");
        assert!(error.contains("--masters is 2"), "{error}");
    }

    #[test]
    fn a_port_past_the_last_is_refused() {
        let error = plan(&Shape { port_shift: 60_000, ..shape() }).expect_err("refused");
        assert!(error.contains("65535"), "{error}");
    }
}
