//! What the master orders, whether it may, and what becomes of the link to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::time::{Span, Time};
use wire::v1;

use crate::agent::{Agent, Mode};
use crate::checkpoint::Record;
use crate::effect::{Effect, Ending, HeldTask, Hello, LinkId, Report};
use crate::executor::ExecutorKey;
use crate::input::{Envelope, LinkDown, Order, Refusal};
use crate::spec::TaskKey;
use crate::task::{Framework, KillCause};

impl Agent {
    pub(crate) fn link_up(&mut self, now: Time, link: LinkId, out: &mut Vec<Effect>) {
        if !self.link.up(now, link) {
            return;
        }
        let hello = Hello {
            agent: self.state.agent.clone(),
            info: Arc::clone(&self.settings.info),
            version: self.settings.version.clone(),
            highest_term: self.state.term,
            tasks: self.held_tasks(),
            executors: self.held_executors(),
            frameworks: self
                .state
                .frameworks
                .values()
                .filter(|f| !f.removed)
                .map(|f| Arc::clone(&f.info))
                .collect(),
            boot: self.settings.boot.clone(),
            session: self.session.clone(),
            earlier: self.state.sessions.iter().filter(|one| **one != self.session).cloned().collect(),
            total: self.total.clone(),
            operations: self.state.operations.values().cloned().collect(),
        };
        self.outbox.after(Effect::Send { link, report: Report::Hello(Box::new(hello)) }, out);
    }

    /// The tasks the master shall count: those of removed frameworks are dying and nobody's any more.
    fn held_tasks(&self) -> Vec<HeldTask> {
        let removed = |id: &FrameworkId| self.state.frameworks.get(id).is_some_and(|f| f.removed);
        let tasks = self.state.tasks.values().filter(|task| !removed(&task.key.framework));
        tasks
            .map(|task| HeldTask {
                framework: task.key.framework.clone(),
                info: Arc::clone(&task.info),
                executor: task.executor.clone(),
                latest: task.state,
                forwarded: task.forwarded.clone(),
            })
            .collect()
    }

    fn held_executors(&self) -> Vec<(FrameworkId, Arc<v1::ExecutorInfo>)> {
        let removed = |id: &FrameworkId| self.state.frameworks.get(id).is_none_or(|f| f.removed);
        let executors = self.state.executors.values().filter(|executor| !removed(&executor.key.framework));
        executors.map(|executor| (executor.key.framework.clone(), Arc::clone(&executor.info))).collect()
    }

    pub(crate) fn link_down(&mut self, now: Time, link: LinkId, why: LinkDown, out: &mut Vec<Effect>) {
        if !self.link.is_current(link) {
            return;
        }
        let leader = match why {
            LinkDown::Redirect(leader) => Some(leader),
            LinkDown::Broken(_) | LinkDown::Unavailable => None,
        };
        self.drop_link(now, leader, out);
    }

    fn drop_link(&mut self, now: Time, leader: Option<String>, out: &mut Vec<Effect>) {
        self.link.lost(now, leader, &mut self.ids, out);
        self.unlinked();
    }

    pub(crate) fn heard(&mut self, now: Time, link: LinkId, envelope: Envelope, out: &mut Vec<Effect>) {
        if !self.link.is_current(link) {
            return;
        }
        let Envelope { term, order } = envelope;
        if let Order::Refused { refusal, message } = order {
            return self.refused(now, link, term, refusal, message, out);
        }
        if !self.obey(now, link, term, out) {
            return;
        }
        self.link.heard(now);
        match order {
            Order::Welcome { agent, timeout, removed, connected } => {
                self.welcome(now, link, agent, timeout, &removed, &connected, out);
            }
            // Only a master that has welcomed the agent may order anything.
            _ if self.registered() != Some(link) => self.drop_link(now, None, out),
            order => self.order(now, link, order, out),
        }
    }

    /// Whether a sender of this term is to be obeyed. A higher term is stored before anything of it takes effect.
    fn obey(&mut self, now: Time, link: LinkId, term: u64, out: &mut Vec<Effect>) -> bool {
        #[cfg(feature = "mutants")]
        let term = if mutant::planted("agents-obey-any-term") { term.max(self.state.term) } else { term };
        if term < self.state.term {
            self.counters.fenced += 1;
            let report = Report::Fenced { highest: self.state.term };
            out.push(Effect::Send { link, report });
            self.drop_link(now, None, out);
            return false;
        }
        if term > self.state.term {
            self.record(Record::Term(term), out);
        }
        true
    }

