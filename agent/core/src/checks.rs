//! Running the checks of tasks and acting on what they find.

use model::id::ContainerId;
use model::task::TaskState;
use model::time::Time;
use wire::v1::task_status::Reason;

use crate::agent::{Agent, Timer};
use crate::effect::{Effect, ProbeId};
use crate::health::{Finding, Schedule, Verdict, Which};
use crate::spec::{TaskKey, TaskSpec};
use crate::status::Draft;
use crate::task::{KillCause, Phase};

impl Agent {
    /// Asks a running task how it is.
    pub(crate) fn probe(&mut self, key: &TaskKey, which: Which, out: &mut Vec<Effect>) {
        let Some(task) = self.state.tasks.get_mut(key) else { return };
        if task.phase != Phase::Running || task.kill.is_some() {
            return;
        }
        let Some(spec) = task.spec.clone() else { return };
        let Some(schedule) = schedule(&spec, which) else { return };
        let probe = ProbeId(self.next_probe);
        self.next_probe += 1;
        match which {
            Which::Health => task.health.iter_mut().for_each(|health| health.in_flight = Some(probe)),
            Which::Check => task.check.iter_mut().for_each(|check| check.in_flight = Some(probe)),
        }
        let (target, timeout) = (schedule.target.clone(), schedule.timeout);
        if let Some(job) = self.job(key) {
            self.outbox.after(Effect::Probe { probe, job, target, timeout }, out);
        }
    }

    /// An answer, or the lack of one.
    pub(crate) fn probed(
        &mut self,
        now: Time,
        probe: ProbeId,
        container: &ContainerId,
        finding: &Finding,
        out: &mut Vec<Effect>,
    ) {
        let Some(key) = self.containers.get(container).cloned() else { return };
        let Some(task) = self.state.tasks.get_mut(&key) else { return };
        if task.phase != Phase::Running || task.kill.is_some() {
            return;
        }
        let (Some(spec), Some(started)) = (task.spec.clone(), task.started) else { return };
        let mut verdict = Verdict::Nothing;
        let which = match (&mut task.health, &mut task.check) {
            (Some(health), _) if health.in_flight == Some(probe) => {
                health.in_flight = None;
                if let Some(check) = &spec.health {
                    verdict = health.judge(now, started, check, finding);
                }
                Which::Health
            }
            (_, Some(check)) if check.in_flight == Some(probe) => {
                check.in_flight = None;
                if let Some(schedule) = &spec.check {
                    verdict = check.judge(&schedule.target, finding);
                }
                Which::Check
            }
            _ => return,
        };
        if let Some(schedule) = schedule(&spec, which) {
            self.timers.set(Timer::Probe(key.clone(), which), now + schedule.interval);
        }
        if verdict != Verdict::Nothing {
            self.report(now, &key, which, out);
        }
        if verdict == Verdict::Kill {
            self.kill(now, &key, KillCause::Unhealthy, None, out);
        }
    }

    fn report(&mut self, now: Time, key: &TaskKey, which: Which, out: &mut Vec<Effect>) {
        let reason = match which {
            Which::Health => Reason::TaskHealthCheckStatusUpdated,
            Which::Check => Reason::TaskCheckStatusUpdated,
        };
        let healthy =
            self.state.tasks.get(key).and_then(|task| task.health.as_ref()).and_then(|health| health.healthy);
        let draft =
            Draft { reason: Some(reason), healthy, report: true, ..Draft::executor(TaskState::Running) };
        self.say(now, key, draft, out);
    }
}

fn schedule(spec: &TaskSpec, which: Which) -> Option<&Schedule> {
    match which {
        Which::Health => spec.health.as_ref().map(|health| &health.schedule),
        Which::Check => spec.check.as_ref(),
    }
}
