//! A scheduler, what it has stored, and a cluster that does what it is told.

use std::collections::BTreeMap;

use model::attributes::Attributes;
use model::resources::Bag;
use model::task::TaskState;
use model::time::{Span, Time};
use sdk::offer::Offer;
use serde_json::Value;

use super::super::super::definition::Definition;
use super::super::super::message::{Command, Counters, Effect, Input, Reply, TaskUpdate};
use super::super::super::refusal::Refusal;
use super::super::super::run::Run;
use super::super::super::schedule::iso8601;
use super::super::{Scheduler, Settings};

/// 2026-01-01T00:00:00Z.
pub(super) const START: Time = Time::from_secs(1_767_225_600);

pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) store: BTreeMap<String, Value>,
    pub(super) now: Time,
    /// Tasks that run, in the order of their launch.
    pub(super) tasks: Vec<String>,
    pub(super) log: Vec<String>,
    /// What the tasks were told, in the order of their launch.
    pub(super) environments: Vec<Vec<(String, String)>>,
    offers: u32,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(Settings::default()),
            store: BTreeMap::new(),
            now: START,
            tasks: Vec::new(),
            log: Vec::new(),
            environments: Vec::new(),
            offers: 0,
        };
        world.fail_over();
        world.log.clear();
        world
    }

    /// Another scheduler takes over what is stored.
    pub(super) fn fail_over(&mut self) {
        self.scheduler = Scheduler::new(Settings::default());
        let records = self.store.clone().into_iter().collect();
        self.input(Input::Elected(records));
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.scheduler.handle(self.now, input, &mut out);
        self.apply(out);
    }

    pub(super) fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        let mut out = Vec::new();
        let reply = self.scheduler.command(self.now, command, &mut out);
        self.apply(out);
        reply
    }

    pub(super) fn post(&mut self, document: Value) -> Result<Reply, Refusal> {
        let definition = Box::new(Definition::read(document)?);
        self.command(Command::Put { definition, counters: Counters::default() })
    }

    /// Posts a job that has to be accepted.
    pub(super) fn job(&mut self, document: Value) {
        self.post(document).expect("accepted");
    }

    pub(super) fn trigger(&mut self, job: &str) {
        let command = Command::Trigger { job: job.to_owned(), arguments: None };
        self.command(command).expect("known");
    }

    /// Time goes on, with whatever is due on the way.
    pub(super) fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(at) = self.scheduler.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Wake);
        }
        self.now = until;
    }

    /// Nobody is there for a while, then a new leader.
    pub(super) fn outage(&mut self, span: Span) {
        self.now += span;
        self.fail_over();
    }

    pub(super) fn offer(&mut self, resources: &str) {
        let offer = self.next_offer(resources);
        self.input(Input::Offers(vec![offer]));
    }

    pub(super) fn offer_of(&mut self, agent: &str, resources: &str) {
        let mut offer = self.next_offer(resources);
        offer.agent = agent.into();
        self.input(Input::Offers(vec![offer]));
    }

    pub(super) fn next_offer(&mut self, resources: &str) -> Offer {
        self.offers += 1;
        Offer {
            id: format!("O{}", self.offers).as_str().into(),
            agent: "S1".into(),
            hostname: "host1".to_owned(),
            role: "*".parse().expect("a role"),
            resources: Bag::parse(resources).expect("resources"),
            attributes: Attributes::parse("rack:a").expect("attributes"),
            domain: None,
        }
    }

    pub(super) fn update(&mut self, task: &str, state: TaskState, message: &str) {
        if state.is_terminal() {
            self.tasks.retain(|running| running != task);
        }
        let message = message.to_owned();
        let (task, agent) = (task.into(), Some("S1".into()));
        self.input(Input::Update(TaskUpdate { task, agent, state, message }));
    }

    /// The oldest task runs and ends so.
    pub(super) fn end(&mut self, state: TaskState) {
        let task = self.tasks.first().cloned().expect("a task");
        self.update(&task, TaskState::Running, "");
        let status = if state == TaskState::Failed { 3 } else { 0 };
        self.update(&task, state, &format!("Command exited with status {status}"));
    }

    /// Offers, and the task it leads to succeeds.
    pub(super) fn serve(&mut self) {
        self.offer("cpus:1;mem:1000;disk:1000");
        self.end(TaskState::Finished);
    }

    fn apply(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Put { key, value } => {
                    if let Ok(run) = serde_json::from_value::<Run>(value.clone()) {
                        let line = format!("{} {} {}", key, run.state.name(), run.reason);
                        self.log.push(line.trim_end().to_owned());
                    }
                    self.store.insert(key, value);
                }
                Effect::Remove { key } => {
                    self.log.push(format!("- {key}"));
                    self.store.remove(&key);
                }
                Effect::Launch { launches, .. } => {
                    for launch in launches {
                        self.log.push(format!("launch {}", launch.task));
                        self.tasks.push(launch.task.to_string());
                        self.environments.push(launch.environment);
                    }
                }
                Effect::Kill { task, .. } => self.log.push(format!("kill {task}")),
                Effect::Revive => self.log.push("revive".to_owned()),
                Effect::Notify(notice) => {
                    let line =
                        format!("notify {:?} {}: {}", notice.event, notice.definition.name, notice.message);
                    self.log.push(line);
                }
            }
        }
    }

    /// What was done since the last look; times in seconds after the start.
    pub(super) fn told(&mut self) -> String {
        let mut lines = std::mem::take(&mut self.log);
        // While runs wait, offers are asked for again and again.
        lines.dedup();
        short(&lines.join("\n"))
    }

    /// The runs of a job: due, state, reason.
    pub(super) fn history(&self, job: &str) -> String {
        let line = |run: &std::sync::Arc<Run>| {
            let up_to = run.up_to.map(|at| format!("..{}", &iso8601(at)[11..19])).unwrap_or_default();
            let text = format!(
                "{}{up_to} x{} {} {}",
                &iso8601(run.due)[11..19],
                run.count,
                run.state.name(),
                run.reason
            );
            text.trim_end().to_owned()
        };
        self.scheduler.book().runs_of(job).map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Milliseconds since the epoch as `+ms` after the start.
fn short(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("17672") {
        let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| at + end);
        result.push_str(&rest[..at]);
        match rest[at..end].parse::<u64>() {
            Ok(millis) if end - at == 13 => result.push_str(&format!("+{}", millis - START.as_millis())),
            _ => result.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    result + rest
}
