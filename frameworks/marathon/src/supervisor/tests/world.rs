//! An API over a supervisor with a store and a master in memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use model::time::{Span, Time};
use regex::Regex;
use serde_json::{Value, json};

use crate::core::id::{AppId, InstanceId};
use crate::core::instance::{Condition, Instance};
use crate::core::offer::Offer;
use crate::core::update::{Reason, TaskUpdate};
use crate::supervisor::message::{
    Call, Command, Commit, Effect, Input, Operation, Origin, Published, Record, Refusal, Reply, RequestId,
    Selection, UpdateOptions,
};
use crate::supervisor::state::State;
use crate::supervisor::{Settings, Supervisor};

/// A supervisor with everything around it. What happens is written down in `log`, ids made short.
pub(super) struct World {
    pub(super) supervisor: Supervisor,
    pub(super) now: Time,
    pub(super) store: BTreeMap<String, Vec<u8>>,
    pub(super) view: Arc<State>,
    pub(super) events: Vec<Arc<Published>>,
    pub(super) calls: Vec<Call>,
    pub(super) answers: Vec<Result<Reply, Refusal>>,
    /// Batches that are not stored until told so.
    pub(super) commits: Vec<Commit>,
    pub(super) hold_commits: bool,
    /// Event types that the log shows.
    pub(super) shown: Vec<&'static str>,
    log: String,
    requests: u64,
    offers: u64,
    updates: u64,
    terms: u64,
    seen: u64,
    names: Vec<String>,
}

pub(super) const FRAMEWORK: &str = "F";

impl World {
    /// A leader with nothing stored, subscribed.
    pub(super) fn new() -> Self {
        let mut world = Self::standby();
        world.elect();
        world.log.clear();
        world.calls.clear();
        world
    }

    fn standby() -> Self {
        let settings = Settings {
            role: "*".to_owned(),
            service_ports: 10_000..=10_100,
            drain_timeout: Span::from_secs(10),
        };
        Self {
            supervisor: Supervisor::new(settings),
            now: Time::from_secs(1_700_000_000),
            store: BTreeMap::new(),
            view: Arc::default(),
            events: Vec::new(),
            calls: Vec::new(),
            answers: Vec::new(),
            commits: Vec::new(),
            hold_commits: false,
            shown: vec![
                "deployment_info",
                "deployment_step_success",
                "deployment_success",
                "deployment_failed",
                "status_update_event",
                "health_status_changed_event",
                "unhealthy_instance_kill_event",
                "instance_draining_event",
                "app_terminated_event",
                "unknown_instance_terminated_event",
            ],
            log: String::new(),
            requests: 0,
            offers: 0,
            updates: 0,
            terms: 0,
            seen: 0,
            names: Vec::new(),
        }
    }

    fn elect(&mut self) {
        self.terms += 1;
        let record = |(key, value): (&String, &Vec<u8>)| Record { key: key.clone(), value: value.clone() };
        let records = self.store.iter().map(record).collect();
        self.input(Input::Elected { seed: [self.terms, self.terms << 32], records });
        self.subscribe();
    }

    pub(super) fn subscribe(&mut self) {
        self.input(Input::Subscribed {
            framework: FrameworkId::from(FRAMEWORK),
            master: "master".to_owned(),
        });
    }

