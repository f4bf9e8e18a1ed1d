//! Labels to options. Anyone who may deploy an app writes labels, so each is parsed into a type of its own and
//! what does not parse is reported and left at its default: it neither reaches the configuration nor takes the
//! app's other ports, let alone other apps, with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::service::{Auth, Balance, Mode, Options, PathPrefix};

/// The longest value of a label that is looked at.
const VALUE_BYTES: usize = 4_096;
/// Host names, paths or networks in one label.
const LIST_ITEMS: usize = 64;

/// A label that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The label's name, or `ports`, `host` for what is not a label.
    pub field: String,
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// The labels of one app.
pub struct Labels<'a> {
    labels: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

/// Names after `HAPROXY_{n}_` that would put raw text into the configuration. They are refused, all of them.
const TEMPLATES: &[&str] = &[
    "FRONTEND_HEAD",
    "BACKEND_HEAD",
    "USERLIST_HEAD",
    "FRONTEND_BACKEND_GLUE",
    "BACKEND_HTTP_OPTIONS",
    "BACKEND_HSTS_OPTIONS",
    "BACKEND_STICKY_OPTIONS",
    "BACKEND_SERVER_OPTIONS",
    "HEALTHCHECK_OPTIONS",
    "BACKEND_REDIRECT_HTTP_TO_HTTPS",
    "FRONTEND_ACL",
    "FRONTEND_APPID_ACL",
    "FRONTEND_ROUTING_ONLY",
    "BACKEND_PROXYPASS_GLUE",
    "BACKEND_REVPROXY_GLUE",
];

