//! What runs on an agent's machine: a launcher without processes, which outlives the agent's own.

use std::collections::BTreeMap;

use agent_core::{Exit, ExitStatus, TaskKey};
use model::id::ContainerId;
use model::resources::Bag;
use model::time::Span;
use rand::RngExt;

use crate::context::Context;
use crate::net::{MS, Micros};

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) key: TaskKey,
    pub(crate) resources: Bag,
    /// From when on the command executes.
    pub(crate) starts: Micros,
    /// When it ends, if it does.
    pub(crate) ends: Option<Micros>,
    /// How.
    pub(crate) exit: ExitStatus,
    /// The kernel ends it because it uses more memory than this.
    pub(crate) out_of_memory: Option<u64>,
    /// What it executes.
    pub(crate) command: String,
    /// From when on it answers no checks, though it runs.
    pub(crate) ill: Option<Micros>,
}

impl Container {
    pub(crate) fn is_over(&self, now: Micros) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Whether it answers a check. All illness ends with the faults.
    pub(crate) fn is_well(&self, now: Micros, healed: bool) -> bool {
        self.starts <= now && !self.is_over(now) && (healed || self.ill.is_none_or(|ill| ill > now))
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit { status: self.exit, out_of_memory: self.out_of_memory }
    }

    fn end_by(&mut self, at: Micros, exit: ExitStatus) {
        if self.ends.is_none_or(|ends| ends > at) {
            self.ends = Some(at);
            self.exit = exit;
            self.out_of_memory = None;
        }
    }
}

/// Of ten thousand commands so many use more memory than they have, in a storm.
const GREEDY: u32 = 150;
/// As much as that.
const MEMORY: u64 = 32 << 20;
/// Runs of jobs take no more milliseconds when everything has healed: more of those that must not overlap may have lined
/// up than could be worked off, one after the other, in the time there is to recover.
const SOON: u64 = 2_500;

const TERMINATED: ExitStatus = ExitStatus::Signal(15, "Terminated");
const KILLED: ExitStatus = ExitStatus::Signal(9, "Killed");

/// The containers of a machine, by name.
#[derive(Debug, Default)]
pub(crate) struct Containers(pub(crate) BTreeMap<ContainerId, Container>);

impl Containers {
    /// Starts a command that runs for as long as its text says: `run MILLIS CODE`, or for ever. With `?` for a code it fails
    /// now and then, and is short when everything has healed.
    pub(crate) fn launch(
        &mut self,
        id: ContainerId,
        key: TaskKey,
        resources: Bag,
        command: &str,
        cx: &mut Context,
    ) -> (Micros, Option<Micros>) {
        let starts = cx.now + cx.between((MS, 20 * MS));
        let mut words = command.strip_prefix("run ").into_iter().flat_map(|words| words.split(' '));
        let number = |word: &str| word.parse::<u64>().unwrap_or(0);
        let mut millis = words.next().map(number);
        let code = match words.next() {
            Some("?") => {
                if cx.judge.healed {
                    millis = millis.map(|millis| millis.min(SOON));
                }
                u64::from(cx.chance(3_000))
            }
            word => word.map_or(0, number),
        };
        let mut ends = millis.map(|millis| starts + millis * MS);
        let mut exit = ExitStatus::Code(i32::try_from(code).unwrap_or(1));
        let mut out_of_memory = None;
        if !cx.judge.healed && cx.chance(GREEDY) {
            let at = starts + cx.between((0, 10_000 * MS));
            if ends.is_none_or(|ends| ends > at) {
                (ends, exit, out_of_memory) = (Some(at), KILLED, Some(MEMORY));
                cx.judge.reasons.out_of_memory(&key);
            }
        }
        let ill =
            cx.chance(if cx.judge.healed { 0 } else { 800 }).then(|| starts + cx.between((0, 20_000 * MS)));
        let command = command.to_owned();
        self.0.insert(id, Container { key, resources, starts, ends, exit, out_of_memory, command, ill });
        (starts, ends)
    }

    /// SIGTERM, and SIGKILL after `grace`; when the container will have ended.
    pub(crate) fn kill(&mut self, id: &ContainerId, grace: Span, cx: &mut Context) -> Option<Micros> {
        let obeys = cx.random.random_range(0..10) < 7;
        let at_once = cx.now + cx.between((MS, 30 * MS));
        let container = self.0.get_mut(id)?;
        let at_last = cx.now + grace.as_millis() * MS;
        if obeys {
            container.end_by(at_once, TERMINATED);
        } else {
            container.end_by(at_last.max(cx.now + MS), KILLED);
        }
        container.ends
    }

    /// SIGKILL.
    pub(crate) fn destroy(&mut self, id: &ContainerId, cx: &Context) -> Option<Micros> {
        let container = self.0.get_mut(id)?;
        container.end_by(cx.now + MS, KILLED);
        container.ends
    }

    /// What runs at this moment, or is about to.
    pub(crate) fn live(&self, now: Micros) -> impl Iterator<Item = &Container> {
        self.0.values().filter(move |container| !container.is_over(now))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::net::SECOND;
    use crate::weather::Weather;

    /// How long a command takes that is launched before or after everything has healed.
    fn takes(command: &str, healed: bool) -> Micros {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let weather = Weather::draw(&mut random, None);
        let mut cx = Context::new(random, weather);
        cx.judge.healed = healed;
        let key = TaskKey { framework: "f".into(), task: "t".into() };
        let (starts, ends) = Containers::default().launch("c".into(), key, Bag::default(), command, &mut cx);
        ends.expect("an end") - starts
    }

    /// Forty runs that must not overlap are over in four minutes, with the retries that three failures in ten make.
    #[test]
    fn what_has_lined_up_in_a_storm_is_worked_off_when_everything_has_healed() {
        assert_eq!(takes("run 14832 ?", false), 14_832 * MS);
        assert!(40 * takes("run 14832 ?", true) * 3 / 2 < 200 * SECOND);
        assert_eq!(takes("run 1982 ?", true), 1_982 * MS);
        assert_eq!(takes("run 14832 0", true), 14_832 * MS, "a framework's own");
    }
}
