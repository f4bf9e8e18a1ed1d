//! The loop around the core: takes one thing that happened, lets the core say what to do, and has it done.
//!
//! Nothing here waits: the disk, the containers, fetches, probes, the network and readers each have their own thread
//! or task and report back as inputs.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use agent_core::health::Target;
use agent_core::{
    Agent, Call, CallRefusal, Effect, Ending, Event, ExecutorKey, Input, Job, LinkDown, Order, ProbeId,
    Record, Refusal, Report, Sandbox, StreamId, Summary, View, Volume, convert,
};
use http::HeaderValue;
use model::id::ContainerId;
use model::time::{Span, Time};
use prost::Message;
use sandbox::check::Checker;
use sandbox::fetch::Fetcher;
use sandbox::{Launcher, Usage};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use wire::recordio;

use crate::clock::Clock;
use crate::containers::{self, Surroundings};
use crate::error::Error;
use crate::janitor::{self, Janitor};
use crate::limits;
use crate::link::{Closing, Connection};
use crate::store::{Told, Writer};
use crate::volumes::Volumes;

/// What readers ask of the driver.
pub(crate) enum Question {
    View(oneshot::Sender<View>),
    Summary(oneshot::Sender<Summary>),
    /// What one container uses now. One at a time, since measuring reads files.
    Usage(ContainerId, oneshot::Sender<Option<Usage>>),
    /// An executor's call, with the stream that a SUBSCRIBE asks for.
    Call {
        executor: ExecutorKey,
        call: Call,
        events: Option<Sender<Event>>,
        reply: oneshot::Sender<Result<(), CallRefusal>>,
    },
}

/// Everything the loop listens to.
pub(crate) struct Inboxes {
    pub(crate) told: UnboundedReceiver<Told>,
    /// Results of the agent's own work: bounded by what it asked for.
    pub(crate) done: UnboundedReceiver<Input>,
    pub(crate) link: Receiver<Input>,
    pub(crate) questions: Receiver<Question>,
}

/// What the loop has things done with.
pub(crate) struct Hands {
    pub(crate) launcher: Box<dyn Launcher>,
    pub(crate) fetcher: Fetcher,
    pub(crate) checker: Checker,
    pub(crate) writer: Writer,
    pub(crate) janitor: Janitor,
    pub(crate) volumes: Volumes,
    pub(crate) sandboxes: PathBuf,
    pub(crate) done: UnboundedSender<Input>,
    pub(crate) link: Sender<Input>,
    /// What the agent says of itself to masters.
    pub(crate) own: Option<HeaderValue>,
    pub(crate) surroundings: Surroundings,
}

pub(crate) struct Driver {
    agent: Agent,
    clock: Clock,
    hands: Hands,
    connection: Option<Connection>,
    /// The last link hung up, whose last words may still be on the way.
    closing: Option<Closing>,
    fetches: BTreeMap<ContainerId, AbortHandle>,
    /// Executors that listen.
    streams: BTreeMap<StreamId, Sender<Event>>,
    fetching: Arc<Semaphore>,
    probing: Arc<Semaphore>,
    /// Inputs that executing effects gave rise to.
    next: VecDeque<Input>,
    master: Option<String>,
    /// The master dialled last.
    dialled: String,
    complained: Option<Instant>,
    appended: u64,
    synced: u64,
    compacting: bool,
    ending: Option<Result<(), Error>>,
}

impl Driver {
    pub(crate) fn new(agent: Agent, clock: Clock, hands: Hands) -> Self {
        Self {
            agent,
            clock,
            hands,
            connection: None,
            closing: None,
            fetches: BTreeMap::new(),
            streams: BTreeMap::new(),
            fetching: Arc::new(Semaphore::new(limits::FETCHES)),
            probing: Arc::new(Semaphore::new(limits::PROBES)),
            next: VecDeque::new(),
            master: None,
            dialled: String::new(),
            complained: None,
            appended: 0,
            synced: 0,
            compacting: false,
            ending: None,
        }
    }

