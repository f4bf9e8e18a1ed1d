//! What HAProxy is to do: services, each on a port of its own, and the servers behind them.
//!
//! Everything here has been checked: a value of these types can be written into a configuration or a runtime
//! command as it is. The text of labels never gets further than [`crate::labels`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// All that is to be routed, by app. Copying it costs a counter.
pub type Desired = OrdMap<String, Arc<Vec<Routed>>>;

/// A service and the servers it goes to just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    pub service: Service,
    /// By name.
    pub servers: BTreeMap<String, Server>,
}

/// What needs a reload to change: a frontend and the backend of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The app's id.
    pub app: String,
    /// Which of the app's ports, from 0.
    pub index: usize,
    /// The name of frontend and backend: letters, digits, `-`, `_`, `.`.
    pub name: String,
    pub bind: IpAddr,
    /// The service port.
    pub port: u16,
    pub options: Options,
}

/// One instance behind a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The id of the task.
    pub task: String,
    pub address: IpAddr,
    pub port: u16,
    /// No new connections; those it has are left to end.
    pub draining: bool,
}

/// What an app's labels ask for one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    pub mode: Mode,
    pub balance: Balance,
    pub sticky: bool,
    /// Host names, lower case, that lead here from the shared HTTP frontend.
    pub hosts: Vec<String>,
    /// Path prefixes to go with them; none means every path.
    pub paths: Vec<PathPrefix>,
    /// Rules of larger weight are asked first.
    pub weight: i32,
    pub redirect_to_https: bool,
    pub hsts: bool,
    pub auth: Option<Auth>,
    /// Networks that may connect, as `address/bits`; none means all.
    pub allowed: Vec<String>,
    /// The certificate file that makes this port TLS.
    pub certificate: Option<String>,
    /// Words after `bind`.
    pub bind_options: Vec<String>,
    /// The path prefix taken off before the request is passed on.
    pub proxy_path: Option<String>,
    /// The path prefix put before what the server redirects to.
    pub reverse_path: Option<String>,
    /// Where `/` is redirected to.
    pub redirect: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Tcp,
    Http,
}

/// The balancing algorithms that take servers at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    #[default]
    RoundRobin,
    LeastConn,
    First,
    Random,
    /// With consistent hashing: HAProxy takes no new servers otherwise.
    Source,
    /// As `Source`.
    Uri,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPrefix {
    pub prefix: String,
    pub ignore_case: bool,
}

/// One user of HTTP basic authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    pub realm: String,
    pub user: String,
    /// As `crypt(3)` writes it.
    pub hash: String,
}

/// How many servers take new connections.
pub fn count_servers(desired: &Desired) -> usize {
    let servers =
        desired.values().flat_map(|services| services.iter()).flat_map(|routed| routed.servers.values());
    servers.filter(|server| !server.draining).count()
}

/// The name of the backend of an app's service port.
pub fn backend_name(app: &str, port: u16) -> String {
    let app: String = app.trim_start_matches('/').chars().map(safe).collect();
    format!("{app}_{port}")
}

/// The name of a task's server. It holds the host and port for whoever reads statistics, and a hash of the task, so
/// that a new task on the port of an old one is a new server with counters of its own.
pub fn server_name(task: &str, host: &str, port: u16) -> String {
    let host: String = host.chars().take(30).map(safe).collect();
    format!("{host}_{port}-{:010x}", fnv(task.as_bytes()) & 0xff_ffff_ffff)
}

fn safe(c: char) -> char {
    if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }
}

/// FNV-1a: names must come out the same from every build.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_tell_tasks_apart() {
        assert_eq!(backend_name("/shop/cart", 10_004), "shop_cart_10004");
        assert_eq!(backend_name("/a b\n;x", 1), "a_b__x_1");
        let name = server_name("shop_cart.instance-1", "node-7.example", 31_822);
        assert_eq!(name, "node-7.example_31822-5ca3c78703");
        assert_ne!(name, server_name("shop_cart.instance-2", "node-7.example", 31_822));
        assert!(server_name("t", &"h".repeat(300), 1).len() < 63);
    }
}