    /// The leader dies with everything it has not stored; another takes over.
    pub(super) fn fail_over(&mut self) {
        let mut next = Self::standby();
        next.now = self.now;
        next.terms = self.terms;
        next.seen = self.seen;
        next.offers = self.offers;
        next.updates = self.updates;
        next.store = std::mem::take(&mut self.store);
        next.names = std::mem::take(&mut self.names);
        next.shown = std::mem::take(&mut self.shown);
        next.log = std::mem::take(&mut self.log);
        next.log.push_str("-- another leader\n");
        *self = next;
        self.elect();
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let mut effects = Vec::new();
            self.supervisor.handle(self.now, inputs.remove(0), &mut effects);
            for effect in effects {
                if let Some(next) = self.execute(effect) {
                    inputs.push(next);
                }
            }
        }
    }

    fn execute(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Commit(commit) if self.hold_commits => self.commits.push(commit),
            Effect::Commit(commit) => return Some(self.store(commit)),
            Effect::Call(call) => {
                let line = line(&call);
                self.note(&line);
                self.calls.push(call);
            }
            Effect::Publish(events) => {
                // A new leader publishes the kept window first.
                for event in &events {
                    if event.number > self.seen {
                        self.note_event(event);
                    }
                }
                self.seen = events.last().map_or(self.seen, |event| event.number);
                self.events.extend(events);
            }
            Effect::View(view) => self.view = view,
            Effect::Answer(_, answer) => {
                let line = match &answer {
                    Ok(Reply::Killing(instances)) => format!("answer: killing {}", instances.len()),
                    Ok(Reply::Created { .. }) => "answer: created".to_owned(),
                    Ok(Reply::Deployed { .. }) => "answer: deployed".to_owned(),
                    Ok(other) => format!("answer: {other:?}"),
                    Err(Refusal::Invalid(errors)) => format!("refused: {errors}"),
                    Err(refusal) => format!("refused: {refusal}"),
                };
                self.note(&line);
                self.answers.push(answer);
            }
        }
        None
    }

    fn store(&mut self, commit: Commit) -> Input {
        assert!(
            commit.operations.len() <= 127,
            "a transaction has at most 128 operations, one is the compare"
        );
        for operation in commit.operations {
            match operation {
                Operation::Put { key, value } => {
                    assert!(value.len() <= 1 << 20, "{key} is too large for a value");
                    self.store.insert(key, value);
                }
                Operation::Delete { key } => {
                    self.store.remove(&key);
                }
            }
        }
        Input::Committed { number: commit.number }
    }

    /// Stores the oldest batch that waits.
    pub(super) fn commit_one(&mut self) {
        let commit = self.commits.remove(0);
        let committed = self.store(commit);
        self.input(committed);
    }

    pub(super) fn advance(&mut self, secs: u64) {
        let end = self.now + Span::from_secs(secs);
        while let Some(at) = self.supervisor.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Wake);
        }
        self.now = end;
        self.input(Input::Wake);
    }

    // --- the API

    pub(super) fn command(&mut self, command: Command) {
        self.requests += 1;
        self.now += Span::from_millis(1);
        self.input(Input::Request { request: RequestId(self.requests), origin: Origin::default(), command });
    }

    pub(super) fn post(&mut self, document: Value) {
        self.command(Command::Create { document: parsed(document), force: false });
    }

    pub(super) fn put(&mut self, app: &str, document: Value) {
        self.change(app, document, false);
    }

    pub(super) fn force_put(&mut self, app: &str, document: Value) {
        self.change(app, document, true);
    }

    fn change(&mut self, app: &str, document: Value, force: bool) {
        let options = UpdateOptions { force, partial: true, create: true };
        self.command(Command::Update { app: id(app), document: parsed(document), options });
    }

    pub(super) fn scale(&mut self, app: &str, instances: u32) {
        self.put(app, json!({"instances": instances}));
    }

    pub(super) fn delete(&mut self, app: &str) {
        self.command(Command::Delete { app: id(app), force: true });
    }

    pub(super) fn kill(&mut self, tasks: &[TaskId], scale: bool, wipe: bool) {
        let selection = Selection::Tasks(tasks.to_vec());
        self.command(Command::Kill { selection, scale, wipe, force: false });
    }

    // --- master and agents

    pub(super) fn offer(&mut self, agent: &str, resources: &str) {
        let offer = self.make_offer(agent, resources, &[]);
        self.input(Input::Offers(vec![offer]));
    }

    pub(super) fn make_offer(&mut self, agent: &str, resources: &str, fields: &[(&str, &str)]) -> Offer {
        self.offers += 1;
        let mut all = BTreeMap::from([("hostname".to_owned(), format!("{agent}.host"))]);
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Offer {
            id: OfferId::from(format!("o{}", self.offers)),
            agent: AgentId::from(agent),
            hostname: format!("{agent}.host"),
            role: Role::any(),
            resources: Bag::parse(resources).unwrap(),
            fields: all,
        }
    }

    pub(super) fn update(&mut self, task: &TaskId, state: TaskState) {
        self.update_with(task, state, |_| {});
    }

    pub(super) fn update_with(
        &mut self,
        task: &TaskId,
        state: TaskState,
        edit: impl FnOnce(&mut TaskUpdate),
    ) {
        self.updates += 1;
        let mut update = TaskUpdate {
            task: task.clone(),
            state,
            agent: Some(AgentId::from("A")),
            uuid: Some(self.updates.to_be_bytes().to_vec()),
            message: String::new(),
            reason: Reason::Other,
            healthy: None,
            addresses: Vec::new(),
            unreachable_since: None,
        };
        edit(&mut update);
        self.input(Input::Update(update));
    }

    pub(super) fn health(&mut self, task: &TaskId, healthy: bool) {
        self.update_with(task, TaskState::Running, |update| {
            update.reason = Reason::Health;
            update.healthy = Some(healthy);
            update.message = if healthy { "" } else { "503" }.to_owned();
        });
    }

    /// Offers plenty, and runs what is launched.
    pub(super) fn run_all(&mut self) {
        self.offer("A", PLENTY);
        for task in self.tasks_in(Condition::Provisioned) {
            self.update(&task, TaskState::Running);
        }
    }

    /// Ends every task that was asked to end.
    pub(super) fn end_killed(&mut self) {
        let killed: Vec<TaskId> = std::mem::take(&mut self.calls)
            .into_iter()
            .filter_map(|call| match call {
                Call::Kill(kill) => Some(kill.task),
                _ => None,
            })
            .collect();
        for task in killed {
            self.update(&task, TaskState::Killed);
        }
    }

    // --- what is there

    pub(super) fn instances(&self, app: &str) -> Vec<Arc<Instance>> {
        self.supervisor.state.instances_of(&id(app)).cloned().collect()
    }

    pub(super) fn tasks_in(&self, condition: Condition) -> Vec<TaskId> {
        let state = &self.supervisor.state;
        let same = state.instances.values().filter(|instance| instance.condition == condition);
        same.filter_map(|instance| Some(instance.task.as_ref()?.id.clone())).collect()
    }

    pub(super) fn running(&self) -> Vec<TaskId> {
        self.tasks_in(Condition::Running)
    }

    pub(super) fn deployments(&self) -> usize {
        self.supervisor.state.deployments.len()
    }

    // --- the log

    pub(super) fn note(&mut self, line: &str) {
        let line = self.short(line);
        writeln!(self.log, "{line}").unwrap();
    }

    /// What has happened since the last time this was asked.
    pub(super) fn take_log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }

    fn note_event(&mut self, event: &Published) {
        if !self.shown.contains(&event.kind) {
            return;
        }
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        let actions = payload["currentStep"]["actions"].as_array().map(|actions| {
            let action = |action: &Value| {
                let kind = action["action"].as_str().unwrap().trim_end_matches("Application");
                format!("{kind} {}", action["app"].as_str().unwrap())
            };
            actions.iter().map(action).collect::<Vec<_>>().join(", ")
        });
        let details: Vec<String> = ["taskStatus", "taskId", "instanceId", "alive", "reason", "condition"]
            .iter()
            .filter_map(|key| payload.get(key))
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .chain(actions)
            .collect();
        let line = format!("event: {} {}", event.kind, details.join(" "));
        self.note(line.trim_end());
    }

    /// Writes uuids as `#1`, `#2` in the order of their appearance.
    fn short(&mut self, line: &str) -> String {
        let uuid = Regex::new("(?:instance-)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
            .unwrap();
        let mut text = line.to_owned();
        for found in uuid.captures_iter(line) {
            let name = found[1].to_owned();
            let at = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
                self.names.push(name);
                self.names.len() - 1
            });
            text = text.replace(&found[0], &format!("#{}", at + 1));
        }
        text.replace("._app.", "/")
    }
}