    /// Runs until the agent ends: after `stop`, on the master's word, or for a disk that fails.
    pub(crate) async fn run(
        mut self,
        mut inboxes: Inboxes,
        leftovers: Vec<(Sandbox, Time)>,
        stop: impl Future<Output = ()>,
        kill_tasks: bool,
    ) -> Result<(), Error> {
        self.begin(leftovers);
        let mut stop = std::pin::pin!(stop);
        let mut stopping: Option<Instant> = None;
        while self.ending.is_none() {
            // Orders wait with the master while too much waits for the disk.
            let listening = !self.agent.congested() && self.appended - self.synced < limits::UNSYNCED;
            let wake = self.agent.next_deadline().map(|at| self.clock.at(at));
            tokio::select! {
                biased;
                () = &mut stop, if stopping.is_none() => {
                    tracing::info!(kill_tasks, "asked to end");
                    stopping = Some(Instant::now() + limits::STOP);
                    self.input(Input::Stop { kill_tasks });
                }
                () = until(stopping), if stopping.is_some() => {
                    tracing::warn!("not everything ended in time");
                    break;
                }
                Some(told) = inboxes.told.recv() => self.told(told),
                Some(input) = inboxes.done.recv() => self.input(input),
                event = self.hands.launcher.next() => self.input(containers::input(event)),
                Some(question) = inboxes.questions.recv() => self.answer(question),
                () = until(wake), if wake.is_some() => self.input(Input::Wake),
                Some(input) = inboxes.link.recv(), if listening => self.input(input),
            }
        }
        if let Some(closing) = self.closing.take() {
            closing.wait().await;
        }
        self.ending.unwrap_or(Ok(()))
    }

    fn begin(&mut self, leftovers: Vec<(Sandbox, Time)>) {
        if let Some(id) = self.agent.id() {
            self.hands.surroundings.agent = id.to_string();
        }
        // Before anything is launched: a new task must not get the directory of an old one.
        for (sandbox, since) in leftovers {
            self.input(Input::Leftover { sandbox, since });
        }
        let mut out = Vec::new();
        self.agent.start(self.clock.now(), &mut out);
        self.execute(out);
    }

    /// Lets the core take in one thing, and all that its effects give rise to.
    fn input(&mut self, input: Input) {
        self.next.push_back(input);
        while let Some(input) = self.next.pop_front() {
            let mut out = Vec::new();
            if let Input::LinkDown { why, .. } = &input {
                self.complain(why);
            }
            if let Input::FromMaster { envelope, .. } = &input
                && let Order::Refused { refusal: Refusal::Busy { .. }, message } = &envelope.order
            {
                self.complain_of(message);
            }
            if let Input::StreamGone(stream) = &input {
                self.streams.remove(stream);
            }
            self.agent.handle(self.clock.now(), input, &mut out);
            self.execute(out);
        }
        self.note_master();
    }

    /// Says why there is no master, now and then: an agent tries many times a minute.
    fn complain(&mut self, why: &LinkDown) {
        let reason = match why {
            LinkDown::Broken(reason) => reason,
            LinkDown::Unavailable => "it knows no leader",
            LinkDown::Redirect(_) => return,
        };
        self.complain_of(reason);
    }

    fn complain_of(&mut self, reason: &str) {
        if self.complained.is_none_or(|last| last.elapsed() >= limits::COMPLAINT) {
            self.complained = Some(Instant::now());
            tracing::warn!(master = self.dialled, reason, "no link to a master");
        }
    }

    fn note_master(&mut self) {
        let master = self.agent.master();
        if master != self.master.as_deref() && self.ending.is_none() {
            match master {
                Some(master) => tracing::info!(master, agent = ?self.agent.id(), "registered"),
                None => tracing::warn!(master = ?self.master, "the link to the master is lost"),
            }
            self.master = master.map(str::to_owned);
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Synced { seq, long } => {
                self.synced = seq;
                self.input(Input::Synced(seq));
                if long && !self.compacting {
                    // All effects so far are executed, so the snapshot says all that was appended.
                    self.compacting = true;
                    self.hands.writer.compact(self.agent.snapshot());
                }
            }
            Told::Compacted => self.compacting = false,
            Told::Failed(error) => {
                tracing::error!(%error, "the checkpoint cannot be written: ending; tasks go on");
                self.ending = Some(Err(error));
            }
        }
    }

