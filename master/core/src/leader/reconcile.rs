//! `RECONCILE`: what the master knows of tasks, or that it knows nothing (spec mesos-v1, section 8.9).

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use model::id::{AgentId, FrameworkId, OperationId, TaskId};
use model::task::TaskState;
use model::time::Time;
use wire::v1::task_status::{Reason as Why, Source};
use wire::v1::{self, TaskStatus};

use super::Turn;
use super::state_api::Waiting;
use super::status::end_forwarded;
use super::streams::Listener;
use crate::call::Verb;
use crate::effect::{Effect, SchedulerEvent};
use crate::input::StreamId;
use crate::limits;
use crate::refusal::Refusal;
use crate::registry::Presence;
use crate::snapshot::Task;

/// What a scheduler has asked for and has not been told yet. One for each stream that ever asked.
///
/// The answers to one call can be more than the stream's queue holds, and a scheduler that lost its stream over them would
/// come back and ask the same again. So they are given in slices: after each the stream is marked, and the next follows
/// when the reader has got as far as the mark.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Answers since the last mark was reached.
    slice: usize,
    /// The stream has a mark that was not reached yet.
    marked: bool,
    /// It is being proved that this master leads, for the sake of those asked by name.
    proving: bool,
    /// Asked by name, oldest first, at most [`limits::RECONCILIATIONS`].
    named: VecDeque<Question>,
    round: Option<Round>,
}

#[derive(Debug)]
enum Question {
    Task(TaskId, Option<AgentId>),
    Operation(OperationId, Option<AgentId>),
}

/// A walk over all tasks of a framework. A scheduler that asks for all while it goes on is not answered twice over: the
/// walk goes on to the end and then once more up to where it was, so that every call is followed by a whole walk, and one
/// who asks all the time gets no further behind.
#[derive(Debug, Default)]
struct Round {
    /// The task told last.
    at: Option<TaskId>,
    /// Where it ends; at the last task when absent.
    until: Option<TaskId>,
    /// After the last task it begins again and ends here.
    again: Option<TaskId>,
}

impl Round {
    fn join(&mut self) {
        if self.at.is_some() {
            self.again.clone_from(&self.at);
            self.until = None;
        }
    }

    /// The next task, and the place moved to it. `None` at the end.
    fn step(&mut self, tasks: &OrdMap<TaskId, Arc<Task>>) -> Option<Arc<Task>> {
        loop {
            let from = self.at.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = tasks.range::<_, TaskId>((from, Bound::Unbounded)).next();
            let within = next.filter(|(id, _)| self.until.as_ref().is_none_or(|until| *id <= until));
            if let Some((id, task)) = within {
                self.at = Some(id.clone());
                return Some(Arc::clone(task));
            }
            self.until = Some(self.again.take()?);
            self.at = None;
        }
    }
}

