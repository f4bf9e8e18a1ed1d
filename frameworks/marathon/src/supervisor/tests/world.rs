//! An API over a supervisor with a store and a master in memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, mpsc};

use model::attributes::Attributes;
use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use model::time::{Span, Time};
use regex::Regex;
use sdk::call::launched;
use sdk::engine::{Effect, Engine};
use sdk::offer::Offer;
use sdk::scheduler::Records;
use sdk::store::{Record, Write};
use sdk::subscription::Heard;
use sdk::update::Update;
use serde_json::{Value, json};
use wire::scheduler::Call;
use wire::scheduler::call::Type;
use wire::v1::task_status::Reason;

use crate::core::id::{AppId, InstanceId};
use crate::core::instance::{Condition, Instance};
use crate::driver::{Framework, Windows};
use crate::supervisor::message::{Command, Origin, Published, Refusal, Reply, Selection, UpdateOptions};
use crate::supervisor::state::State;
use crate::supervisor::{Settings, Supervisor};

/// What readers are shown, until the world has looked at it.
#[derive(Default)]
struct Screen(Mutex<Vec<Shown>>);

enum Shown {
    Events(Vec<Arc<Published>>),
    View(Arc<State>),
}

impl Windows for Screen {
    fn publish(&self, events: Vec<Arc<Published>>) {
        self.0.lock().unwrap().push(Shown::Events(events));
    }

    fn show(&self, view: Arc<State>) {
        self.0.lock().unwrap().push(Shown::View(view));
    }

    fn close(&self) {}
}

type Answer = Result<Reply, Refusal>;

