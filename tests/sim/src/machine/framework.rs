//! A plain framework: wants a number of tasks to run, kills some, replaces those that ended, and forgets nothing.
//!
//! Its subscription is the real passive session of the client; calls go one by one on connections of their own, so
//! they may overtake each other, as those of a client with several connections do.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::TaskKey;
use model::id::TaskId;
use model::task::TaskState;
use rand::RngExt;
use wire::scheduler::{Call, call, event};
use wire::v1::{self, framework_info::capability::Type as Capability};

use super::subscription::{self, Heard, Subscription, Taken};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// Its role.
const ROLE: &str = "plain";
/// Between two looks at what there is to do.
const ROUND: Micros = 700 * MS;
/// Between two questions about the same task.
const ASK_AGAIN: Micros = 8 * SECOND;

/// A machine with the framework's scheduler on it. Its tables are as good as stored: it writes before it acts.
pub struct Framework {
    host: Host,
    masters: Vec<(String, Host)>,
    wanted: usize,
    id: Option<v1::FrameworkId>,
    tasks: BTreeMap<TaskId, Task>,
    made: u64,
    run: Option<Running>,
    updates: u64,
    subscriptions: u64,
    ended: u64,
}

#[derive(Debug)]
struct Task {
    agent: v1::AgentId,
    state: TaskState,
    asked: Micros,
    kill: bool,
}

struct Running {
    subscription: Subscription,
    /// Launches on their way, with the tasks they would launch.
    launches: BTreeMap<ConnId, Vec<TaskId>>,
    revived: Micros,
    /// Since when it wants something.
    wants: Option<Micros>,
    /// Offers in calls that may not have got through. Nobody else would ever see what is in them.
    stuck: Vec<v1::OfferId>,
}

impl Framework {
    pub(crate) fn new(host: Host, masters: &[(String, Host)], wanted: usize) -> Self {
        Self {
            host,
            masters: masters.to_vec(),
            wanted,
            id: None,
            tasks: BTreeMap::new(),
            made: 0,
            run: None,
            updates: 0,
            subscriptions: 0,
            ended: 0,
        }
    }

    /// Tasks believed to run.
    pub fn running(&self) -> usize {
        self.tasks.values().filter(|task| task.state == TaskState::Running && !task.kill).count()
    }

    /// Whether it has heard of no end of a task. `None` of a task that is not its own.
    pub(crate) fn knows(&self, key: &TaskKey) -> Option<bool> {
        let own = self.id.as_ref().is_some_and(|id| *id.value == *key.framework.as_str());
        own.then(|| self.tasks.contains_key(&key.task))
    }

    /// Tasks that count against what is wanted.
    fn alive(&self) -> usize {
        self.tasks.values().filter(|task| !task.kill && task.state != TaskState::Unreachable).count()
    }

    fn info(&self) -> v1::FrameworkInfo {
        let kinds = [Capability::PartitionAware, Capability::TaskKillingState, Capability::MultiRole];
        let info = subscription::info("plain", ROLE, &kinds);
        v1::FrameworkInfo { id: self.id.clone(), checkpoint: Some(true), ..info }
    }

    fn call(
        &mut self,
        kind: call::Type,
        fill: impl FnOnce(&mut Call),
        launches: Vec<TaskId>,
        cx: &mut Context,
    ) {
        let Some(run) = &mut self.run else { return };
        let mut call = Call { r#type: Some(kind.into()), ..Call::default() };
        fill(&mut call);
        if let (Some(conn), false) = (run.subscription.call(call, cx), launches.is_empty()) {
            run.launches.insert(conn, launches);
        }
    }

    fn heard(&mut self, heard: Option<Heard>, cx: &mut Context) {
        match heard {
            Some(Heard::Event(event)) => self.event(*event, cx),
            Some(Heard::Answered { conn, taken, call }) => {
                let Some(run) = &mut self.run else { return };
                if taken != Taken::Yes {
                    run.stuck.extend(call.decline.into_iter().flat_map(|call| call.offer_ids));
                    run.stuck.extend(call.accept.into_iter().flat_map(|call| call.offer_ids));
                }
                let launches = run.launches.remove(&conn).unwrap_or_default();
                if taken == Taken::No {
                    // Not taken for certain: these were never launched.
                    for id in launches {
                        self.tasks.remove(&id);
                    }
                }
            }
            Some(Heard::Lost) => {
                if let Some(run) = &mut self.run {
                    run.wants = None;
                }
            }
            None => {}
        }
    }

    fn event(&mut self, record: wire::scheduler::Event, cx: &mut Context) {
        match record.r#type() {
            event::Type::Subscribed => {
                let Some(subscribed) = record.subscribed else { return };
                self.subscriptions += 1;
                cx.judge.facts.subscribed(subscribed.framework_id.value.as_str().into());
                if self.id.as_ref().is_some_and(|id| *id != subscribed.framework_id) {
                    let why = "the framework was given another id".to_owned();
                    cx.judge.broken("frameworks stay", why);
                }
                self.id = Some(subscribed.framework_id);
                for task in self.tasks.values_mut() {
                    task.asked = 0;
                }
                self.round(cx);
            }
            event::Type::Error => {
                let why = record.error.map_or(String::new(), |error| error.message);
                cx.judge.broken("frameworks stay", why);
            }
            event::Type::Offers => {
                if let Some(since) = self.run.as_mut().and_then(|run| run.wants.take()) {
                    cx.judge.service.waits("the plain framework", since, cx.now);
                }
                for offer in record.offers.map(|offers| offers.offers).unwrap_or_default() {
                    self.offer(&offer, cx);
                }
            }
            event::Type::Update => {
                if let Some(update) = record.update {
                    self.update(&update.status, cx);
                }
            }
            _ => {}
        }
    }

