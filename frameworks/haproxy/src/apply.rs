//! Makes HAProxy do what is wanted: servers through its runtime socket, everything else by a reload. One task, which
//! owns HAProxy; nothing is changed at run time while a reload is under way, since the old worker would be told.

mod drain;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::core::Input;
use crate::files::FilesError;
use crate::limits::{
    DELETE_AFTER, DELETE_POLL, DRAIN_POLL, RESTART_FIRST, RESTART_MOST, REWRITE_AFTER, VERIFY_EVERY,
};
use crate::load::{LoadError, Loader};
use crate::plan::{Actual, State, Step, plan};
use crate::process::Haproxy;
use crate::runtime::{Verdict, servers_state, structure, verdict};
use crate::service::Desired;
use crate::shared::Shared;
use crate::socket::{Socket, SocketError, ask};
use crate::tally::{Name, Tally, changed};
use crate::throttle::{Backoff, Throttle};

/// What the admin address asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Load the configuration again although nothing changed.
    Reload,
}

/// The task that owns HAProxy.
#[derive(Debug)]
pub(crate) struct Applier {
    clock: Clock,
    shared: Arc<Shared>,
    loader: Loader,
    haproxy: Haproxy,
    actual: Actual,
    tally: Tally,
    /// What HAProxy does to the letter; `None` when something is left to do or has to be looked at.
    settled: Option<Desired>,
    throttle: Throttle,
    restart: Backoff,
    restart_at: Time,
    /// Servers that still had connections when they were to be deleted, and since when.
    deleting: BTreeMap<Name, Time>,
    /// How often in a row a draining server was found without connections.
    quiet: BTreeMap<Name, u32>,
    rewrite_at: Option<Time>,
    rewriting: Option<JoinHandle<Result<(), FilesError>>>,
    verify_at: Time,
    last_reload: Option<Time>,
    forced: bool,
    /// The running HAProxy was another sidecar's, and the feed has not yet said what is wanted. What was saved may be older
    /// than what that sidecar told HAProxy since: holding HAProxy to it would take away servers that serve.
    adopted: bool,
}

impl Applier {
    pub(crate) fn new(clock: Clock, shared: Arc<Shared>, loader: Loader, haproxy: Haproxy) -> Self {
        Self {
            clock,
            shared,
            loader,
            haproxy,
            actual: Actual::default(),
            tally: Tally::default(),
            settled: None,
            throttle: Throttle::default(),
            restart: Backoff::new(RESTART_FIRST, RESTART_MOST),
            restart_at: Time::ZERO,
            deleting: BTreeMap::new(),
            quiet: BTreeMap::new(),
            rewrite_at: None,
            rewriting: None,
            verify_at: Time::ZERO,
            last_reload: None,
            forced: false,
            adopted: false,
        }
    }

    /// Goes on with a HAProxy an earlier sidecar left running, if there is one.
    pub(crate) async fn adopt(&mut self, saved: &Desired) -> Result<(), LoadError> {
        if !self.haproxy.adopt().await {
            return Ok(());
        }
        self.loader.adopt()?;
        let info = ask(&self.loader.files.stats_socket(), "show info").await.unwrap_or_default();
        // With another structure than the saved one, or unknown, the first plan asks for a reload.
        if structure(&info) == Some(&*self.loader.structure(saved)) {
            self.actual.services = Actual::loaded(saved).services;
        }
        self.adopted = true;
        info!(services = self.actual.services.len(), "going on with the running HAProxy");
        self.verify().await;
        Ok(())
    }

    /// Follows what is wanted until the channel closes; hands HAProxy back.
    pub(crate) async fn run(
        mut self,
        mut wanted: watch::Receiver<Desired>,
        mut orders: mpsc::Receiver<Order>,
        reports: mpsc::Sender<Input>,
    ) -> Haproxy {
        loop {
            let desired = wanted.borrow_and_update().clone();
            let deadline = if self.adopted && self.haproxy.is_running() {
                self.tell();
                self.clock.now() + VERIFY_EVERY
            } else {
                self.turn(&desired, &reports).await
            };
            tokio::select! {
                changed = wanted.changed() => {
                    self.adopted = false;
                    if changed.is_err() {
                        self.rewrite_now(&desired).await;
                        self.rewritten().await;
                        return self.haproxy;
                    }
                }
                () = self.haproxy.ended() => self.died(),
                Some(order) = orders.recv() => match order {
                    Order::Reload => self.forced = true,
                },
                () = sleep_until(self.clock.instant(deadline)) => {}
            }
        }
    }

    fn died(&mut self) {
        error!("HAProxy ended; starting it again");
        self.actual = Actual::default();
        self.settled = None;
        self.deleting.clear();
        self.restart_at = self.clock.now() + self.restart.wait();
    }

