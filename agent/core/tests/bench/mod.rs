//! An agent on a bench: inputs by hand, effects as lines of text, a disk that keeps what was synced.
//!
//! Each test file compiles its own copy and uses its own part of it.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::sync::Arc;

use agent_core::health::{Finding, Target};
use agent_core::{
    Agent, Call, Effect, Ending, Envelope, Event, ExecutorKey, Exit, ExitStatus, Input, LinkDown, LinkId,
    Order, ProbeId, Record, Report, Settings, StreamId, Update, Uuid,
};
use model::id::ContainerId;
use model::resources::Bag;
use model::time::{Span, Time};
use wire::v1;

pub(crate) const FRAMEWORK: &str = "fw";

/// So many seconds later, or earlier.
fn moved(time: Time, ahead: i64) -> Time {
    let by = Span::from_secs(ahead.unsigned_abs());
    if ahead < 0 { time - by } else { time + by }
}

pub(crate) fn settings(boot: &str, seed: u64) -> Settings {
    let total = Bag::parse("cpus:4;mem:4096;disk:2048;ports:[31000-31100]").expect("resources");
    Settings {
        masters: vec!["m1:5050".into(), "m2:5050".into()],
        info: Arc::new(v1::AgentInfo { hostname: "host".into(), port: Some(5051), ..Default::default() }),
        total,
        version: "0.1.0".into(),
        boot: boot.into(),
        booted: None,
        ip: "10.0.0.1".into(),
        seed: [seed, seed + 1],
    }
}

pub(crate) fn framework(capabilities: &[v1::framework_info::capability::Type]) -> Arc<v1::FrameworkInfo> {
    let capability =
        |c: &v1::framework_info::capability::Type| v1::framework_info::Capability { r#type: Some(*c as i32) };
    Arc::new(v1::FrameworkInfo {
        user: "root".into(),
        name: "test".into(),
        id: Some(v1::FrameworkId { value: FRAMEWORK.into() }),
        capabilities: capabilities.iter().map(capability).collect(),
        ..Default::default()
    })
}

pub(crate) fn modern() -> Arc<v1::FrameworkInfo> {
    use v1::framework_info::capability::Type;
    framework(&[Type::PartitionAware, Type::TaskKillingState])
}

pub(crate) fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}

/// A shell command task with one cpu.
pub(crate) fn task(id: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "agent-1".into() },
        resources: vec![scalar("cpus", 1.0), scalar("mem", 32.0)],
        command: Some(v1::CommandInfo { value: Some("sleep 1".into()), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn with_uri(mut task: v1::TaskInfo) -> v1::TaskInfo {
    let uri = v1::command_info::Uri { value: "http://files/app.tgz".into(), ..Default::default() };
    task.command.get_or_insert_default().uris.push(uri);
    task
}

/// A task for the executor `ex`, whose process takes half a cpu.
pub(crate) fn hosted(id: &str) -> v1::TaskInfo {
    let executor = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "ex".into() },
        command: Some(v1::CommandInfo { value: Some("./executor".into()), ..Default::default() }),
        resources: vec![scalar("cpus", 0.5), scalar("mem", 64.0)],
        ..Default::default()
    };
    v1::TaskInfo { command: None, executor: Some(executor), ..task(id) }
}

/// The default executor, which the agent plays.
pub(crate) fn pod() -> Arc<v1::ExecutorInfo> {
    Arc::new(v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Default as i32),
        executor_id: v1::ExecutorId { value: "pod".into() },
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        ..Default::default()
    })
}

/// What an executor says of a task.
pub(crate) fn said(task: &str, state: v1::TaskState, uuid: u8) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: v1::TaskId { value: task.into() },
        state: state as i32,
        source: Some(v1::task_status::Source::Executor as i32),
        uuid: Some(vec![uuid; 16].into()),
        ..Default::default()
    }
}

pub(crate) fn executor() -> ExecutorKey {
    ExecutorKey { framework: FRAMEWORK.into(), executor: "ex".into() }
}