    fn answer(&mut self, question: Question) {
        // A reader that has gone needs no answer.
        match question {
            Question::View(reply) => drop(reply.send(self.agent.view())),
            Question::Summary(reply) => drop(reply.send(self.agent.summary())),
            Question::Usage(container, reply) => {
                let usage = self.hands.launcher.usage(&containers::theirs(&container));
                let _ = reply.send(usage);
            }
            Question::Call { executor, call, events, reply } => {
                let verdict = self.agent.may_call(&executor, events.is_some());
                let _ = reply.send(verdict);
                if verdict.is_ok() {
                    if let (Call::Subscribe { stream, .. }, Some(events)) = (&call, events) {
                        self.streams.insert(*stream, events);
                    }
                    self.input(Input::Called { executor, call });
                }
            }
        }
    }

    /// Tells an executor something. One that does not read what it is told loses its stream, and may come back.
    fn tell(&mut self, stream: StreamId, event: Event) {
        let Some(events) = self.streams.get(&stream) else { return };
        if events.try_send(event).is_err() {
            self.streams.remove(&stream);
            self.next.push_back(Input::StreamGone(stream));
        }
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Checkpoint { seq, record } => self.write(seq, record),
                Effect::Dial { link, address } => {
                    self.dialled.clone_from(&address);
                    self.connection = Some(Connection::dial(
                        link,
                        address,
                        self.hands.own.clone(),
                        self.hands.link.clone(),
                    ));
                }
                Effect::Hangup { link } => {
                    if let Some(connection) = self.connection.take_if(|connection| connection.id == link) {
                        self.closing = Some(connection.close());
                    }
                }
                Effect::Send { link, report } => self.send(link, &report),
                Effect::Fetch(job) => self.fetch(job),
                Effect::CancelFetch { container } => {
                    self.fetches.remove(&container).iter().for_each(AbortHandle::abort);
                }
                Effect::Show(job) => {
                    let (sandbox, volumes) = (self.sandbox(&job), &self.hands.volumes);
                    if let Err(error) = volumes.show(&job, &sandbox) {
                        tracing::warn!(container = %job.container, error, "cannot show a volume");
                    }
                }
                Effect::MakeVolume(volume) => self.make_volume(&volume),
                Effect::RemoveVolume(volume) => self.remove_volume(volume),
                Effect::Launch(job) => self.launch(&job),
                Effect::Kill { container, grace } => {
                    self.hands.launcher.kill(&containers::theirs(&container), grace.into());
                }
                Effect::Destroy { container } => self.hands.launcher.destroy(&containers::theirs(&container)),
                Effect::Forget { container } => self.hands.launcher.forget(&containers::theirs(&container)),
                Effect::Recover { containers } => {
                    let known: Vec<_> = containers.iter().map(containers::theirs).collect();
                    self.hands.launcher.recover(&known);
                }
                Effect::Resize { container, resources } => {
                    let limits = containers::share(&resources);
                    self.hands.launcher.update(&containers::theirs(&container), limits);
                }
                Effect::Event { stream, event } => self.tell(stream, event),
                Effect::CloseStream { stream } => drop(self.streams.remove(&stream)),
                Effect::Probe { probe, job, target, timeout } => self.probe(probe, &job, &target, timeout),
                Effect::MeasureDisk => self.hands.janitor.measure(),
                Effect::Remove(sandbox) => self.hands.janitor.remove(sandbox),
                Effect::Stop(ending) => self.ending = Some(end(ending)),
            }
        }
    }

    fn write(&mut self, seq: u64, record: Record) {
        if let Record::Registered { agent, .. } = &record {
            self.hands.surroundings.agent = agent.to_string();
        }
        self.appended = seq;
        self.hands.writer.append(seq, record);
    }

    fn send(&mut self, link: agent_core::LinkId, report: &Report) {
        let Some(connection) = self.connection.as_ref().filter(|connection| connection.id == link) else {
            return;
        };
        let frame = recordio::encode(&convert::to_master(report).encode_to_vec());
        if !connection.send(frame) {
            self.closing = self.connection.take().map(Connection::close);
            let why = LinkDown::Broken("the master does not read what it is sent".into());
            self.next.push_back(Input::LinkDown { link, why });
        }
    }

    fn sandbox(&self, job: &Job) -> PathBuf {
        janitor::path(&self.hands.sandboxes, &job.sandbox).expect("the core checks the ids of tasks it runs")
    }

    fn fetch(&mut self, job: Job) {
        let request = containers::fetch(&job.task, &job.framework, self.sandbox(&job));
        let (fetcher, done) = (self.hands.fetcher.clone(), self.hands.done.clone());
        let turns = Arc::clone(&self.fetching);
        let container = job.container.clone();
        let work = async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let files = fetcher.fetch(request, |_| {}).await.map_err(|error| error.to_string());
            let result = match (files, &job.task.docker) {
                (Ok(()), Some(docker)) => sandbox::docker::pull(&docker.image, docker.force_pull)
                    .await
                    .map_err(|error| format!("Failed to pull the image '{}': {error}", docker.image)),
                (files, _) => files,
            };
            let _ = done.send(Input::Fetched { container: job.container, result });
        };
        self.fetches.retain(|_, fetch| !fetch.is_finished());
        self.fetches.insert(container, tokio::spawn(work).abort_handle());
    }

    fn launch(&mut self, job: &Job) {
        let (id, sandbox) = (containers::theirs(&job.container), self.sandbox(job));
        let mut spec = containers::spec(id, job, sandbox.clone(), &self.hands.surroundings);
        let volumes = &self.hands.volumes;
        let shown = match &mut spec.docker {
            Some(docker) => volumes.mounts(job).map(|mounts| docker.mounts.extend(mounts)),
            None => volumes.show(job, &sandbox),
        };
        match shown {
            Ok(()) => self.hands.launcher.launch(spec),
            Err(message) => {
                let container = job.container.clone();
                let failed = Input::LaunchFailed { container, missing_program: false, message };
                self.next.push_back(failed);
            }
        }
    }

    /// A directory that cannot be made now is tried again with each task that wants to see it.
    fn make_volume(&mut self, volume: &Volume) {
        match self.hands.volumes.make(volume) {
            Ok(before) => before.into_iter().for_each(|path| self.hands.janitor.empty(path)),
            Err(error) => {
                tracing::error!(role = %volume.role, id = %volume.id, %error, "cannot make a volume");
            }
        }
    }

    /// While its data cannot be moved there is no new volume of this name.
    fn remove_volume(&mut self, volume: Volume) {
        match self.hands.volumes.remove(&volume) {
            Ok(taken) => {
                taken.into_iter().for_each(|path| self.hands.janitor.empty(path));
                self.next.push_back(Input::VolumeRemoved(volume));
            }
            Err(error) => {
                tracing::error!(role = %volume.role, id = %volume.id, %error, "cannot remove a volume");
            }
        }
    }

    fn probe(&mut self, probe: ProbeId, job: &Job, target: &Target, timeout: Option<Span>) {
        let environment = match target {
            // In a container of Docker's it is there already.
            Target::Command(_) if job.task.docker.is_some() => Vec::new(),
            Target::Command(_) => self.hands.surroundings.environment(job, &self.sandbox(job)),
            Target::Http { .. } | Target::Tcp { .. } => Vec::new(),
        };
        let id = containers::theirs(&job.container);
        let address = self.hands.launcher.address(&id);
        let question = containers::probe(id, target, address, environment);
        let (checker, runner) = (self.hands.checker.clone(), self.hands.launcher.runner());
        let (turns, done) = (Arc::clone(&self.probing), self.hands.done.clone());
        let container = job.container.clone();
        tokio::spawn(async move {
            let _turn = turns.acquire().await;
            let result = checker.run(&question, containers::patience(timeout), &*runner).await;
            let _ = done.send(Input::Probed { probe, container, finding: containers::finding(result) });
        });
    }
}

fn end(ending: Ending) -> Result<(), Error> {
    match ending {
        Ending::Done { reason } => {
            tracing::info!(reason, "ending");
            Ok(())
        }
        Ending::Gone { message } => Err(Error::Gone(message)),
        Ending::Invalid { message } => Err(Error::Refused(message)),
    }
}

/// Sleeps until `at`; for ever without one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