    /// Does all that can be done now; gives the time to look again.
    async fn turn(&mut self, desired: &Desired, reports: &mpsc::Sender<Input>) -> Time {
        let since = self.shared.take_pending();
        self.tally.update(desired);
        if self.haproxy.is_running() && self.clock.now() >= self.verify_at {
            self.verify().await;
        }
        let mut structural = self.close_gap(desired).await;
        if self.load_due(structural) {
            self.load(desired).await;
            // What was rejected may leave the rest to be done at run time.
            structural = self.close_gap(desired).await;
        }
        if let Some(since) = since {
            self.shared.metrics.latency.observe(since.elapsed().as_secs_f64());
        }
        self.delete_again().await;
        self.report_drained(reports).await;
        if self.rewrite_at.is_some_and(|at| at <= self.clock.now()) {
            self.rewrite_now(desired).await;
        }
        self.tell();
        self.next_deadline(structural)
    }

    /// Does at run time what can be done so; gives whether a reload is needed for the rest.
    async fn close_gap(&mut self, desired: &Desired) -> bool {
        let admitted = self.loader.admit(self.clock.now(), desired, &self.actual);
        let touched = self.settled.take().map(|settled| changed(&settled, &admitted));
        let plan = plan(&admitted, &self.actual, touched.as_ref());
        let structural = !plan.structural.is_empty();
        if !self.haproxy.is_running() {
            return structural;
        }
        if !plan.steps.is_empty() {
            self.rewrite_at.get_or_insert(self.clock.now() + REWRITE_AFTER);
        }
        match self.converse(&plan.steps).await {
            Ok(true) if !structural => self.settled = Some(admitted),
            Ok(_) => {}
            Err(error) => {
                warn!(%error, "runtime commands were cut off");
                self.verify_at = self.clock.now();
            }
        }
        structural
    }

    fn load_due(&self, structural: bool) -> bool {
        let now = self.clock.now();
        if !self.haproxy.is_running() {
            return now >= self.restart_at;
        }
        (self.forced || structural) && now >= self.throttle.earliest()
    }

    async fn load(&mut self, desired: &Desired) {
        self.rewritten().await;
        let began = self.clock.now();
        let running = self.haproxy.is_running();
        let loaded = self.loader.load(began, desired, &self.actual, &mut self.haproxy, self.forced).await;
        let ended = self.clock.now();
        self.forced = false;
        let metrics = &self.shared.metrics;
        match loaded {
            Ok(None) => {}
            Ok(Some(loaded)) => {
                if running {
                    metrics.reloads.inc();
                    self.throttle.reloaded(began, ended);
                    self.last_reload = Some(ended);
                } else {
                    metrics.starts.inc();
                    self.restart.reset();
                }
                self.actual = Actual::loaded(&loaded);
                self.settled = None;
                self.deleting.clear();
                self.rewrite_at = None;
                self.verify_at = ended + VERIFY_EVERY;
            }
            Err(error) => {
                error!(%error, "the configuration was not loaded");
                metrics.failed_loads.inc();
                self.throttle.reloaded(began, ended);
                if !running {
                    self.restart_at = ended + self.restart.wait();
                }
            }
        }
    }

    /// Gives the commands of steps, and notes what they did; gives whether all were done.
    async fn converse(&mut self, steps: &[Step]) -> Result<bool, SocketError> {
        if steps.is_empty() {
            return Ok(true);
        }
        let mut done = true;
        let mut socket = Socket::open(&self.loader.files.stats_socket()).await?;
        for step in steps {
            let waits = matches!(step, Step::Remove { backend, server }
                if self.deleting.contains_key(&(backend.clone(), server.clone())));
            if !waits {
                done &= self.step(&mut socket, step).await?;
            }
        }
        Ok(done)
    }

    /// Does one step; false when HAProxy would not, and has to be looked at.
    async fn step(&mut self, socket: &mut Socket, step: &Step) -> Result<bool, SocketError> {
        let mut outcome = Verdict::Done;
        for command in step.commands() {
            self.shared.metrics.commands.inc();
            let answer = socket.send(&command).await?;
            match verdict(&answer) {
                Verdict::Done => {}
                // HAProxy has something we did not know of. The next look at it will say what.
                Verdict::Already => self.verify_at = self.clock.now(),
                Verdict::Busy => outcome = Verdict::Busy,
                Verdict::Failed(reason) => {
                    warn!(command, reason, "HAProxy refused a command");
                    self.shared.metrics.failed_commands.inc();
                    self.verify_at = self.clock.now() + DELETE_POLL;
                    return Ok(false);
                }
            }
        }
        match step {
            Step::Remove { backend, server } if outcome == Verdict::Busy => {
                self.actual.set(backend, server, State::Maintenance);
                self.deleting.entry((backend.clone(), server.clone())).or_insert(self.clock.now());
            }
            Step::Remove { backend, server } => {
                self.deleting.remove(&(backend.clone(), server.clone()));
                step.note(&mut self.actual);
            }
            Step::Ready { backend, server } => {
                self.deleting.remove(&(backend.clone(), server.clone()));
                step.note(&mut self.actual);
            }
            Step::Add { .. } | Step::Drain { .. } => step.note(&mut self.actual),
        }
        Ok(true)
    }