/// An HTTP health check: each second from the start, no grace, three failures.
pub(crate) fn with_health(mut task: v1::TaskInfo) -> v1::TaskInfo {
    task.health_check = Some(v1::HealthCheck {
        r#type: Some(v1::health_check::Type::Http.into()),
        http: Some(v1::health_check::HttpCheckInfo {
            port: 31000,
            path: Some("/health".into()),
            ..Default::default()
        }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(1.0),
        timeout_seconds: Some(5.0),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(3),
        ..Default::default()
    });
    task
}

pub(crate) struct Bench {
    pub(crate) agent: Agent,
    pub(crate) now: Time,
    /// When the machine was started, by its present clock.
    pub(crate) booted: Option<Time>,
    /// What would be found after a power cut.
    pub(crate) disk: Vec<Record>,
    unsynced: Vec<(u64, Record)>,
    /// Whether records are synced as soon as they are written.
    pub(crate) fast_disk: bool,
    pub(crate) link: Option<LinkId>,
    pub(crate) term: u64,
    /// Statuses sent, oldest first.
    pub(crate) sent: Vec<Arc<Update>>,
    pub(crate) probes: Vec<ProbeId>,
    pub(crate) stopped: Option<Ending>,
    starts: u64,
}

impl Bench {
    /// An agent that has not been started.
    pub(crate) fn new() -> Self {
        Self {
            agent: Agent::recover(settings("boot-1", 1), []).expect("an empty start"),
            now: Time::from_secs(1000),
            booted: None,
            disk: Vec::new(),
            unsynced: Vec::new(),
            fast_disk: true,
            link: None,
            term: 1,
            sent: Vec::new(),
            probes: Vec::new(),
            stopped: None,
            starts: 1,
        }
    }

    /// An agent that is registered with a master of term 1.
    pub(crate) fn registered() -> Self {
        let mut bench = Self::new();
        bench.start();
        bench.input(Input::Recovered);
        bench.connect(&[FRAMEWORK]);
        bench
    }

    pub(crate) fn start(&mut self) -> String {
        let mut out = Vec::new();
        self.agent.start(self.now, &mut out);
        self.run(out)
    }

    /// Upgrades the dialled link and answers the hello.
    pub(crate) fn connect(&mut self, connected: &[&str]) -> String {
        let link = self.link.expect("a dialled link");
        let mut log = self.input(Input::LinkUp(link));
        log += &self.order(Order::Welcome {
            agent: "agent-1".into(),
            timeout: Span::from_secs(75),
            removed: Vec::new(),
            connected: connected.iter().map(|id| (*id).into()).collect(),
        });
        log
    }

    pub(crate) fn input(&mut self, input: Input) -> String {
        let mut out = Vec::new();
        self.agent.handle(self.now, input, &mut out);
        self.run(out)
    }

    pub(crate) fn order(&mut self, order: Order) -> String {
        let link = self.link.expect("a link");
        self.input(Input::FromMaster { link, envelope: Envelope { term: self.term, order } })
    }

    pub(crate) fn launch(&mut self, task: v1::TaskInfo) -> String {
        self.launch_for(modern(), task)
    }

    pub(crate) fn launch_for(&mut self, framework: Arc<v1::FrameworkInfo>, task: v1::TaskInfo) -> String {
        self.order(Order::Run { framework, task: Arc::new(task) })
    }

    pub(crate) fn launch_group(
        &mut self,
        executor: &Arc<v1::ExecutorInfo>,
        tasks: Vec<v1::TaskInfo>,
    ) -> String {
        let hosted = |task| Arc::new(v1::TaskInfo { executor: Some((**executor).clone()), ..task });
        self.order(Order::RunGroup {
            framework: modern(),
            executor: Arc::clone(executor),
            tasks: tasks.into_iter().map(hosted).collect(),
        })
    }

    /// An operation of the framework, called `number` by the master.
    pub(crate) fn operate(&mut self, number: u8, operation: v1::offer::Operation) -> String {
        let operation = Arc::new(operation);
        let framework = Some(FRAMEWORK.into());
        self.order(Order::Operation { framework, operation, uuid: Uuid([number; 16]) })
    }

    /// Launches a task and sees it running with everything acknowledged.
    pub(crate) fn running(&mut self, task: v1::TaskInfo) -> String {
        let id = task.task_id.value.clone();
        let mut log = self.launch(task);
        let container = self.container(&id);
        log += &self.input(Input::Started { container, pid: 4711 });
        log += &self.ack();
        log += &self.ack();
        log
    }

    pub(crate) fn kill(&mut self, task: &str, grace: Option<Span>) -> String {
        self.order(Order::Kill { framework: FRAMEWORK.into(), task: task.into(), grace })
    }

    /// Acknowledges the update sent last.
    pub(crate) fn ack(&mut self) -> String {
        let update = self.sent.last().expect("an update was sent").clone();
        self.ack_uuid(&update.status.task_id.value.clone(), update.uuid)
    }

    /// Acknowledges updates until none waits.
    pub(crate) fn ack_all(&mut self) -> String {
        let mut log = String::new();
        while let Some(update) = self.sent.pop() {
            log += &self.ack_uuid(&update.status.task_id.value.clone(), update.uuid);
        }
        log
    }

    pub(crate) fn ack_uuid(&mut self, task: &str, uuid: Uuid) -> String {
        self.order(Order::Acknowledge { framework: FRAMEWORK.into(), task: task.into(), uuid })
    }

    pub(crate) fn started(&mut self, task: &str) -> String {
        let container = self.container(task);
        self.input(Input::Started { container, pid: 4711 })
    }

    pub(crate) fn exits(&mut self, task: &str, status: ExitStatus) -> String {
        let container = self.container(task);
        self.input(Input::Exited { container, exit: Exit { status, out_of_memory: None } })
    }

    /// A call of the executor `ex`, if the agent takes it.
    pub(crate) fn call(&mut self, call: Call) -> String {
        let subscribes = matches!(call, Call::Subscribe { .. });
        match self.agent.may_call(&executor(), subscribes) {
            Ok(()) => self.input(Input::Called { executor: executor(), call }),
            Err(refusal) => format!("  refused: {refusal}\n"),
        }
    }

    /// `ex` subscribes, knowing of these tasks and having said this.
    pub(crate) fn subscribe(&mut self, stream: u64, tasks: &[&str], updates: Vec<v1::TaskStatus>) -> String {
        self.call(Call::Subscribe {
            stream: StreamId(stream),
            unacknowledged_tasks: tasks.iter().map(|task| (*task).into()).collect(),
            unacknowledged_updates: updates,
        })
    }

    pub(crate) fn says(&mut self, task: &str, state: v1::TaskState, uuid: u8) -> String {
        self.call(Call::Update(Box::new(said(task, state, uuid))))
    }

    /// `ex` is launched for one task, subscribes and is given it.
    pub(crate) fn subscribed(&mut self, task: &str) -> String {
        let mut log = self.launch(hosted(task));
        let container = self.executor_container();
        log += &self.input(Input::Started { container, pid: 4711 });
        log += &self.subscribe(1, &[], Vec::new());
        log
    }

    pub(crate) fn executor_container(&self) -> ContainerId {
        let view = self.agent.view();
        view.executors.first().expect("an executor held").container.clone()
    }

    pub(crate) fn executor_exits(&mut self, status: ExitStatus) -> String {
        let container = self.executor_container();
        self.input(Input::Exited { container, exit: Exit { status, out_of_memory: None } })
    }

    pub(crate) fn probed(&mut self, task: &str, finding: Finding) -> String {
        let probe = *self.probes.last().expect("a probe");
        let container = self.container(task);
        self.input(Input::Probed { probe, container, finding })
    }

    pub(crate) fn breaks(&mut self) -> String {
        let link = self.link.expect("a link");
        self.input(Input::LinkDown { link, why: LinkDown::Broken("reset".into()) })
    }

    /// Lets the next deadline pass.
    pub(crate) fn wake(&mut self) -> String {
        let at = self.agent.next_deadline().expect("a deadline");
        let waited = at.since(self.now);
        self.now = self.now.max(at);
        format!("  after {waited}\n{}", self.input(Input::Wake))
    }

    pub(crate) fn advance(&mut self, span: Span) {
        self.now += span;
    }

    /// The disk catches up.
    pub(crate) fn sync(&mut self) -> String {
        let Some((seq, _)) = self.unsynced.last() else { return String::new() };
        let seq = *seq;
        self.disk.extend(self.unsynced.drain(..).map(|(_, record)| record));
        self.input(Input::Synced(seq))
    }

    /// The clock of the machine is set, and the agent is started anew: a process that runs takes no notice.
    pub(crate) fn restart_with_clock(&mut self, ahead: i64) -> String {
        self.now = moved(self.now, ahead);
        self.booted = self.booted.map(|booted| moved(booted, ahead));
        self.restart("boot-1")
    }

    /// The process dies, with whatever the disk had not got, and starts again.
    pub(crate) fn restart(&mut self, boot: &str) -> String {
        self.starts += 1;
        self.unsynced.clear();
        self.link = None;
        self.sent.clear();
        self.agent = self.recovered_from(&self.disk, boot);
        self.start()
    }

    /// As the disk would be read: through bytes.
    fn recovered_from(&self, records: &[Record], boot: &str) -> Agent {
        let bytes = agent_core::checkpoint::encode(records);
        let records = agent_core::checkpoint::decode(&bytes).expect("own records");
        let settings = Settings { booted: self.booted, ..settings(boot, self.starts * 100) };
        Agent::recover(settings, records).expect("recovery")
    }

    pub(crate) fn container(&self, task: &str) -> ContainerId {
        let view = self.agent.view();
        let task = view.tasks.iter().find(|t| t.key.task.as_str() == task).expect("a task held");
        task.container.clone()
    }

    fn run(&mut self, effects: Vec<Effect>) -> String {
        let mut log = String::new();
        let mut synced = None;
        for effect in effects {
            self.note(&effect);
            if let Effect::Checkpoint { seq, record } = &effect {
                if self.fast_disk {
                    self.disk.push(record.clone());
                    synced = Some(*seq);
                } else {
                    self.unsynced.push((*seq, record.clone()));
                }
            }
            log.push_str(&self.line(&effect));
            log.push('\n');
        }
        if let Some(seq) = synced {
            log += &self.input(Input::Synced(seq));
        }
        log
    }

    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::Dial { link, .. } => self.link = Some(*link),
            Effect::Send { report: Report::Status { update, .. }, .. } => self.sent.push(Arc::clone(update)),
            Effect::Probe { probe, .. } => self.probes.push(*probe),
            Effect::Stop(ending) => self.stopped = Some(ending.clone()),
            _ => {}
        }
    }

    fn name(&self, container: &ContainerId) -> String {
        let view = self.agent.view();
        let ended = view.completed_executors.iter().map(|executor| &**executor);
        let mut executors = view.executors.iter().chain(ended);
        if let Some(executor) = executors.find(|executor| executor.container == *container) {
            return format!("executor {}", executor.key.executor);
        }
        let all = view.tasks.iter().chain(view.completed.iter().map(|task| &**task));
        let mut named = all.filter(|task| task.container == *container);
        named.next().map_or_else(|| "?".to_owned(), |task| task.key.task.to_string())
    }

    fn line(&self, effect: &Effect) -> String {
        match effect {
            Effect::Checkpoint { record, .. } => format!("  write {}", record_line(record)),
            Effect::Dial { link, address } => format!("  dial {} as link {}", address, link.0),
            Effect::Hangup { link } => format!("  hang up link {}", link.0),
            Effect::Send { link, report } => format!("  send on link {}: {}", link.0, report_line(report)),
            Effect::Fetch(agent_core::Job { container, sandbox, task, .. }) => {
                let uris: Vec<&str> = task.command.uris.iter().map(|uri| uri.value.as_str()).collect();
                let inside = sandbox.task.iter().map(|task| format!("/tasks/{task}")).collect::<String>();
                let (framework, name) = (&sandbox.framework, &sandbox.name);
                let uris = uris.join(" ");
                format!("  fetch {} into {framework}/{name}{inside}: {uris}", self.name(container))
            }
            Effect::Show(agent_core::Job { sandbox, task, .. }) => {
                let paths: Vec<&str> = task.mounts.iter().map(|mount| mount.path.as_str()).collect();
                format!("  show in {}/{}: {}", sandbox.framework, sandbox.name, paths.join(" "))
            }
            Effect::MakeVolume(volume) => format!("  make volume {} of {}", volume.id, volume.role),
            Effect::RemoveVolume(volume) => format!("  remove volume {} of {}", volume.id, volume.role),
            Effect::CancelFetch { container } => format!("  stop fetching {}", self.name(container)),
            Effect::Launch(agent_core::Job { container, task, .. }) => {
                let shown = |mount: &agent_core::Mount| match &mount.source {
                    agent_core::Source::Volume { volume, .. } => {
                        format!(", volume {} at {}", volume.id, mount.path)
                    }
                    agent_core::Source::Executor(path) => {
                        format!(", {path} of its executor at {}", mount.path)
                    }
                };
                let mounts: String = task.mounts.iter().map(shown).collect();
                format!("  launch {}{mounts}", self.name(container))
            }
            Effect::Kill { container, grace } => format!("  kill {} within {grace}", self.name(container)),
            Effect::Destroy { container } => format!("  destroy {}", self.name(container)),
            Effect::Forget { container } => format!("  forget container of {}", self.name(container)),
            Effect::Recover { containers } => {
                let names: Vec<String> = containers.iter().map(|container| self.name(container)).collect();
                format!("  look for containers [{}]", names.join(", "))
            }
            Effect::Probe { job: agent_core::Job { container, .. }, target, timeout, .. } => {
                let target = match target {
                    Target::Command(command) => format!("`{}`", command.value),
                    Target::Http { tls, port, path } => {
                        format!("http{}://:{port}{path}", if *tls { "s" } else { "" })
                    }
                    Target::Tcp { port } => format!("tcp :{port}"),
                };
                format!("  probe {} with {target}, timeout {timeout:?}", self.name(container))
            }
            Effect::Resize { container, resources } => {
                format!("  resize {} to {resources}", self.name(container))
            }
            Effect::Event { stream, event } => {
                format!("  tell on stream {}: {}", stream.0, event_line(event))
            }
            Effect::CloseStream { stream } => format!("  close stream {}", stream.0),
            Effect::MeasureDisk => "  measure disk".into(),
            Effect::Remove(sandbox) => format!("  remove {}/{}", sandbox.framework, sandbox.name),
            Effect::Stop(ending) => format!("  stop: {ending:?}"),
        }
    }
}

