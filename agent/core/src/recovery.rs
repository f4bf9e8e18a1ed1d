//! The first moments of a process: what an earlier one left running.

use model::time::Time;

use crate::agent::{Agent, Mode};
use crate::effect::Effect;
use crate::spec::TaskKey;
use crate::task::Phase;

impl Agent {
    /// Asks for the containers of tasks that had been launched, and for those whose end the launcher may still
    /// keep. Tasks that were only being fetched are told to their schedulers as dropped: what the earlier process
    /// had of their files is unknown.
    pub(crate) fn find_containers(&mut self, now: Time, out: &mut Vec<Effect>) {
        let own = self.state.tasks.values().filter(|task| task.executor.is_none());
        #[cfg(feature = "mutants")]
        let own = own.skip(usize::from(mutant::planted("one-container-is-not-looked-for")));
        let begun = own.filter(|task| task.phase != Phase::Fetching).map(|task| task.container.clone());
        let executors = self.state.executors.values().map(|executor| executor.container.clone());
        let containers = begun.chain(executors).collect();
        self.outbox.after(Effect::Recover { containers }, out);
        let fetching: Vec<TaskKey> = self
            .state
            .tasks
            .values()
            .filter(|task| task.phase == Phase::Fetching && task.executor.is_none())
            .map(|task| task.key.clone())
            .collect();
        for key in fetching {
            self.end(now, &key, self.lost_in_launch(&key), out);
        }
    }

    /// Every container has been heard of: now the master may hear of the tasks.
    pub(crate) fn recovered(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.mode == Mode::Recovering {
            self.mode = Mode::Working;
            self.link.start(now, out);
        }
    }
}