    fn welcome(
        &mut self,
        now: Time,
        link: LinkId,
        agent: AgentId,
        timeout: Span,
        removed: &[FrameworkId],
        connected: &[FrameworkId],
        out: &mut Vec<Effect>,
    ) {
        if !self.link.is_greeting(link) {
            return;
        }
        let sessions = vec![self.session.clone()];
        if self.state.agent.as_ref() != Some(&agent) || self.state.sessions != sessions {
            self.record(Record::Registered { agent, sessions }, out);
        }
        self.link.welcome(now, link, timeout);
        // A master that knows of a drain says so next.
        self.drain = None;
        self.counters.registrations += 1;
        for framework in removed {
            self.remove_framework(now, framework, out);
        }
        let connected: BTreeSet<&FrameworkId> = connected.iter().collect();
        self.resend(now, |key| connected.contains(&key.framework), out);
        self.wait_for(now, |key| !connected.contains(&key.framework));
        self.report_operations(now, out);
    }

    fn refused(
        &mut self,
        now: Time,
        link: LinkId,
        term: u64,
        refusal: Refusal,
        message: String,
        out: &mut Vec<Effect>,
    ) {
        match refusal {
            // Directions, not orders: the sender need not be a leader, and its term says nothing.
            Refusal::NotLeader { leader } => self.drop_link(now, leader, out),
            Refusal::Busy { retry_after } => {
                self.link.postpone(now, retry_after, &mut self.ids, out);
                self.unlinked();
            }
            Refusal::Gone => {
                if self.obey(now, link, term, out) {
                    self.link.stop(out);
                    self.unlinked();
                    self.end_with_tasks(now, Ending::Gone { message }, out);
                }
            }
            // At any term: a cluster of another history is likely to be at a lower one. It ends this process alone,
            // and leaves its tasks running, as whoever has an id twice must: the tasks it knows of are the other one's.
            Refusal::Invalid | Refusal::Duplicate => {
                self.link.stop(out);
                self.unlinked();
                let ending = Ending::Invalid { message };
                self.mode = Mode::Ending { ending, kill_tasks: false };
                self.end_now(out);
            }
        }
    }

    fn order(&mut self, now: Time, link: LinkId, order: Order, out: &mut Vec<Effect>) {
        match order {
            Order::Ping { sequence } => out.push(Effect::Send { link, report: Report::Pong { sequence } }),
            Order::Run { framework, task } => self.run(now, &framework, &task, out),
            Order::RunGroup { framework, executor, tasks } => {
                self.run_group(now, &framework, &executor, &tasks, out);
            }
            Order::Kill { framework, task, grace } => {
                self.kill_asked(now, &TaskKey { framework, task }, grace, out);
            }
            Order::Acknowledge { framework, task, uuid } => {
                self.acknowledged(now, &TaskKey { framework, task }, uuid, out);
            }
            Order::Framework { info, resend } => {
                let framework = Framework::read(&info);
                if self.state.frameworks.get(&framework.id).is_some_and(|known| known.info != info) {
                    self.record(Record::Framework(info), out);
                }
                if resend {
                    self.resend(now, |key| key.framework == framework.id, out);
                }
            }
            Order::Drain(drain) => self.drain = drain,
            Order::ShutdownFramework { framework } => self.remove_framework(now, &framework, out),
            Order::ShutdownExecutor { framework, executor } => {
                let key = ExecutorKey { framework, executor };
                if self.state.executors.contains_key(&key) {
                    return self.shut_down(now, &key, out);
                }
                // A command task is its own executor, by the same name.
                let key = TaskKey { framework: key.framework, task: key.executor.as_str().into() };
                self.kill(now, &key, KillCause::Asked, None, out);
            }
            Order::Message { framework, executor, data } => {
                self.message(&ExecutorKey { framework, executor }, data, out);
            }
            Order::Operation { framework, operation, uuid } => {
                self.operate(now, framework, uuid, operation, out);
            }
            Order::Shutdown { message } => self.end_with_tasks(now, Ending::Done { reason: message }, out),
            Order::AcknowledgeOperation { uuid } => self.operation_acknowledged(uuid, out),
            Order::Welcome { .. } | Order::Refused { .. } => {}
        }
    }
}