fn record_line(record: &Record) -> String {
    match record {
        Record::Registered { agent, sessions } => {
            format!("registered as {agent}, {} sessions", sessions.len())
        }
        Record::Term(term) => format!("term {term}"),
        Record::Boot(boot) => format!("boot {}", boot.id),
        Record::Framework(info) => format!("framework {}", info.id.as_ref().map_or("", |id| &id.value)),
        Record::FrameworkRemoved(id) => format!("framework {id} removed"),
        Record::Task(task) => format!("task {}", task.info.task_id.value),
        Record::Update { key, update } => format!("update {} {}", key.task, update.state),
        Record::Acknowledged { key, .. } => format!("acknowledged {}", key.task),
        Record::Kill { key, kill } => format!("kill {}: {:?}", key.task, kill.cause),
        Record::Dropped(key) => format!("dropped {}", key.task),
        Record::Executor(executor) => format!("executor {}", executor.info.executor_id.value),
        Record::ExecutorEnded(key) => format!("executor {} ended", key.executor),
        Record::Changed(changed) => format!("changed {changed}"),
        Record::Operation(record) => {
            let changed = record.changed.as_ref().map(|changed| format!(", changed is [{changed}]"));
            format!("operation {}{}", operation_line(&record.operation), changed.unwrap_or_default())
        }
        Record::OperationAcknowledged(uuid) => format!("operation {} acknowledged", uuid.0[0]),
        Record::VolumeDestroyed(volume) => format!("volume {} destroyed", volume.id),
        Record::VolumeRemoved(volume) => format!("volume {} removed", volume.id),
    }
}