    fn offer(&mut self, offer: &v1::Offer, cx: &mut Context) {
        let mut cpus = amount(offer, "cpus");
        let mut mem = amount(offer, "mem");
        let mut infos = Vec::new();
        let mut launches = Vec::new();
        while self.alive() < self.wanted && infos.len() < 3 {
            let want_cpus = f64::from(cx.random.random_range(1..=10_u32)) / 10.0;
            let want_mem = f64::from(cx.random.random_range(16..=128_u32));
            if want_cpus > cpus || want_mem > mem {
                break;
            }
            cpus -= want_cpus;
            mem -= want_mem;
            self.made += 1;
            let id = format!("t{}", self.made);
            infos.push(task_info(&id, offer, want_cpus, want_mem, cx));
            let id = TaskId::from(id);
            let task =
                Task { agent: offer.agent_id.clone(), state: TaskState::Staging, asked: cx.now, kill: false };
            self.tasks.insert(id.clone(), task);
            launches.push(id);
        }
        let refuse = [0.0, 1.0, 5.0, 30.0][cx.random.random_range(0..4)];
        let filters = Some(v1::Filters { refuse_seconds: Some(refuse) });
        let offer_ids = vec![offer.id.clone()];
        if infos.is_empty() {
            let decline = call::Decline { offer_ids, filters };
            return self.call(call::Type::Decline, |call| call.decline = Some(decline), Vec::new(), cx);
        }
        let launch = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch.into()),
            launch: Some(v1::offer::operation::Launch { task_infos: infos }),
            ..Default::default()
        };
        let accept = call::Accept { offer_ids, operations: vec![launch], filters };
        self.call(call::Type::Accept, |call| call.accept = Some(accept), launches, cx);
    }

    fn update(&mut self, status: &v1::TaskStatus, cx: &mut Context) {
        self.updates += 1;
        let state = v1::TaskState::try_from(status.state).ok();
        let Some(state) = state.and_then(|state| TaskState::from_name(state.as_str_name())) else { return };
        let id = TaskId::from(status.task_id.value.as_str());
        let framework = self.id.as_ref().map_or("", |id| id.value.as_str());
        cx.judge.updates.received(framework, status);
        if let Some(task) = self.tasks.get_mut(&id) {
            // The master's own answers may be older than what the agent has said meanwhile.
            task.state = state;
            if state.is_terminal() || matches!(state, TaskState::Unknown | TaskState::GoneByOperator) {
                self.ended += 1;
                self.tasks.remove(&id);
            }
        } else if !state.is_terminal() && state != TaskState::Unreachable && state != TaskState::Unknown {
            // Taken for lost, and there after all.
            if let Some(agent) = &status.agent_id {
                let task = Task { agent: agent.clone(), state, asked: cx.now, kill: false };
                self.tasks.insert(id, task);
            }
        }
        if let (Some(uuid), Some(agent)) =
            (status.uuid.clone().filter(|uuid| !uuid.is_empty()), status.agent_id.clone())
        {
            let acknowledge = call::Acknowledge { agent_id: agent, task_id: status.task_id.clone(), uuid };
            self.call(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge), Vec::new(), cx);
        }
    }

    /// Kills, asks and revives, as there is need.
    fn round(&mut self, cx: &mut Context) {
        if !self.run.as_ref().is_some_and(|run| run.subscription.is_subscribed()) {
            return;
        }
        if !cx.judge.healed && cx.chance(2_000) {
            let running: Vec<TaskId> = self
                .tasks
                .iter()
                .filter(|(_, task)| task.state == TaskState::Running)
                .map(|(id, _)| id.clone())
                .collect();
            if !running.is_empty() {
                let victim = &running[cx.random.random_range(0..running.len())];
                if let Some(task) = self.tasks.get_mut(victim) {
                    task.kill = true;
                    task.asked = 0;
                }
            }
        }
        // More than is wanted came back from the dead.
        let surplus = self.alive().saturating_sub(self.wanted);
        let surplus: BTreeSet<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| !task.kill)
            .map(|(id, _)| id.clone())
            .take(surplus)
            .collect();
        for id in surplus {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.kill = true;
                task.asked = 0;
            }
        }
        self.ask_about_tasks(cx);
        let short = self.tasks.len() < self.wanted;
        let Some(run) = &mut self.run else { return };
        let stuck = std::mem::take(&mut run.stuck);
        if !stuck.is_empty() {
            let decline = call::Decline { offer_ids: stuck, filters: None };
            self.call(call::Type::Decline, |call| call.decline = Some(decline), Vec::new(), cx);
        }
        let Some(run) = &mut self.run else { return };
        run.wants = if short { Some(run.wants.unwrap_or(cx.now)) } else { None };
        if let Some(since) = run.wants {
            cx.judge.service.waits("the plain framework", since, cx.now);
        }
        if short && cx.now >= run.revived + 3 * SECOND {
            run.revived = cx.now;
            self.call(call::Type::Revive, |call| call.revive = Some(call::Revive::default()), Vec::new(), cx);
        }
    }

    fn ask_about_tasks(&mut self, cx: &mut Context) {
        let due = |task: &Task| {
            let settled = task.state == TaskState::Running && !task.kill;
            task.asked == 0 || (!settled && cx.now >= task.asked + ASK_AGAIN)
        };
        let due: Vec<(TaskId, v1::AgentId, bool)> = self
            .tasks
            .iter()
            .filter(|(_, task)| due(task))
            .map(|(id, task)| (id.clone(), task.agent.clone(), task.kill))
            .collect();
        let mut questions = Vec::new();
        let framework = self.id.clone().map_or(String::new(), |id| id.value);
        for (id, agent, kill) in due {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.asked = cx.now.max(1);
            }
            let task_id = v1::TaskId { value: id.to_string() };
            if kill {
                cx.judge.survival.asked(&framework, &id);
                let kill =
                    call::Kill { task_id: task_id.clone(), agent_id: Some(agent.clone()), kill_policy: None };
                self.call(call::Type::Kill, |call| call.kill = Some(kill), Vec::new(), cx);
            }
            questions.push(call::reconcile::Task { task_id, agent_id: Some(agent) });
        }
        if !questions.is_empty() {
            let reconcile = call::Reconcile { tasks: questions };
            self.call(call::Type::Reconcile, |call| call.reconcile = Some(reconcile), Vec::new(), cx);
        }
    }
}