impl<'a> Labels<'a> {
    pub fn new(labels: &'a BTreeMap<String, String>) -> Self {
        Self { labels, problems: Vec::new() }
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Whether a balancer of these groups takes port `index`. `*` takes every app, also one without a group.
    pub fn in_groups(&self, index: usize, groups: &[String]) -> bool {
        if groups.iter().any(|group| group == "*") {
            return true;
        }
        let own = self.labels.get(&format!("HAPROXY_{index}_GROUP"));
        let Some(list) = own.or_else(|| self.labels.get("HAPROXY_GROUP")) else { return false };
        list.split(',').any(|name| groups.iter().any(|group| group == name.trim()))
    }

    pub fn enabled(&self, index: usize) -> bool {
        self.labels.get(&format!("HAPROXY_{index}_ENABLED")).is_none_or(|value| truth(value))
    }

    /// The port to listen on instead of the service port.
    pub fn port(&mut self, index: usize) -> Option<u16> {
        self.parse(index, "PORT", "must be a port from 1 to 65535", |value| {
            value.parse().ok().filter(|port| *port > 0)
        })
    }

    /// The address to listen on instead of the sidecar's.
    pub fn bind_address(&mut self, index: usize) -> Option<IpAddr> {
        self.parse(index, "BIND_ADDR", "must be an IP address or `*`", |value| match value {
            "*" => Some(IpAddr::from([0, 0, 0, 0])),
            _ => value.parse().ok(),
        })
    }

    /// Everything else about a port. `http_check`: the port's health check speaks HTTP, which makes HTTP the
    /// default mode.
    pub fn options(&mut self, index: usize, http_check: bool) -> Options {
        let hosts = self
            .parse(index, "VHOST", "must be host names with commas between", |value| {
                list(value, ',', |host| is_host(host).then(|| host.to_owned()))
            })
            .unwrap_or_default();
        let paths = self
            .parse(index, "PATH", "must be paths beginning with `/`, or `-i` before them", parse_paths)
            .unwrap_or_default();
        let default_mode = if !hosts.is_empty() || http_check { Mode::Http } else { Mode::Tcp };
        let mode = self.parse(index, "MODE", "must be `tcp` or `http`", |value| match value {
            "tcp" => Some(Mode::Tcp),
            "http" => Some(Mode::Http),
            _ => None,
        });
        let default_weight = i32::from(!paths.is_empty());
        let weight =
            self.parse(index, "BACKEND_WEIGHT", "must be a whole number", |value| value.parse().ok());
        let options = Options {
            mode: mode.unwrap_or(default_mode),
            balance: self.balance(index),
            sticky: self.truth(index, "STICKY"),
            weight: weight.unwrap_or(default_weight).max(default_weight),
            redirect_to_https: self.truth(index, "REDIRECT_TO_HTTPS"),
            hsts: self.truth(index, "USE_HSTS"),
            auth: self.parse(index, "AUTH", "must be `realm:user:hash` with a crypt(3) hash", parse_auth),
            allowed: self
                .parse(index, "BACKEND_NETWORK_ALLOWED_ACL", "must be networks as 10.0.0.0/8", |value| {
                    list(value, ' ', |network| is_network(network).then(|| network.to_owned()))
                })
                .unwrap_or_default(),
            certificate: self.parse(
                index,
                "SSL_CERT",
                "must be an absolute path of plain characters",
                |value| is_path(value).then(|| value.to_owned()),
            ),
            bind_options: self.bind_options(index),
            proxy_path: self.path(index, "HTTP_BACKEND_PROXYPASS_PATH"),
            reverse_path: self.path(index, "HTTP_BACKEND_REVPROXY_PATH"),
            redirect: self.path(index, "HTTP_BACKEND_REDIR"),
            hosts,
            paths,
        };
        self.refuse_templates(index);
        options
    }

    fn balance(&mut self, index: usize) -> Balance {
        let rule = "must be roundrobin, leastconn, first, random, source or uri";
        self.parse(index, "BALANCE", rule, |value| {
            Some(match value {
                "roundrobin" => Balance::RoundRobin,
                "leastconn" => Balance::LeastConn,
                "first" => Balance::First,
                "random" => Balance::Random,
                "source" => Balance::Source,
                "uri" => Balance::Uri,
                _ => return None,
            })
        })
        .unwrap_or_default()
    }

    fn bind_options(&mut self, index: usize) -> Vec<String> {
        const KNOWN: &[&str] = &["accept-proxy", "defer-accept", "tfo", "v4v6", "v6only"];
        self.parse(index, "BIND_OPTIONS", "may hold accept-proxy, defer-accept, tfo, v4v6, v6only", |value| {
            list(value, ' ', |word| KNOWN.contains(&word).then(|| word.to_owned()))
        })
        .unwrap_or_default()
    }

    fn path(&mut self, index: usize, name: &str) -> Option<String> {
        self.parse(index, name, "must be a path beginning with `/`", |value| {
            is_path(value).then(|| value.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty())
        })
    }

    fn truth(&self, index: usize, name: &str) -> bool {
        self.labels.get(&format!("HAPROXY_{index}_{name}")).is_some_and(|value| truth(value))
    }

    fn refuse_templates(&mut self, index: usize) {
        let prefix = format!("HAPROXY_{index}_");
        for name in self.labels.keys() {
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            if TEMPLATES.iter().any(|template| rest.contains(template)) {
                let reason = "raw configuration text is not taken from labels".to_owned();
                self.problems.push(Problem { field: name.clone(), reason });
            }
        }
    }

    fn parse<T>(
        &mut self,
        index: usize,
        name: &str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let name = format!("HAPROXY_{index}_{name}");
        let value = self.labels.get(&name)?.trim();
        let parsed = if value.len() > VALUE_BYTES { None } else { parse(value) };
        if parsed.is_none() {
            self.problems.push(Problem { field: name, reason: rule.to_owned() });
        }
        parsed
    }
}

fn truth(value: &str) -> bool {
    ["true", "t", "yes", "y"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Every item, or nothing when one is wrong or there are none.
fn list(value: &str, separator: char, item: impl Fn(&str) -> Option<String>) -> Option<Vec<String>> {
    let words = value.split(separator).map(str::trim).filter(|word| !word.is_empty());
    let items: Option<Vec<String>> = words.map(|word| item(&word.to_ascii_lowercase())).collect();
    items.filter(|items| (1..=LIST_ITEMS).contains(&items.len()))
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=253).contains(&text.len()) && text.chars().all(plain)
}

/// The characters of a path that mean nothing to HAProxy's parser, nor to the regular expressions paths end in.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._~-".contains(c);
    text.starts_with('/') && text.len() <= 1_024 && text.chars().all(plain)
}

fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.len() <= 3
        && bits.chars().all(|c| c.is_ascii_digit())
        && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn parse_paths(value: &str) -> Option<Vec<PathPrefix>> {
    let mut ignore_case = false;
    let mut paths = Vec::new();
    for word in value.split_whitespace() {
        if word == "-i" {
            ignore_case = true;
        } else {
            let prefix = is_path(word).then(|| word.to_owned())?;
            paths.push(PathPrefix { prefix, ignore_case });
        }
    }
    (1..=LIST_ITEMS).contains(&paths.len()).then_some(paths)
}

fn parse_auth(value: &str) -> Option<Auth> {
    let (realm, rest) = value.split_once(':')?;
    let (user, hash) = rest.split_once(':')?;
    let word = |text: &str, extra: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    let good = word(realm, "_.-") && word(user, "_.@-") && word(hash, "./$=,_-");
    good.then(|| Auth { realm: realm.into(), user: user.into(), hash: hash.into() })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn good_labels_become_options() {
        let labels = labels(&[
            ("HAPROXY_0_VHOST", "Shop.Example.COM, www.example.com"),
            ("HAPROXY_0_PATH", "-i /cart /basket"),
            ("HAPROXY_0_BALANCE", "leastconn"),
            ("HAPROXY_0_STICKY", "Yes"),
            ("HAPROXY_0_AUTH", "staff:bob:$5$salt$abc/def."),
            ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 ::1"),
            ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/cart/"),
            ("HAPROXY_1_MODE", "http"),
        ]);
        let mut labels = Labels::new(&labels);
        expect![[r#"
            Options {
                mode: Http,
                balance: LeastConn,
                sticky: true,
                hosts: [
                    "shop.example.com",
                    "www.example.com",
                ],
                paths: [
                    PathPrefix {
                        prefix: "/cart",
                        ignore_case: true,
                    },
                    PathPrefix {
                        prefix: "/basket",
                        ignore_case: true,
                    },
                ],
                weight: 1,
                redirect_to_https: false,
                hsts: false,
                auth: Some(
                    Auth {
                        realm: "staff",
                        user: "bob",
                        hash: "$5$salt$abc/def.",
                    },
                ),
                allowed: [
                    "10.0.0.0/8",
                    "::1",
                ],
                certificate: None,
                bind_options: [],
                proxy_path: Some(
                    "/cart",
                ),
                reverse_path: None,
                redirect: None,
            }
        "#]]
        .assert_debug_eq(&labels.options(0, false));
        assert_eq!(labels.options(1, false).mode, Mode::Http);
        assert_eq!(labels.options(2, false), Options::default());
        assert_eq!(labels.options(2, true).mode, Mode::Http);
        assert_eq!(labels.into_problems(), []);
    }

    #[test]
    fn bad_labels_are_reported_and_left_out() {
        let labels = labels(&[
            ("HAPROXY_0_VHOST", "good.example, ba d"),
            ("HAPROXY_0_PATH", "/ok\n    http-request deny"),
            ("HAPROXY_0_MODE", "http\nlisten evil"),
            ("HAPROXY_0_BALANCE", "static-rr"),
            ("HAPROXY_0_BACKEND_WEIGHT", "heavy"),
            ("HAPROXY_0_PORT", "0"),
            ("HAPROXY_0_BIND_ADDR", "127.0.0.1:80 user root"),
            ("HAPROXY_0_BIND_OPTIONS", "accept-proxy user root"),
            ("HAPROXY_0_SSL_CERT", "relative.pem"),
            ("HAPROXY_0_AUTH", "realm:user"),
            ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/33"),
            ("HAPROXY_0_HTTP_BACKEND_REDIR", "/a b"),
            ("HAPROXY_0_BACKEND_HTTP_OPTIONS", "option forwardfor"),
        ]);
        let mut labels = Labels::new(&labels);
        assert_eq!(labels.port(0), None);
        assert_eq!(labels.bind_address(0), None);
        assert_eq!(labels.options(0, false), Options::default());
        let problems: Vec<String> = labels.into_problems().iter().map(Problem::to_string).collect();
        expect![[r#"
            HAPROXY_0_PORT: must be a port from 1 to 65535
            HAPROXY_0_BIND_ADDR: must be an IP address or `*`
            HAPROXY_0_VHOST: must be host names with commas between
            HAPROXY_0_PATH: must be paths beginning with `/`, or `-i` before them
            HAPROXY_0_MODE: must be `tcp` or `http`
            HAPROXY_0_BACKEND_WEIGHT: must be a whole number
            HAPROXY_0_BALANCE: must be roundrobin, leastconn, first, random, source or uri
            HAPROXY_0_AUTH: must be `realm:user:hash` with a crypt(3) hash
            HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL: must be networks as 10.0.0.0/8
            HAPROXY_0_SSL_CERT: must be an absolute path of plain characters
            HAPROXY_0_BIND_OPTIONS: may hold accept-proxy, defer-accept, tfo, v4v6, v6only
            HAPROXY_0_HTTP_BACKEND_REDIR: must be a path beginning with `/`
            HAPROXY_0_BACKEND_HTTP_OPTIONS: raw configuration text is not taken from labels"#]]
        .assert_eq(&problems.join("\n"));
    }

    #[test]
    fn groups_select_ports() {
        let labels = labels(&[("HAPROXY_GROUP", "external, internal"), ("HAPROXY_1_GROUP", "other")]);
        let none = BTreeMap::new();
        let (labels, none) = (Labels::new(&labels), Labels::new(&none));
        let groups = |name: &str| vec![name.to_owned()];
        assert!(labels.in_groups(0, &groups("internal")));
        assert!(!labels.in_groups(1, &groups("internal")), "the port's own group replaces the app's");
        assert!(labels.in_groups(1, &groups("other")));
        assert!(!none.in_groups(0, &groups("internal")));
        assert!(none.in_groups(0, &groups("*")));
    }

    proptest::proptest! {
        /// Whatever the label, what comes out holds no blank, quote, newline, comment or escape.
        #[test]
        fn no_text_breaks_out(value in "[ -~\n\r\t\u{0}\u{7f}äλ]{0,40}", realm in "[ -~\n]{0,8}") {
            let names = ["VHOST", "PATH", "AUTH", "SSL_CERT", "HTTP_BACKEND_REDIR", "HTTP_BACKEND_PROXYPASS_PATH",
                "HTTP_BACKEND_REVPROXY_PATH", "BACKEND_NETWORK_ALLOWED_ACL", "BIND_OPTIONS"];
            let mut map: BTreeMap<String, String> =
                names.iter().map(|name| (format!("HAPROXY_0_{name}"), value.clone())).collect();
            map.insert("HAPROXY_1_AUTH".into(), format!("{realm}:{value}:{value}"));
            map.insert("HAPROXY_1_PATH".into(), format!("/{value}"));
            map.insert("HAPROXY_1_SSL_CERT".into(), format!("/{value}"));
            let mut labels = Labels::new(&map);
            for index in 0..2 {
                let options = labels.options(index, false);
                let auth = options.auth.iter().flat_map(|auth| [&auth.realm, &auth.user, &auth.hash]);
                let texts = options.hosts.iter().chain(options.paths.iter().map(|path| &path.prefix))
                    .chain(&options.allowed).chain(&options.bind_options).chain(&options.certificate)
                    .chain(&options.proxy_path).chain(&options.reverse_path).chain(&options.redirect).chain(auth);
                for text in texts {
                    proptest::prop_assert!(!text.is_empty());
                    proptest::prop_assert!(text.chars().all(|c| c.is_ascii_graphic() && !"\"'\\#{}[]%;".contains(c)), "{text:?}");
                }
            }
        }
    }
}