pub(super) const PLENTY: &str = "cpus:1000;mem:1000000;disk:1000000;ports:[31000-41000]";

pub(super) fn id(text: &str) -> AppId {
    AppId::parse(text, &AppId::root()).unwrap()
}

pub(super) fn parsed(document: Value) -> Box<wire::marathon::App> {
    Box::new(serde_json::from_value(document).unwrap())
}

fn line(call: &Call) -> String {
    match call {
        Call::Subscribe { framework } => format!("call: SUBSCRIBE {framework:?}"),
        Call::Disconnect => "call: disconnect".to_owned(),
        Call::Accept { offer, launches, .. } => {
            let tasks: Vec<&str> = launches.iter().map(|launch| launch.task.as_str()).collect();
            format!("call: ACCEPT {offer} {}", tasks.join(" "))
        }
        Call::Decline { offers, .. } => {
            format!("call: DECLINE {}", offers.iter().map(OfferId::as_str).collect::<Vec<_>>().join(" "))
        }
        Call::Revive => "call: REVIVE".to_owned(),
        Call::Suppress => "call: SUPPRESS".to_owned(),
        Call::Kill(kill) => format!("call: KILL {}", kill.task),
        Call::Acknowledge { task, .. } => format!("call: ACKNOWLEDGE {task}"),
        Call::Reconcile { tasks } => {
            let tasks: Vec<&str> = tasks.iter().map(|(task, _)| task.as_str()).collect();
            format!("call: RECONCILE {}", tasks.join(" ")).trim_end().to_owned()
        }
    }
}

/// The instance a task belongs to.
pub(super) fn instance_of(task: &TaskId) -> InstanceId {
    crate::core::id::of_task(task.as_str()).unwrap().0
}
