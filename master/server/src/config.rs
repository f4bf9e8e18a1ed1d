//! What a master is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use front::guard::Guard;
use front::logging::Logs;
use wire::v1::DomainInfo;

/// The settings of one master.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one, which only a master alone can do without `advertise`.
    pub listen: SocketAddr,
    /// `host:port` at which clients and other masters reach this one; the listening address if absent.
    pub advertise: Option<String>,
    /// The first members of the group by their advertised addresses, this one included; empty for one master alone.
    pub peers: Vec<String>,
    /// A member of a running group that this master shall join; not together with `peers`.
    pub join: Option<String>,
    /// Where log, snapshots and identity are kept.
    pub data_dir: PathBuf,
    /// Its fault domain, as `DomainInfo` in JSON; absent: it has none, and takes no agents that have one.
    pub domain: Option<String>,
    /// An offer that nobody answers is taken back after so long; absent: never.
    pub offer_timeout: Option<Duration>,
    /// Who may ask for what; absent: everybody for everything.
    pub guard: Option<Guard>,
    /// What the process logs, where operators may read it and ask for more of it.
    pub logs: Option<Logs>,
}

/// Why a master does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] replica::DirError),
    /// The group cannot be founded or joined with this disk.
    #[error(transparent)]
    Forming(#[from] replica::form::FormError),
    /// The replica cannot go on.
    #[error(transparent)]
    Replica(#[from] replica::Fatal),
    /// The system refused a thread or a task.
    #[error("{0}")]
    System(String),
}

impl Error {
    /// Whether the fault lies in what the master was told or given, so that nothing was started.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Listen { .. } | Self::Directory(_) | Self::Forming(_))
    }
}

impl Config {
    /// The address others use, once the one listened on is known.
    pub(crate) fn advertised(&self, listening: SocketAddr) -> Result<String, Error> {
        if self.join.is_some() && !self.peers.is_empty() {
            return Err(Error::Config(
                "--join is for a master that comes later and --peers for the first members: give one of them"
                    .to_owned(),
            ));
        }
        let Some(advertise) = &self.advertise else {
            if listening.ip().is_unspecified() {
                return Err(Error::Config(format!(
                    "--advertise HOST:PORT is needed with --listen {}: others cannot reach a master at that address",
                    self.listen
                )));
            }
            return Ok(listening.to_string());
        };
        for address in self.peers.iter().chain(&self.join).chain([advertise]) {
            check_address(address)?;
        }
        Ok(advertise.clone())
    }
}

/// The domain that `--domain` describes.
pub(crate) fn domain(text: Option<&str>) -> Result<Option<DomainInfo>, Error> {
    let read = text.map(model::domain::parse).transpose();
    read.map_err(|error| Error::Config(format!("--domain {error}")))
}

/// `host:port`, the host without anything that could end up in a `Location` header as something else.
pub(crate) fn check_address(address: &str) -> Result<(), Error> {
    let fits = address.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if fits {
        Ok(())
    } else {
        Err(Error::Config(format!("`{address}` is not an address of the form HOST:PORT")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, advertise: Option<&str>, peers: &[&str]) -> Config {
        Config {
            listen: listen.parse().expect("an address"),
            advertise: advertise.map(str::to_owned),
            peers: peers.iter().map(|peer| (*peer).to_owned()).collect(),
            join: None,
            data_dir: PathBuf::new(),
            domain: None,
            offer_timeout: None,
            guard: None,
            logs: None,
        }
    }

    #[test]
    fn the_advertised_address_is_one_others_can_use() {
        let bound = "127.0.0.1:5050".parse().expect("an address");
        assert_eq!(config("127.0.0.1:0", None, &[]).advertised(bound).expect("fine"), "127.0.0.1:5050");
        let named = config("0.0.0.0:5050", Some("m1.example:5050"), &["m1.example:5050"]);
        assert_eq!(named.advertised(bound).expect("fine"), "m1.example:5050");
        let wild = config("0.0.0.0:5050", None, &[]).advertised("0.0.0.0:5050".parse().expect("an address"));
        assert!(wild.expect_err("nobody can reach it").to_string().contains("--advertise"));
        let refused = domain(Some("eu")).expect_err("not JSON").to_string();
        assert!(refused.starts_with("--domain must be JSON"), "{refused}");
        for bad in ["m1", "m1:", ":5050", "m1:0", "m1:99999", "m1/x:5050", "m 1:5050", "m1\r\nX: y:5050"] {
            let error = config("127.0.0.1:1", Some(bad), &[]).advertised(bound).expect_err(bad).to_string();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }
}