impl Turn<'_> {
    /// Whether so many more questions can wait for a stream.
    pub(super) fn admit_questions(&mut self, stream: Option<&StreamId>, verb: &Verb) -> Result<(), Refusal> {
        let more = match verb {
            Verb::Reconcile { tasks } => tasks.len(),
            Verb::ReconcileOperations { operations } => operations.len(),
            _ => return Ok(()),
        };
        let waiting = stream.and_then(|stream| self.leader.streams.asked.get(stream));
        if waiting.map_or(0, |asked| asked.named.len()) + more <= limits::RECONCILIATIONS {
            return Ok(());
        }
        self.leader.counters.count("reconciliations_refused");
        Err(Refusal::TooMany { what: "questions of this framework", limit: limits::RECONCILIATIONS })
    }

    /// A call about a task nobody knows is answered like a question about it, while there is room for one.
    pub(super) fn ask_about_task(&mut self, framework: &FrameworkId, task: TaskId, agent: Option<AgentId>) {
        let Some(asked) = self.asked(framework) else { return };
        if asked.named.len() >= limits::RECONCILIATIONS {
            return self.leader.counters.count("reconciliations_refused");
        }
        asked.named.push_back(Question::Task(task, agent));
        self.tell_on(framework);
    }

    /// `RECONCILE`: without any named, all of the framework that are known.
    pub(super) fn reconcile(&mut self, framework: &FrameworkId, tasks: Vec<(TaskId, Option<AgentId>)>) {
        let Some(asked) = self.asked(framework) else { return };
        if tasks.is_empty() {
            match &mut asked.round {
                Some(round) => round.join(),
                None => asked.round = Some(Round::default()),
            }
        }
        asked.named.extend(tasks.into_iter().map(|(task, agent)| Question::Task(task, agent)));
        self.tell_on(framework);
    }

    /// `RECONCILE_OPERATIONS`: without any named, all of the framework that are known.
    pub(super) fn reconcile_operations(
        &mut self,
        framework: &FrameworkId,
        operations: Vec<(OperationId, Option<AgentId>)>,
    ) {
        let all = if operations.is_empty() { self.own_operations(framework) } else { operations };
        let Some(asked) = self.asked(framework) else { return };
        asked.named.extend(all.into_iter().map(|(operation, agent)| Question::Operation(operation, agent)));
        self.tell_on(framework);
    }

    /// The reader has got as far as the mark.
    pub(super) fn mark_reached(&mut self, stream: &StreamId) {
        let Some(Listener::Framework(framework)) = self.leader.streams.table.get(stream) else { return };
        let framework = framework.clone();
        let Some(asked) = self.leader.streams.asked.get_mut(stream) else { return };
        asked.marked = false;
        asked.slice = 0;
        self.tell_on(&framework);
    }

    fn asked(&mut self, framework: &FrameworkId) -> Option<&mut Asked> {
        let stream = self.framework(framework)?.stream.clone()?;
        Some(self.leader.streams.asked.entry(stream).or_default())
    }

    /// Goes on with the answers. Those by name wait for a proof that this master leads: it would say of a task that a
    /// newer leader has launched that nobody knows it, and its scheduler would forget it while it runs.
    fn tell_on(&mut self, framework: &FrameworkId) {
        let Some(stream) = self.framework(framework).and_then(|record| record.stream.clone()) else { return };
        let Some(asked) = self.leader.streams.asked.get_mut(&stream) else { return };
        if asked.marked || asked.proving {
            return;
        }
        if asked.named.is_empty() {
            return self.tell_slice(framework);
        }
        asked.proving = true;
        self.when_proved(Waiting::Questions { framework: framework.clone(), stream });
    }

    /// It is proved, or not, that this master leads. Without a proof the questions wait for the one that the next brings.
    pub(super) fn questions_proved(&mut self, framework: &FrameworkId, stream: &StreamId, leads: bool) {
        let Some(asked) = self.leader.streams.asked.get_mut(stream) else { return };
        asked.proving = false;
        if leads && self.framework(framework).is_some_and(|record| record.stream.as_ref() == Some(stream)) {
            self.tell_slice(framework);
        }
    }

    /// Answers what was asked, up to a whole slice.
    fn tell_slice(&mut self, framework: &FrameworkId) {
        let Some(record) = self.framework(framework) else { return };
        let (Some(stream), tasks) = (record.stream.clone(), record.tasks.clone()) else { return };
        // Taken out while it is answered: nothing in here asks.
        let Some(mut asked) = self.leader.streams.asked.remove(&stream) else { return };
        while !asked.marked {
            let round = |asked: &mut Asked| asked.round.as_mut()?.step(&tasks);
            if let Some(question) = asked.named.pop_front() {
                match question {
                    Question::Task(task, agent) => self.reconcile_one(framework, &task, agent.as_ref()),
                    Question::Operation(operation, agent) => self.tell_operation(framework, operation, agent),
                }
            } else if let Some(task) = round(&mut asked) {
                self.tell_latest(framework, &task);
            } else {
                asked.round = None;
                break;
            }
            asked.slice += 1;
            if asked.slice == limits::RECONCILE_SLICE {
                asked.marked = true;
                self.out.push(Effect::Mark { stream: stream.clone() });
            }
        }
        self.leader.streams.asked.insert(stream, asked);
    }

    /// Answers about one task; the first that fits.
    fn reconcile_one(&mut self, framework: &FrameworkId, task: &TaskId, agent: Option<&AgentId>) {
        let Some(record) = self.framework(framework) else { return };
        // A task whose end was acknowledged is still remembered for a while: its true end beats "unknown".
        let asked = |ended: &&Arc<Task>| ended.id == *task && agent.is_none_or(|agent| ended.agent == *agent);
        if let Some(known) = record.tasks.get(task).cloned() {
            return self.tell_latest(framework, &known);
        }
        if let Some(ended) = record.completed.iter().rev().find(asked).cloned() {
            return self.tell_end(framework, &ended);
        }
        let Some((state, message, since)) = self.verdict(framework, task, agent) else { return };
        let state = self.told(framework, state);
        let mut status = self.master_status(task, agent, state, Why::Reconciliation, message);
        status.unreachable_time = since.map(|at| v1::TimeInfo { nanoseconds: at.as_nanos() });
        self.event(framework, SchedulerEvent::Update(Arc::new(status)));
    }

    /// What to say of a task the master does not know; `None` while the one who knows may yet come back.
    fn verdict(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        agent: Option<&AgentId>,
    ) -> Option<(TaskState, &'static str, Option<Time>)> {
        let recovered = &self.leader.tables.recovered;
        let unsure = agent.map_or(!recovered.is_empty(), |agent| recovered.contains(agent));
        if unsure {
            return None;
        }
        // Without an agent named, the one it was last seen on will do.
        let last_seen = self.framework(framework)?.unreachable.get(task).map(|task| task.agent.clone());
        let agent = agent.cloned().or(last_seen);
        let fact = agent.as_ref().and_then(|agent| self.view.agent(agent));
        Some(
            match (
                agent.as_ref().and_then(|agent| self.agent(agent)),
                fact.map(|fact| (fact.presence, fact.since)),
            ) {
                (Some(_), _) => (TaskState::Gone, "Reconciliation: Task is unknown to the agent", None),
                (None, Some((Presence::Unreachable, since))) => {
                    (TaskState::Unreachable, "Reconciliation: Task is unreachable", Some(since))
                }
                (None, Some((Presence::Gone, _))) => {
                    (TaskState::GoneByOperator, "Reconciliation: Task is gone", None)
                }
                _ => (TaskState::Unknown, "Reconciliation: Task is unknown", None),
            },
        )
    }

    /// How a task ended. If its agent left with the update that would have said so, what was passed on last is of a task
    /// that ran: told again and again, it would keep the scheduler waiting for an end that never comes.
    fn tell_end(&mut self, framework: &FrameworkId, task: &Arc<Task>) {
        if task.forwarded.is_none() || end_forwarded(task) {
            return self.tell_latest(framework, task);
        }
        self.tell_latest(framework, &Task { forwarded: None, ..(**task).clone() });
    }

    /// The state last passed on rather than the newest: a scheduler must never see a task run backwards.
    fn tell_latest(&mut self, framework: &FrameworkId, task: &Task) {
        let state = self.told(framework, task.state).into();
        let base = match &task.forwarded {
            Some(last) => TaskStatus {
                data: None,
                uuid: None,
                executor_id: None,
                unreachable_time: None,
                limitation: None,
                labels: None,
                ..(**last).clone()
            },
            None => TaskStatus { task_id: v1::TaskId::from(&task.id), state, ..TaskStatus::default() },
        };
        let status = TaskStatus {
            message: Some("Reconciliation: Latest task state".to_owned()),
            source: Some(Source::Master.into()),
            reason: Some(Why::Reconciliation.into()),
            agent_id: Some(v1::AgentId::from(&task.agent)),
            executor_id: task.executor.as_ref().map(v1::ExecutorId::from),
            timestamp: Some(self.now.as_secs_f64()),
            ..base
        };
        self.event(framework, SchedulerEvent::Update(Arc::new(status)));
    }
}