impl Machine for Framework {
    fn start(&mut self, cx: &mut Context) {
        let info = self.info();
        self.run = Some(Running {
            subscription: Subscription::begin(self.host, &self.masters, info, cx),
            launches: BTreeMap::new(),
            revived: 0,
            wants: None,
            stuck: Vec::new(),
        });
        cx.later(self.host, ROUND, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if matches!(what, Due::Next) {
            cx.later(self.host, ROUND, Due::Next);
            return self.round(cx);
        }
        let heard = run.subscription.due(&what, cx);
        self.heard(heard, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let heard = run.subscription.heard(conn, frame, cx);
        Self::heard(self, heard, cx);
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {
        self.run = None;
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        let mut missing = Vec::new();
        if self.run.as_ref().is_none_or(|run| !run.subscription.is_subscribed()) {
            missing.push("is not subscribed".to_owned());
        }
        let running = self.running();
        if running != self.wanted {
            let settled = |task: &&Task| task.state == TaskState::Running && !task.kill;
            let others = self.tasks.iter().filter(|(_, task)| !settled(task));
            let others: Vec<String> = others
                .map(|(id, task)| {
                    format!("{id} ({:?} on {}, kill: {})", task.state, task.agent.value, task.kill)
                })
                .collect();
            missing.push(format!("{running} tasks run, {} are wanted; others: {others:?}", self.wanted));
        }
        missing
    }

    fn report(&self) -> String {
        format!(
            "{} of {} tasks run, {} made, {} ended, {} updates, subscribed {} times",
            self.running(),
            self.wanted,
            self.made,
            self.ended,
            self.updates,
            self.subscriptions
        )
    }
}

fn amount(offer: &v1::Offer, name: &str) -> f64 {
    let named = offer.resources.iter().filter(|resource| resource.name == name);
    named.filter_map(|resource| resource.scalar).map(|scalar| scalar.value).sum()
}

/// An amount of an offer to a role.
pub(super) fn scalar(name: &str, value: f64, role: &str) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.into()) }),
        ..Default::default()
    }
}

fn task_info(id: &str, offer: &v1::Offer, cpus: f64, mem: f64, cx: &mut Context) -> v1::TaskInfo {
    let command = match cx.random.random_range(0..4) {
        _ if cx.judge.healed => "serve".to_owned(),
        0 => format!("run {} 0", cx.random.random_range(100..20_000)),
        1 => format!("run {} 1", cx.random.random_range(0..5_000)),
        _ => "serve".to_owned(),
    };
    let uri = v1::command_info::Uri { value: "http://files/app.tgz".into(), ..Default::default() };
    let uris = if cx.chance(2_000) { vec![uri] } else { Vec::new() };
    v1::TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: offer.agent_id.clone(),
        resources: vec![scalar("cpus", cpus, ROLE), scalar("mem", mem, ROLE)],
        command: Some(v1::CommandInfo { value: Some(command), uris, ..Default::default() }),
        ..Default::default()
    }
}
