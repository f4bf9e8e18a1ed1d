//! From texts of a configuration to what the core and the tasks are told. Nothing is started or written before all
//! of it is found good.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use agent_core::Settings;
use model::attributes::Attributes;
use model::resources::{Bag, Form};
use model::time::Time;
use wire::v1;

use crate::config::Config;
use crate::error::Error;
use crate::machine;

/// The version of the API that answers speak, in the numeric form that clients parse. Ours is in the link's hello.
pub(crate) const API_VERSION: &str = "1.11.0";

/// How others reach this agent.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// The name in offers.
    pub(crate) hostname: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl Address {
    /// `ip:port`, with exactly one colon, on which clients split.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    /// As the first implementation of the protocol names an agent process.
    pub(crate) fn pid(&self) -> String {
        format!("slave(1)@{}", self.endpoint())
    }
}

/// Checks what does not depend on the network, so that mistakes are found before anything is touched.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    if config.masters.is_empty() {
        return Err(wrong("master", "must name at least one master as host:port"));
    }
    for master in &config.masters {
        split("master", master)?;
    }
    if let Some(advertise) = &config.advertise {
        split("advertise", advertise)?;
    }
    total(config)?;
    attributes(config)?;
    domain(config)?;
    Ok(())
}

fn total(config: &Config) -> Result<Bag, Error> {
    let text = match &config.resources {
        Some(text) => text.clone(),
        None => machine::resources(&config.data_dir),
    };
    Bag::parse(&text).map_err(|e| wrong("resources", e))
}

fn attributes(config: &Config) -> Result<Attributes, Error> {
    Attributes::parse(&config.attributes).map_err(|e| wrong("attributes", e))
}

fn domain(config: &Config) -> Result<Option<v1::DomainInfo>, Error> {
    let given = config.domain.as_deref().map(model::domain::parse);
    given.transpose().map_err(|e| wrong("domain", e))
}

/// How others reach an agent that listens on `bound`.
pub(crate) fn address(config: &Config, bound: SocketAddr) -> Result<Address, Error> {
    let (host, port) = match &config.advertise {
        Some(advertise) => split("advertise", advertise)?,
        None if bound.ip().is_unspecified() => (machine_name(), bound.port()),
        None => (bound.ip().to_string(), bound.port()),
    };
    // A name that only others can resolve is still good for offers; tasks then are told the loopback address.
    let ip = host.parse().ok().or_else(|| resolve(&host, port)).unwrap_or(Ipv4Addr::LOCALHOST.into());
    Ok(Address { hostname: config.hostname.clone().unwrap_or(host), ip, port })
}

fn resolve(host: &str, port: u16) -> Option<IpAddr> {
    let found: Vec<IpAddr> = (host, port).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}

/// What the core is told.
pub(crate) fn core(config: &Config, address: &Address, seed: [u64; 2], now: Time) -> Result<Settings, Error> {
    let total = total(config)?;
    let info = v1::AgentInfo {
        hostname: address.hostname.clone(),
        port: Some(i32::from(address.port)),
        resources: total.to_wire(Form::Stack),
        attributes: attributes(config)?.to_wire(),
        domain: domain(config)?,
        ..Default::default()
    };
    Ok(Settings {
        masters: config.masters.clone(),
        info: Arc::new(info),
        total,
        version: env!("CARGO_PKG_VERSION").into(),
        boot: machine::boot_id(),
        booted: machine::booted(now),
        ip: address.ip.to_string(),
        seed,
    })
}

/// The flags as texts, for readers.
pub(crate) fn flags(config: &Config, data_dir: &Path) -> Vec<(&'static str, String)> {
    let mut flags = vec![
        ("attributes", config.attributes.clone()),
        ("data-dir", data_dir.display().to_string()),
        ("kill-tasks-on-exit", config.kill_tasks_on_exit.to_string()),
        ("listen", config.listen.to_string()),
        ("master", config.masters.join(",")),
    ];
    flags.extend(config.advertise.clone().map(|text| ("advertise", text)));
    flags.extend(config.domain.clone().map(|text| ("domain", text)));
    let log_file = config.logs.as_ref().and_then(|logs| logs.file.as_ref());
    flags.extend(log_file.map(|file| ("log-file", file.display().to_string())));
    flags.extend(config.hostname.clone().map(|text| ("hostname", text)));
    flags.extend(config.resources.clone().map(|text| ("resources", text)));
    flags.sort_unstable();
    flags
}

fn split(field: &'static str, text: &str) -> Result<(String, u16), Error> {
    let bad = || wrong(field, format!("must be host:port, is {text:?}"));
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    if host.is_empty() || host.contains(char::is_whitespace) || host.contains('/') {
        return Err(bad());
    }
    match port.parse() {
        Ok(port) if port != 0 => Ok((host.trim_matches(['[', ']']).to_owned(), port)),
        _ => Err(bad()),
    }
}

fn wrong(field: &'static str, problem: impl ToString) -> Error {
    Error::Config { field, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            masters: vec!["127.0.0.1:5050".into()],
            listen: ([127, 0, 0, 1], 5051).into(),
            advertise: None,
            data_dir: "data".into(),
            resources: Some("cpus:2;mem:512".into()),
            attributes: "rack:a".into(),
            domain: None,
            hostname: None,
            credential: None,
            guard: None,
            kill_tasks_on_exit: false,
            logs: None,
        }
    }

    #[test]
    fn mistakes_name_their_field() {
        type Break = fn(&mut Config);
        let broken: [(&str, Break); 9] = [
            ("master", |c| c.masters.clear()),
            ("master", |c| c.masters = vec!["nowhere".into()]),
            ("master", |c| c.masters = vec!["http://a:5050".into()]),
            ("advertise", |c| c.advertise = Some("host:0".into())),
            ("resources", |c| c.resources = Some("cpus:-1".into())),
            ("resources", |c| c.resources = Some("cpus:NaN".into())),
            ("resources", |c| c.resources = Some("[{}]".into())),
            ("attributes", |c| c.attributes = "rack".into()),
            ("domain", |c| c.domain = Some("eu".into())),
        ];
        for (field, break_it) in broken {
            let mut config = config();
            break_it(&mut config);
            let error = check(&config).expect_err(field);
            assert!(error.is_refusal() && error.to_string().starts_with(&format!("'{field}'")), "{error}");
        }
        check(&config()).unwrap();
    }

    #[test]
    fn an_agent_is_known_by_what_it_listens_on_unless_told_otherwise() {
        let bound = ([127, 0, 0, 1], 4000).into();
        let address = address(&config(), bound).unwrap();
        assert_eq!((address.hostname.as_str(), address.endpoint().as_str()), ("127.0.0.1", "127.0.0.1:4000"));
        let told =
            Config { advertise: Some("10.1.2.3:5051".into()), hostname: Some("node-7".into()), ..config() };
        let address = super::address(&told, bound).unwrap();
        assert_eq!((address.hostname.as_str(), address.pid().as_str()), ("node-7", "slave(1)@10.1.2.3:5051"));
    }

    #[test]
    fn the_core_hears_what_is_offered() {
        let address = address(&config(), ([127, 0, 0, 1], 4000).into()).unwrap();
        let settings = core(&config(), &address, [1, 2], Time::from_secs(1_700_000_000)).unwrap();
        assert_eq!(settings.total.to_string(), "cpus:2; mem:512");
        assert_eq!((settings.info.port, settings.info.attributes.len()), (Some(4000), 1));
    }
}