/// A supervisor on the kit's engine, with everything around it. What happens is written down in `log`, ids made short.
pub(super) struct World {
    engine: Engine<Box<Framework>>,
    screen: Arc<Screen>,
    told: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    pub(super) now: Time,
    pub(super) store: BTreeMap<String, Vec<u8>>,
    pub(super) view: Arc<State>,
    pub(super) events: Vec<Arc<Published>>,
    pub(super) calls: Vec<Call>,
    pub(super) answers: Vec<Answer>,
    /// Batches that are not stored until told so.
    pub(super) commits: Vec<Vec<Write>>,
    pub(super) hold_commits: bool,
    /// Event types that the log shows.
    pub(super) shown: Vec<&'static str>,
    log: String,
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
        let mut world = Self::standby(0, None);
        world.elect();
        world.log.clear();
        world.calls.clear();
        world
    }

    fn standby(terms: u64, known: Option<FrameworkId>) -> Self {
        let screen = Arc::new(Screen::default());
        let term = terms + 1;
        let framework = Framework::new(settings(), screen.clone(), move || [term, term << 32]);
        Self {
            engine: Engine::new(Box::new(framework), known, crate::limits::REFUSE).with_prefix(""),
            screen,
            told: mpsc::channel(),
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
            offers: 0,
            updates: 0,
            terms,
            seen: 0,
            names: Vec::new(),
        }
    }

    fn elect(&mut self) {
        self.terms += 1;
        self.engine.elected(self.now, &Records::under_prefix("", self.stored())).unwrap();
        self.go_on();
        self.subscribe();
    }

    pub(super) fn subscribe(&mut self) {
        self.subscribe_as(FRAMEWORK);
    }

    pub(super) fn subscribe_as(&mut self, framework: &str) {
        self.hear(Heard::Subscribed { framework: FrameworkId::from(framework), master: "master".to_owned() });
    }

    /// The leader dies with everything it has not stored; another takes over.
    pub(super) fn fail_over(&mut self) {
        let mut next = Self::standby(self.terms, sdk::engine::framework(&self.stored()));
        next.now = self.now;
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

    /// The master says something, or the way to it breaks.
    pub(super) fn hear(&mut self, heard: Heard) {
        self.engine.heard(self.now, heard).unwrap();
        self.go_on();
    }

    pub(super) fn drainer_connected(&mut self, name: &str) {
        self.tell(name, Framework::drainer_connected);
    }

    pub(super) fn drainer_disconnected(&mut self, name: &str) {
        self.tell(name, Framework::drainer_disconnected);
    }

    fn tell(&mut self, name: &str, what: fn(&mut Framework, String, &mut sdk::step::Step)) {
        let name = name.to_owned();
        let told = self.engine.ask(self.now, |framework, step| {
            what(framework, name, step);
            Box::new(|| ())
        });
        told.unwrap();
        self.go_on();
    }

    /// Stores and does what there is to store and to do.
    fn go_on(&mut self) {
        loop {
            self.look();
            let mut effects = self.engine.release();
            if let Some(batch) = self.engine.next_batch() {
                if self.hold_commits {
                    self.commits.push(batch);
                } else {
                    self.write(batch);
                    effects.extend(self.engine.stored());
                }
            }
            if effects.is_empty() {
                return;
            }
            effects.into_iter().for_each(|effect| self.execute(effect));
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Call(call) => {
                let line = line(&call);
                self.note(&line);
                self.calls.push(*call);
            }
            Effect::Reply(reply) => {
                reply();
                self.look();
            }
            Effect::Finish => panic!("a supervisor never finishes"),
        }
    }

    /// Notes what is shown and answered.
    fn look(&mut self) {
        let shown = std::mem::take(&mut *self.screen.0.lock().unwrap());
        for shown in shown {
            match shown {
                Shown::Events(events) => {
                    // A new leader publishes the kept window first.
                    for event in &events {
                        if event.number > self.seen {
                            self.note_event(event);
                        }
                    }
                    self.seen = events.last().map_or(self.seen, |event| event.number);
                    self.events.extend(events);
                }
                Shown::View(view) => self.view = view,
            }
        }
        while let Ok(answer) = self.told.1.try_recv() {
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

    /// As the store does, which the leader does not hear of yet.
    pub(super) fn write(&mut self, batch: Vec<Write>) {
        assert!(batch.len() <= 128, "a transaction has at most 128 operations");
        for write in batch {
            match write {
                Write::Put { key, value } => {
                    assert!(value.len() <= 1 << 20, "{key} is too large for a value");
                    self.store.insert(key, value.to_vec());
                }
                Write::Delete { key } => {
                    self.store.remove(&key);
                }
            }
        }
    }

    fn stored(&self) -> Vec<Record> {
        let record = |(key, value): (&String, &Vec<u8>)| Record {
            key: key.clone(),
            value: value.clone().into(),
            revision: 1,
        };
        self.store.iter().map(record).collect()
    }

    /// Stores the batch that waits.
    pub(super) fn commit_one(&mut self) {
        let batch = self.commits.remove(0);
        self.write(batch);
        for effect in self.engine.stored() {
            self.execute(effect);
        }
        self.go_on();
    }

    pub(super) fn advance(&mut self, secs: u64) {
        let end = self.now + Span::from_secs(secs);
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.wake(self.now).unwrap();
            self.go_on();
        }
        self.now = end;
    }

    // --- the API

    pub(super) fn command(&mut self, command: Command) {
        self.now += Span::from_millis(1);
        let told = self.told.0.clone();
        let asked = self.engine.ask(self.now, move |framework, step| {
            let answer = framework.command(&Origin::default(), command, step);
            Box::new(move || told.send(answer).unwrap())
        });
        asked.unwrap();
        self.go_on();
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
        self.hear(Heard::Offers(vec![offer]));
    }

    pub(super) fn make_offer(&mut self, agent: &str, resources: &str, fields: &[(&str, &str)]) -> Offer {
        self.offers += 1;
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        Offer {
            id: OfferId::from(format!("o{}", self.offers)),
            agent: AgentId::from(agent),
            hostname: format!("{agent}.host"),
            role: Role::any(),
            resources: Bag::parse(resources).unwrap(),
            attributes: Attributes::parse(&fields.join(";")).unwrap(),
            domain: None,
        }
    }

    pub(super) fn update(&mut self, task: &TaskId, state: TaskState) {
        self.update_with(task, state, |_| {});
    }

    pub(super) fn update_with(&mut self, task: &TaskId, state: TaskState, edit: impl FnOnce(&mut Update)) {
        self.updates += 1;
        let mut update = Update {
            task: task.clone(),
            state,
            agent: Some(AgentId::from("A")),
            uuid: Some(self.updates.to_be_bytes().to_vec()),
            message: String::new(),
            reason: None,
            healthy: None,
            addresses: Vec::new(),
            unreachable_since: None,
            data: Vec::new(),
        };
        edit(&mut update);
        self.hear(Heard::Update(update));
    }

    pub(super) fn health(&mut self, task: &TaskId, healthy: bool) {
        self.update_with(task, TaskState::Running, |update| {
            update.reason = Some(Reason::TaskHealthCheckStatusUpdated);
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
            .filter_map(|call| Some(TaskId::from(call.kill?.task_id.value)))
            .collect();
        for task in killed {
            self.update(&task, TaskState::Killed);
        }
    }

    // --- what is there

    pub(super) fn supervisor(&self) -> &Supervisor {
        self.engine.scheduler().supervisor()
    }

    pub(super) fn instances(&self, app: &str) -> Vec<Arc<Instance>> {
        self.supervisor().state.instances_of(&id(app)).cloned().collect()
    }

    pub(super) fn tasks_in(&self, condition: Condition) -> Vec<TaskId> {
        let state = &self.supervisor().state;
        let same = state.instances.values().filter(|instance| instance.condition == condition);
        same.filter_map(|instance| Some(instance.task.as_ref()?.id.clone())).collect()
    }

    pub(super) fn running(&self) -> Vec<TaskId> {
        self.tasks_in(Condition::Running)
    }

    pub(super) fn deployments(&self) -> usize {
        self.supervisor().state.deployments.len()
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

pub(super) fn settings() -> Settings {
    Settings { role: "*".to_owned(), service_ports: 10_000..=10_100, drain_timeout: Span::from_secs(10) }
}

/// The tasks that a call asks about by name.
pub(super) fn asked_about(call: &Call) -> Vec<TaskId> {
    let tasks = call.reconcile.iter().flat_map(|reconcile| &reconcile.tasks);
    tasks.map(|task| task.task_id.value.as_str().into()).collect()
}

pub(super) fn is_accept(call: &Call) -> bool {
    call.r#type() == Type::Accept
}

fn line(call: &Call) -> String {
    let names = |tasks: Vec<TaskId>| tasks.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ");
    let what = if let Some(accept) = &call.accept {
        format!("ACCEPT {} {}", accept.offer_ids[0].value, names(launched(call)))
    } else if let Some(decline) = &call.decline {
        let offers: Vec<&str> = decline.offer_ids.iter().map(|offer| offer.value.as_str()).collect();
        format!("DECLINE {}", offers.join(" "))
    } else if let Some(kill) = &call.kill {
        format!("KILL {}", kill.task_id.value)
    } else if let Some(acknowledge) = &call.acknowledge {
        format!("ACKNOWLEDGE {}", acknowledge.task_id.value)
    } else {
        format!("{} {}", call.r#type().as_str_name(), names(asked_about(call)))
    };
    format!("call: {what}").trim_end().to_owned()
}

/// The instance a task belongs to.
pub(super) fn instance_of(task: &TaskId) -> InstanceId {
    crate::core::id::of_task(task.as_str()).unwrap().0
}