fn operation_line(operation: &agent_core::Operation) -> String {
    let status = &operation.status;
    let id = status.operation_id.as_ref().map_or("without id", |id| id.value.as_str());
    let message = status.message.as_ref().map(|message| format!(" {message:?}")).unwrap_or_default();
    let kind = operation.asked.r#type().as_str_name();
    format!("{} {id} {kind} {}{message}", operation.uuid.0[0], status.state().as_str_name())
}

fn event_line(event: &Event) -> String {
    match event {
        Event::Subscribed { executor, framework, agent, .. } => {
            let id = |id: Option<&str>| id.unwrap_or("nobody").to_owned();
            let framework = id(framework.id.as_ref().map(|id| id.value.as_str()));
            let agent = id(agent.id.as_ref().map(|id| id.value.as_str()));
            format!("subscribed as {} of {framework} at {agent}", executor.executor_id.value)
        }
        Event::Launch(task) => format!("launch {}", task.task_id.value),
        Event::LaunchGroup(tasks) => {
            let tasks: Vec<&str> = tasks.iter().map(|task| task.task_id.value.as_str()).collect();
            format!("launch together {}", tasks.join(" "))
        }
        Event::Kill { task, grace } => format!("kill {task}, grace {grace:?}"),
        Event::Acknowledged { task, uuid } => format!("acknowledged {task} {}", uuid.0[0]),
        Event::Message(data) => format!("message of {} bytes", data.len()),
        Event::Shutdown => "shutdown".into(),
    }
}

