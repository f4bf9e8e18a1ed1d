//! The HAProxy sidecar: an event feed in, a configured balancer out.
//!
//! A supervisor's apps have service ports; the sidecar makes each of them lead to the healthy instances, wherever
//! these are. It follows the supervisor's events, holds a picture of what is to be routed ([`view`]), compares it
//! with what HAProxy does ([`plan`]) and closes the gap: instances come and go over HAProxy's runtime socket, only a
//! new or changed service needs a reload. The pure parts decide, the others ([`apply`], [`feed`]) do.

pub mod core;
pub mod labels;
pub mod plan;
pub mod render;
pub mod runtime;
pub mod service;
pub mod sse;
pub mod tally;
pub mod throttle;
pub mod view;

mod admin;
mod app;
mod apply;
mod clock;
mod driver;
mod feed;
mod files;
mod limits;
mod load;
mod process;
mod shared;
mod socket;
mod supervisors;
#[cfg(test)]
mod tests;

pub use supervisors::EVENTS;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use front::door;
use model::time::Span;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::Admin;
use crate::apply::Applier;
use crate::clock::Clock;
use crate::core::Core;
use crate::driver::Driver;
use crate::files::{Files, FilesError};
use crate::load::{LoadError, Loader};
use crate::process::Haproxy;
use crate::render::{Places, Renderer, TEMPLATE, TemplateError};
use crate::shared::Shared;
use crate::supervisors::Supervisors;
use crate::view::Settings;

/// How the sidecar is run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The supervisors, as `http://host:port`; any of them will do.
    pub marathon: Vec<String>,
    /// Who the sidecar says it is to supervisors that ask.
    pub credential: Option<front::credential::Credential>,
    /// The groups of apps to route (label `HAPROXY_GROUP`); `*` routes all.
    pub groups: Vec<String>,
    /// The address service ports are bound on unless a label says otherwise.
    pub bind: IpAddr,
    /// The HAProxy program, 2.5 or newer.
    pub haproxy: PathBuf,
    /// Where the configuration, its older versions, the last good state and HAProxy's sockets are.
    pub data_dir: PathBuf,
    /// The sidecar's own address.
    pub listen: SocketAddr,
    /// Where apps with host names (label `HAPROXY_n_VHOST`) share a frontend; `None`: nowhere.
    pub http: Option<SocketAddr>,
    /// A template to use in place of the program's own.
    pub template: Option<PathBuf>,
    /// The name under which the supervisor waits for this sidecar before it kills instances.
    pub name: String,
    /// End HAProxy with the sidecar. Otherwise it goes on, and the next sidecar finds it.
    pub stop_haproxy_on_exit: bool,
}

/// Why the sidecar does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was started.
    #[error("{field}: {reason}")]
    Config { field: &'static str, reason: String },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("HAProxy cannot be run: {0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Start(String),
    /// HAProxy goes on as it was last told.
    #[error("the task that changes HAProxy broke off: {0}")]
    BrokenOff(String),
}

impl Error {
    /// Whether the configuration, the data directory or the address is at fault and nothing was started.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Config { .. } | Self::Files(_) | Self::Template(_) | Self::Listen { .. })
    }
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let wrong = |field, reason: &str| Err(Error::Config { field, reason: reason.to_owned() });
        if self.marathon.is_empty() {
            return wrong("marathon", "at least one supervisor's URL is needed");
        }
        for url in &self.marathon {
            match url::Url::parse(url) {
                Ok(parsed) if ["http", "https"].contains(&parsed.scheme()) && parsed.has_host() => {}
                _ => return wrong("marathon", &format!("'{url}' is not a URL like http://host:port")),
            }
        }
        if self.groups.is_empty() {
            return wrong("group", "at least one group, or `*` for all apps");
        }
        if self.name.is_empty() || self.name.len() > 128 {
            return wrong("name", "must have 1 to 128 bytes");
        }
        Ok(())
    }
}

