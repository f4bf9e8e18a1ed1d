//! The configuration file: everything that is to be routed, through a template. Pure.

use std::net::SocketAddr;
use std::path::Path;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::limits::{HARD_STOP, OLD_WORKERS};
use crate::plan::{hashes, socket};
use crate::service::{Auth, Mode, Options, Routed, fnv};

/// The template the program carries.
pub const TEMPLATE: &str = include_str!("../templates/haproxy.cfg.j2");

const NAME: &str = "haproxy.cfg";

/// Where things are, which the configuration has to name.
#[derive(Debug, Clone)]
pub struct Places {
    /// The socket of runtime commands.
    pub stats: String,
    /// The socket that answers while the worker serves.
    pub alive: String,
    /// The frontend shared by all apps with host names, if there is one.
    pub http: Option<SocketAddr>,
}

impl Places {
    /// The sockets of a data directory.
    pub fn of(data_dir: &Path, http: Option<SocketAddr>) -> Self {
        let at = |name: &str| data_dir.join(name).display().to_string();
        Self { stats: at("stats.sock"), alive: at("alive.sock"), http }
    }
}

/// Why a template is of no use.
#[derive(Debug, thiserror::Error)]
#[error("the template of the configuration is wrong: {0}")]
pub struct TemplateError(#[from] minijinja::Error);

/// A template, parsed.
#[derive(Debug)]
pub struct Renderer {
    environment: Environment<'static>,
    template: String,
    places: Places,
}

/// What the template sees.
#[derive(Serialize)]
struct Context<'a> {
    structure: String,
    stats: &'a str,
    alive: &'a str,
    http: Option<String>,
    /// Seconds.
    hard_stop: u64,
    old_workers: u32,
    rules: Vec<RuleContext<'a>>,
    services: Vec<ServiceContext<'a>>,
}

#[derive(Serialize)]
struct ServiceContext<'a> {
    name: &'a str,
    app: &'a str,
    socket: String,
    hashes: bool,
    options: &'a Options,
    servers: Vec<ServerContext<'a>>,
}

#[derive(Serialize)]
struct ServerContext<'a> {
    name: &'a str,
    socket: String,
    draining: bool,
}

/// A rule of the shared frontend.
#[derive(Serialize)]
struct RuleContext<'a> {
    acl: String,
    backend: &'a str,
    hosts: &'a [String],
    paths: Vec<&'a str>,
    ignore_case: bool,
    when: String,
    auth: Option<&'a Auth>,
    redirect_to_https: bool,
    #[serde(skip)]
    order: (i32, usize),
}

impl Renderer {
    /// Parses a template.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn new(template: String, places: Places) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template_owned(NAME, template.clone())?;
        Ok(Self { environment, template, places })
    }

    /// A fingerprint of a configuration's structure: equal where a reload would change nothing but servers. The
    /// configuration carries it as HAProxy's description, so that a running HAProxy tells what it was given.
    pub fn structure<'a>(&self, services: impl IntoIterator<Item = &'a Routed>) -> String {
        let mut services: Vec<&Routed> = services.into_iter().collect();
        services.sort_by(|a, b| a.service.name.cmp(&b.service.name));
        structure_of(&self.template, &self.places, &services)
    }

    /// The file's text. Servers that drain are written as disabled: nobody of a new worker's is connected to them.
    ///
    /// # Errors
    /// What the template asks of its input in vain.
    pub fn render<'a>(
        &self,
        services: impl IntoIterator<Item = &'a Routed>,
    ) -> Result<String, TemplateError> {
        let mut services: Vec<&Routed> = services.into_iter().collect();
        services.sort_by(|a, b| a.service.name.cmp(&b.service.name));
        let structure = structure_of(&self.template, &self.places, &services);
        let rules = if self.places.http.is_some() { rules(&services) } else { Vec::new() };
        let services: Vec<ServiceContext<'_>> = services.into_iter().map(service_context).collect();
        let template = self.environment.get_template(NAME)?;
        let context = Context {
            structure,
            stats: &self.places.stats,
            alive: &self.places.alive,
            http: self.places.http.map(|address| socket(address.ip(), address.port())),
            hard_stop: HARD_STOP.as_millis() / 1000,
            old_workers: OLD_WORKERS,
            rules,
            services,
        };
        let mut text = template.render(Serde(&context))?;
        text.push('\n');
        Ok(text)
    }
}

/// A fingerprint of everything but the servers, and of the template.
fn structure_of(template: &str, places: &Places, services: &[&Routed]) -> String {
    let structure: Vec<&crate::service::Service> = services.iter().map(|routed| &routed.service).collect();
    let text = format!("{template}{places:?}{structure:?}");
    format!("{:016x}", fnv(text.as_bytes()))
}

fn service_context(routed: &Routed) -> ServiceContext<'_> {
    let service = &routed.service;
    ServiceContext {
        name: &service.name,
        app: &service.app,
        socket: socket(service.bind, service.port),
        hashes: hashes(service.options.balance),
        options: &service.options,
        servers: routed
            .servers
            .iter()
            .map(|(name, server)| ServerContext {
                name,
                socket: socket(server.address, server.port),
                draining: server.draining,
            })
            .collect(),
    }
}

/// The rules of the shared frontend, in the order they are asked: by weight, and among equals the longest path
/// first, so that `/shop/admin` is not swallowed by `/shop`.
fn rules<'a>(services: &[&'a Routed]) -> Vec<RuleContext<'a>> {
    let mut rules = Vec::new();
    for routed in services {
        let options = &routed.service.options;
        if options.hosts.is_empty() || options.mode != Mode::Http {
            continue;
        }
        for ignore_case in [false, true] {
            let mut paths: Vec<&str> = options
                .paths
                .iter()
                .filter(|path| path.ignore_case == ignore_case)
                .map(|path| &*path.prefix)
                .collect();
            paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
            let everything = options.paths.is_empty() && !ignore_case;
            if paths.is_empty() && !everything {
                continue;
            }
            let acl = format!("{}_{}", routed.service.name, if ignore_case { "i" } else { "s" });
            let when =
                if paths.is_empty() { format!("{acl}_host") } else { format!("{acl}_host {acl}_path") };
            rules.push(RuleContext {
                order: (options.weight, paths.first().map_or(0, |path| path.len())),
                acl,
                backend: &routed.service.name,
                hosts: &options.hosts,
                paths,
                ignore_case,
                when,
                auth: options.auth.as_ref(),
                redirect_to_https: options.redirect_to_https,
            });
        }
    }
    rules.sort_by(|a, b| b.order.cmp(&a.order).then_with(|| a.backend.cmp(b.backend)));
    rules
}