fn report_line(report: &Report) -> String {
    match report {
        Report::Hello(hello) => {
            let tasks: Vec<String> = hello
                .tasks
                .iter()
                .map(|task| format!("{} {}", task.info.task_id.value, task.latest))
                .collect();
            let id = hello.agent.as_ref().map_or("new", |id| id.as_str());
            let more = match (&hello.operations[..], hello.total.reserved().is_empty()) {
                ([], true) => String::new(),
                (some, _) => format!(", {} operations, reserved [{}]", some.len(), hello.total.reserved()),
            };
            let executors = match &hello.executors[..] {
                [] => String::new(),
                some => format!(", {} executors", some.len()),
            };
            format!(
                "hello of {id}, term {}, tasks [{}]{executors}{more}",
                hello.highest_term,
                tasks.join(", ")
            )
        }
        Report::Pong { sequence } => format!("pong {sequence}"),
        Report::Status { update, latest, .. } => format!("{}, latest {latest}", status_line(update)),
        Report::Fenced { highest } => format!("fenced, term is {highest}"),
        Report::Goodbye { tasks_killed } => format!("goodbye, tasks killed: {tasks_killed}"),
        Report::Message { executor, data, .. } => format!("message of {executor}, {} bytes", data.len()),
        Report::ExecutorExit { executor, status, .. } => format!("executor {executor} exited, {status:?}"),
        Report::Operation(operation) => format!("operation {}", operation_line(operation)),
    }
}

/// State, source, reason, message and health of an update.
pub(crate) fn status_line(update: &Update) -> String {
    let status = &update.status;
    let mut line = format!("{} {} {}", status.task_id.value, update.state, status.source().as_str_name());
    if status.reason.is_some() {
        line += &format!(" {}", status.reason().as_str_name());
    }
    if let Some(healthy) = status.healthy {
        line += &format!(" healthy={healthy}");
    }
    if let Some(message) = &status.message {
        line += &format!(" {message:?}");
    }
    line
}

/// A transcript: what happened, and under it what the agent did.
#[derive(Default)]
pub(crate) struct Script(String);

impl Script {
    pub(crate) fn step(&mut self, what: &str, log: String) {
        self.0 += what;
        self.0 += "\n";
        self.0 += &log;
    }

    pub(crate) fn check(self, expected: expect_test::Expect) {
        expected.assert_eq(&self.0);
    }
}