/// Runs the sidecar until `shutdown`.
///
/// # Errors
/// A configuration that is wrong, a data directory that is in use or damaged, an address that is taken. Once it
/// runs it goes on: what fails is logged, shown by `/health` and tried again. Only a fault of its own that leaves nobody to
/// change HAProxy ends it.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    config.check()?;
    let files = Files::open(&config.data_dir)?;
    if files.directory().as_os_str().len() > limits::DATA_DIR_BYTES {
        let most = limits::DATA_DIR_BYTES;
        let reason = format!(
            "{} is longer than {most} bytes, too long for a socket below it",
            files.directory().display()
        );
        return Err(Error::Config { field: "data_dir", reason });
    }
    let saved = files.load()?;
    let renderer = Renderer::new(template(&config)?, Places::of(files.directory(), config.http))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen { address: config.listen, source })?;

    let clock = Clock::start();
    let shared = Arc::new(Shared::new().map_err(|error| Error::Start(error.to_string()))?);
    let urls = config.marathon.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
    let supervisors = Supervisors::new(urls, config.credential.as_ref(), config.name.clone())
        .map_err(|error| Error::Start(error.to_string()))?;
    let supervisors = Arc::new(supervisors);
    let haproxy = Haproxy::new(&config.haproxy, &files);
    let unowned = Haproxy::new(&config.haproxy, &files);
    let (stats, master) = (files.stats_socket(), files.master_socket());
    let loader = Loader::new(files, renderer, saved.generation);
    let mut applier = Applier::new(clock, Arc::clone(&shared), loader, haproxy);
    applier.adopt(&saved.desired).await?;

    let (news_in, news) = mpsc::channel(limits::EVENT_QUEUE);
    let (report, reports) = mpsc::channel(limits::REPORT_QUEUE);
    let (order, orders) = mpsc::channel(limits::REPORT_QUEUE);
    let (wanted, wants) = watch::channel(saved.desired.clone());
    let settings = Settings { groups: config.groups.clone(), bind: config.bind };
    let core = Core::new(settings, saved.desired, jitter(&config.name));
    let routes = admin::router(Admin {
        shared: Arc::clone(&shared),
        stats,
        master,
        orders: order,
        inputs: report.clone(),
    });

    let applier = tokio::spawn(applier.run(wants, orders, report));
    let feed = tokio::spawn(feed::follow(Arc::clone(&supervisors), Arc::clone(&shared), news_in));
    let (stop_admin, admin_stopped) = oneshot::channel::<()>();
    let tally = shared.metrics.clients.clone();
    let admin = tokio::spawn(async move {
        door::serve(listener, routes, limits::ADMIN, &tally, async { drop(admin_stopped.await) }).await;
    });

    // Dropping the driver at its end closes the applier's channel, which ends the applier.
    Driver { clock, core, shared, supervisors, news, reports, wanted }.run(shutdown).await;
    feed.abort();
    drop(stop_admin);
    let owned = applier.await;
    let broken_off = owned.as_ref().err().map(|error| Error::BrokenOff(error.to_string()));
    if config.stop_haproxy_on_exit {
        stop(owned.ok(), unowned).await;
    }
    admin.await.map_err(|error| Error::Start(error.to_string()))?;
    broken_off.map_or(Ok(()), Err)
}

/// Ends HAProxy: also where the task that owned it has broken off, or it would serve with nobody to tell it anything.
async fn stop(owned: Option<Haproxy>, mut unowned: Haproxy) {
    match owned {
        Some(mut haproxy) => haproxy.stop().await,
        None if unowned.adopt().await => unowned.stop().await,
        None => {}
    }
}

fn template(config: &Config) -> Result<String, Error> {
    match &config.template {
        None => Ok(TEMPLATE.to_owned()),
        Some(path) => std::fs::read_to_string(path).map_err(|error| Error::Config {
            field: "template",
            reason: format!("{}: {error}", path.display()),
        }),
    }
}

/// Up to half a minute, by name: many sidecars that start together do not list together for ever.
fn jitter(name: &str) -> Span {
    Span::from_millis(service::fnv(name.as_bytes()) % 30_000)
}
