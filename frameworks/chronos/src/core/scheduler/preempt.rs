//! Room for what is more important: tasks of runs of lower priority are ended, and these runs wait again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::resources::Bag;
use model::time::Time;
use sdk::offer::Offer;

use super::super::constraint;
use super::super::job::Work;
use super::super::message::Effect;
use super::super::run::{Ending, Run, RunId, State};
use super::{Scheduler, Timer};
use crate::limits;

/// A task that could go.
struct Victim {
    run: Arc<Run>,
    priority: i32,
    need: Arc<Bag>,
}

/// The room of an agent is kept for a run: what is freed comes back piece by piece, and each piece would do for what was
/// ended before all of them do for the run.
#[derive(Debug)]
pub(super) struct Promise {
    run: RunId,
    priority: i32,
    until: Time,
}

impl Scheduler {
    /// Whether a run of this priority must leave an agent to another.
    pub(super) fn is_promised(&self, now: Time, agent: &str, priority: i32) -> bool {
        let promise = self.promised.get(agent);
        promise.is_some_and(|promise| priority < promise.priority && now < promise.until)
    }

    /// It has been launched, or will not be: what was kept for it is anybody's.
    pub(super) fn release_room(&mut self, run: &RunId) {
        let whole = run.whole();
        self.promised.retain(|_, promise| promise.run != whole);
    }

    /// Remembers what agents say of themselves: nobody offers what is in use, so that is when constraints are checked.
    pub(super) fn know_agents(&mut self, offers: &[Offer]) {
        for offer in offers {
            let room = self.agents.len() < limits::AGENTS_KNOWN;
            if room || self.agents.contains_key(offer.agent.as_str()) {
                self.agents.insert(offer.agent.to_string(), constraint::fields(offer));
            }
        }
    }

    /// A run that may make room has waited for some time.
    pub(super) fn preempt(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) {
        let Some(run) = self.run(id).filter(|_| self.queue.contains(id)) else { return };
        self.timers.put(Timer::Preempt(id.clone()), Some(now + limits::PREEMPT_AGAIN));
        let Some(job) = self.book.job(&run.job).cloned() else { return };
        let next = run.parts.as_ref().and_then(|parts| parts.next(&job.steps));
        let work = job.work(run.part.or(next));
        let priority = self.priority(&job);
        self.release_room(id);
        let Some((agent, victims)) = self.victims(&work, priority) else { return };
        let until = now + limits::PREEMPT_AGAIN;
        self.promised.insert(agent, Promise { run: id.whole(), priority, until });
        for victim in victims {
            let reason = format!("made room for {id}");
            self.end_task(now, &victim, Ending::Preempted, &reason, out);
        }
    }

    /// An agent, and the tasks whose end makes room on it: the least important, the fewest, and of these the youngest. None when
    /// there is no such agent, an empty list when enough is ending there already.
    fn victims(&self, work: &Work, priority: i32) -> Option<(String, Vec<Arc<Run>>)> {
        let mut agents: BTreeMap<&str, Vec<Victim>> = BTreeMap::new();
        let whole = self.book.active.keys().flat_map(|job| self.book.active_of(job));
        let running: Vec<Arc<Run>> = whole.chain(self.book.parts.values().cloned()).collect();
        for run in running.iter().filter(|run| run.state.has_task()) {
            let (Some(task), Some(job)) = (&run.task, self.book.job(&run.job)) else { continue };
            let (own, need) = (self.priority(job), job.work(run.part).need);
            let may_go = own < priority && job.definition.preemptible;
            let goes = run.ending == Some(Ending::Preempted);
            if goes || (may_go && run.ending.is_none()) {
                let victim = Victim { run: Arc::clone(run), priority: own, need };
                agents.entry(&task.agent).or_default().push(victim);
            }
        }
        let fits = |agent: &str| {
            let allows = |fields: &BTreeMap<String, String>| {
                work.constraints.iter().all(|constraint| constraint.allows(fields))
            };
            work.constraints.is_empty() || self.agents.get(agent).is_some_and(allows)
        };
        let choices = agents.into_iter().filter(|(agent, _)| fits(agent));
        let choice = choices.filter_map(|(agent, victims)| {
            let chosen = fewest(victims, &work.need)?;
            let highest = chosen.iter().map(|victim| victim.priority).max();
            let new: Vec<Arc<Run>> =
                chosen.into_iter().filter(|v| v.run.ending.is_none()).map(|v| v.run).collect();
            // An agent where enough is ending already costs nothing more.
            let highest = if new.is_empty() { None } else { highest };
            Some(((highest, new.len(), agent.to_owned()), new))
        });
        choice.min_by(|(a, _), (b, _)| a.cmp(b)).map(|((_, _, agent), new)| (agent, new))
    }

    /// It was ended for another's sake: it waits again where it waited before, and nothing is counted.
    pub(super) fn preempted(&mut self, now: Time, mut run: Run, out: &mut Vec<Effect>) {
        run.state = State::Waiting;
        run.ending = None;
        run.not_before = None;
        run.preemptions += 1;
        let run = self.save(run, out);
        self.enqueue(now, &run);
        self.limit(&run);
    }
}

/// Those that make room for the need, without one that could stay.
fn fewest(mut victims: Vec<Victim>, need: &Bag) -> Option<Vec<Victim>> {
    // What is ending already goes first, then the least important, then the youngest: it loses least.
    victims.sort_by_key(|victim| {
        let run = &victim.run;
        (run.ending.is_none(), victim.priority, Reverse(run.started), run.id())
    });
    let mut room = Bag::default();
    let mut chosen: Vec<Victim> = Vec::new();
    for victim in victims {
        if room.contains(need) {
            break;
        }
        victim.need.iter().for_each(|item| room.insert(item.clone()));
        chosen.push(victim);
    }
    if !room.contains(need) {
        return None;
    }
    // A large one that came last may make a small one before it needless.
    for at in (0..chosen.len()).rev() {
        let without = room.without(&chosen[at].need);
        if without.contains(need) {
            room = without;
            chosen.remove(at);
        }
    }
    Some(chosen)
}