    /// Tries again to delete servers that had connections; cuts these after a while, since the task is gone.
    async fn delete_again(&mut self) {
        if self.deleting.is_empty() || !self.haproxy.is_running() {
            return;
        }
        let now = self.clock.now();
        let names: Vec<(Name, Time)> =
            self.deleting.iter().map(|(name, since)| (name.clone(), *since)).collect();
        let result = async {
            let mut socket = Socket::open(&self.loader.files.stats_socket()).await?;
            for ((backend, server), since) in names {
                if now.since(since) >= DELETE_AFTER {
                    socket.send(&format!("shutdown sessions server {backend}/{server}")).await?;
                }
                let step = Step::Remove { backend, server };
                self.step(&mut socket, &step).await?;
            }
            Ok::<(), SocketError>(())
        };
        if let Err(error) = result.await {
            warn!(%error, "servers could not be deleted");
            self.verify_at = self.clock.now();
        }
    }

    /// Compares what we believe of HAProxy with what it says.
    async fn verify(&mut self) {
        self.verify_at = self.clock.now() + VERIFY_EVERY;
        let answer = match ask(&self.loader.files.stats_socket(), "show servers state").await {
            Ok(answer) => answer,
            Err(error) => {
                warn!(%error, "HAProxy's state could not be read");
                return;
            }
        };
        match servers_state(&answer) {
            Ok(mut backends) => {
                for name in self.actual.services.keys() {
                    backends.entry(name.clone()).or_default();
                }
                self.actual.backends = backends;
                self.settled = None;
                self.deleting.retain(|(backend, server), _| {
                    self.actual.backends.get(backend).is_some_and(|servers| servers.contains_key(server))
                });
            }
            Err(error) => warn!(%error, "HAProxy's state could not be understood"),
        }
    }

    /// Has the file brought up to date, by a thread that may wait for the disk: a server that becomes healthy
    /// meanwhile does not wait with it.
    async fn rewrite_now(&mut self, desired: &Desired) {
        self.rewrite_at = None;
        self.rewritten().await;
        let admitted = self.loader.admit(self.clock.now(), desired, &self.actual);
        if !plan(&admitted, &self.actual, None).structural.is_empty() {
            // A file with services that are not loaded would not be what HAProxy does; the reload writes it.
            return;
        }
        match self.loader.rewrite(&admitted) {
            Ok(job) => self.rewriting = job.map(tokio::task::spawn_blocking),
            Err(error) => error!(%error, "the configuration file could not be brought up to date"),
        }
    }

    /// Waits for a write of the file under way: two at a time would be a race.
    async fn rewritten(&mut self) {
        let Some(rewriting) = self.rewriting.take() else { return };
        let failure = match rewriting.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        error!(error = failure, "the configuration file could not be brought up to date");
        self.loader.distrust_file();
        self.rewrite_at = Some(self.clock.now() + VERIFY_EVERY);
    }

    fn tell(&self) {
        let rejected = self.loader.rejected();
        let (services, servers) = (self.tally.services(), self.tally.servers());
        let metrics = &self.shared.metrics;
        metrics.services.set(services as i64);
        metrics.servers.set(servers as i64);
        metrics.rejected.set(rejected.len() as i64);
        let mut status = self.shared.status();
        status.haproxy = self.haproxy.is_running();
        status.services = services;
        status.servers = servers;
        status.rejected = rejected;
        status.configuration = Arc::clone(self.loader.text());
    }

    fn next_deadline(&self, structural: bool) -> Time {
        let now = self.clock.now();
        let mut deadline = self.verify_at.max(now + DELETE_POLL);
        let mut at_most = |time: Time| deadline = deadline.min(time.max(now));
        if !self.haproxy.is_running() {
            at_most(self.restart_at);
        } else if self.forced || structural {
            at_most(self.throttle.earliest());
        }
        if !self.deleting.is_empty() {
            at_most(now + DELETE_POLL);
        }
        let draining = self.tally.draining();
        if !draining.is_empty() {
            let all_quiet = draining
                .keys()
                .all(|name| self.quiet.get(name).is_some_and(|looks| *looks >= drain::QUIET_LOOKS));
            // Reported ones are looked at now and then, in case the supervisor did not hear it.
            at_most(now + if all_quiet { DRAIN_POLL.saturating_mul(25) } else { DRAIN_POLL });
        }
        if let Some(at) = self.rewrite_at {
            at_most(at);
        }
        if let Some(again) = self.loader.next_deadline() {
            at_most(again);
        }
        deadline
    }
}
