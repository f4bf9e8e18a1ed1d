//! Drives the core: one input at a time, then what it asked for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::core::{Core, Effect, Input};
use crate::feed::News;
use crate::service::Desired;
use crate::shared::Shared;
use crate::supervisors::Supervisors;

/// The task around the core.
pub(crate) struct Driver {
    pub(crate) clock: Clock,
    pub(crate) core: Core,
    pub(crate) shared: Arc<Shared>,
    pub(crate) supervisors: Arc<Supervisors>,
    pub(crate) news: mpsc::Receiver<News>,
    /// What the applier and the admin address have to say.
    pub(crate) reports: mpsc::Receiver<Input>,
    pub(crate) wanted: watch::Sender<Desired>,
}

impl Driver {
    /// Runs until `shutdown`, or until nobody does what is wanted any more.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut work: JoinSet<Option<Input>> = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let deadline = self.core.next_deadline();
            let wake = async {
                match deadline {
                    Some(deadline) => sleep_until(self.clock.instant(deadline)).await,
                    None => std::future::pending().await,
                }
            };
            let (input, arrived) = tokio::select! {
                () = &mut shutdown => return,
                () = self.wanted.closed() => return error!("the task that changes HAProxy broke off"),
                Some(news) = self.news.recv() => match news {
                    News::Attached => (Input::Attached, None),
                    News::Event(arrived, event) => (Input::Event(event), Some(arrived)),
                },
                Some(report) = self.reports.recv() => (report, None),
                Some(done) = work.join_next() => match done {
                    Ok(Some(input)) => (input, None),
                    Ok(None) => continue,
                    Err(error) => {
                        warn!(%error, "a request of the sidecar's broke off");
                        continue;
                    }
                },
                () = wake => (Input::Wake, None),
            };
            self.handle(input, arrived.unwrap_or_else(Instant::now), &mut work);
        }
    }

    fn handle(&mut self, input: Input, arrived: Instant, work: &mut JoinSet<Option<Input>>) {
        let mut effects = Vec::new();
        self.core.handle(self.clock.now(), input, &mut effects);
        for effect in effects {
            let supervisors = Arc::clone(&self.supervisors);
            match effect {
                Effect::Desire(desired) => {
                    self.shared.changed(arrived);
                    self.wanted.send_replace(desired);
                    self.tell();
                }
                Effect::List { token } => {
                    work.spawn(async move {
                        let listing = supervisors.list().await;
                        let listing =
                            listing.inspect_err(|error| warn!(%error, "the apps could not be listed"));
                        Some(Input::Listed { token, listing: listing.ok() })
                    });
                }
                Effect::Read { token, app } => {
                    work.spawn(async move {
                        let answer = supervisors.read(&app).await;
                        Some(Input::Read { token, answer })
                    });
                }
                Effect::Resolve(host) => {
                    work.spawn(async move {
                        let address = resolve(&host).await;
                        Some(Input::Resolved { host, address })
                    });
                }
                Effect::Acknowledge(tasks) => {
                    work.spawn(async move {
                        supervisors.acknowledge(tasks).await;
                        None
                    });
                }
            }
        }
        self.shared.metrics.held_lists.set(i64::try_from(self.core.held_lists()).unwrap_or(i64::MAX));
    }

    fn tell(&self) {
        let problems = self.core.view().problems();
        self.shared.metrics.problems.set(problems.len() as i64);
        let text = |list: &Vec<crate::labels::Problem>| list.iter().map(ToString::to_string).collect();
        self.shared.status().problems =
            problems.iter().map(|(app, list)| (app.clone(), text(list))).collect();
    }
}

/// Looks a host name up, IPv4 first: that is what agents advertise.
async fn resolve(host: &str) -> Option<IpAddr> {
    match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => {
            let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first()).copied()
        }
        Err(error) => {
            warn!(host, %error, "a host name cannot be resolved");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::time::Span;
    use tokio::time::timeout;

    use super::*;
    use crate::view::Settings;

    #[tokio::test]
    async fn it_ends_when_nobody_does_what_is_wanted() {
        let (_news_in, news) = mpsc::channel(1);
        let (_report, reports) = mpsc::channel(1);
        let (wanted, wants) = watch::channel(Desired::default());
        let settings = Settings { groups: vec!["*".to_owned()], bind: [127, 0, 0, 1].into() };
        let supervisors = Supervisors::new(vec!["http://127.0.0.1:1".to_owned()], None, "me".to_owned());
        let driver = Driver {
            clock: Clock::start(),
            core: Core::new(settings, Desired::default(), Span::ZERO),
            shared: Arc::new(Shared::new().expect("metrics")),
            supervisors: Arc::new(supervisors.expect("a client")),
            news,
            reports,
            wanted,
        };
        let running = tokio::spawn(driver.run(std::future::pending()));
        drop(wants);
        timeout(Duration::from_secs(10), running).await.expect("in time").expect("it does not panic");
    }
}
