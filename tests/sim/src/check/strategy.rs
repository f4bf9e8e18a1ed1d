//! What supervisors do to instances that serve: never more at once than the app's strategy allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon::core::app::AppDefinition;
use marathon::core::id::{AppId, of_task};
use marathon::core::instance::Instance;
use marathon::supervisor::message::Selection;
use marathon::supervisor::state::State;
use model::id::TaskId;
use model::task::TaskState;

use super::Findings;
use super::unasked::Unasked;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str = "an app never falls below its strategy's minimum by our own doing";

/// After a user's kill its app is not looked at for so long: the kill may yet be under way.
const KILL: Micros = 40 * SECOND;

/// The last state that any supervisor has stored and shown.
#[derive(Debug, Default)]
pub struct Strategy {
    last: Option<Arc<State>>,
    token: u64,
    killed: BTreeMap<AppId, Micros>,
    /// Tasks of which a supervisor was told last that they do not run, or cannot be reached.
    over: BTreeSet<TaskId>,
    /// What was seen.
    pub findings: Findings,
    /// The other promise about the same decisions.
    pub unasked: Unasked,
}

impl Strategy {
    /// A user asks for the end of tasks.
    pub fn killed_by_user(&mut self, selection: &Selection, now: Micros) {
        let apps = match selection {
            Selection::App { app, .. } | Selection::Task { app, .. } => vec![app.clone()],
            Selection::Tasks(tasks) => {
                tasks.iter().filter_map(|task| of_task(task.as_str())?.0.app()).collect()
            }
        };
        self.killed.extend(apps.into_iter().map(|app| (app, now)));
    }

    /// A supervisor hears how a task is.
    pub fn told(&mut self, task: &str, state: TaskState) {
        let runs = [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing];
        if runs.contains(&state) {
            self.over.remove(task);
        } else {
            self.over.insert(task.into());
        }
    }

    /// The leader of this token has stored a state. One that was leader before may say so late.
    pub fn viewed(&mut self, token: u64, view: &Arc<State>, now: Micros) {
        if token < self.token {
            return;
        }
        self.token = token;
        let Some(before) = self.last.replace(view.clone()) else { return };
        for app in view.definitions() {
            let by_user = self.killed.get(&app.id).is_some_and(|at| now < at + KILL);
            if !by_user {
                self.compare(app, &before, view, now);
            }
        }
    }

    fn compare(&mut self, app: &AppDefinition, before: &State, after: &State, now: Micros) {
        let serves = |instance: &&Arc<Instance>| {
            instance.is_wanted()
                && instance.is_healthy(app)
                && instance.task.as_ref().is_some_and(|task| task.kill_by.is_none())
        };
        let (mut doomed, mut failed) = (Vec::new(), 0);
        for was in before.instances_of(&app.id).filter(serves) {
            let task = was.task.as_ref().map(|task| &task.id);
            let is = after.instances.get(&(was.app.clone(), was.id.clone()));
            match is.filter(|is| is.task.as_ref().map(|task| &task.id) == task) {
                Some(is) if serves(&is) => {}
                Some(is) if is.condition.is_unreachable() || fell_ill(is) => failed += 1,
                Some(is)
                    if !is.is_wanted() || is.task.as_ref().is_some_and(|task| task.kill_by.is_some()) =>
                {
                    doomed.push(was);
                }
                // It ended, fell ill or was cut off by itself: before or after what was decided, nobody can tell.
                Some(_) => failed += 1,
                None if task.is_some_and(|task| self.over.contains(task)) => failed += 1,
                // What runs is not forgotten, unless it is to be ended.
                None => doomed.push(was),
            }
        }
        if doomed.is_empty() {
            return;
        }
        let left = after.instances_of(&app.id).filter(serves).count() + failed;
        // What was stored together with a new definition may have been decided by the one before.
        let minima = before.definition(&app.id).into_iter().map(|before| minimum(before));
        let minimum = minima.fold(minimum(app), usize::min);
        self.findings.look(left >= minimum, || {
            format!(
                "{} instances of {} that serve are to be ended at {now} µs, which leaves {left} of at least {minimum}: {} became {}",
                doomed.len(),
                app.id,
                standing(before, &app.id),
                standing(after, &app.id)
            )
        });
        let surplus = before.instances_of(&app.id).filter(|instance| instance.counts()).count()
            > app.instances as usize;
        let deployed = before.locks.contains_key(&app.id) || after.locks.contains_key(&app.id);
        self.unasked.ends(&doomed[0].id, surplus || deployed, now, || {
            format!("{} became {}", standing(before, &app.id), standing(after, &app.id))
        });
    }
}

/// How many have to serve.
fn minimum(app: &AppDefinition) -> usize {
    app.upgrade.minimum_health.ceil_of(app.instances) as usize
}

/// Whether its checks say so.
fn fell_ill(instance: &Instance) -> bool {
    instance.task.as_ref().is_some_and(|task| task.health.alive == Some(false))
}

/// How the instances of an app stand, in few words.
fn standing(state: &State, app: &AppId) -> String {
    let one = |instance: &Arc<Instance>| {
        let health = instance.task.as_ref().and_then(|task| task.health.alive);
        let ending =
            !instance.is_wanted() || instance.task.as_ref().is_some_and(|task| task.kill_by.is_some());
        format!(
            "{}{}{}",
            instance.condition.name(),
            health.map_or("", |alive| if alive { "+" } else { "-" }),
            if ending { "!" } else { "" }
        )
    };
    let all: Vec<String> = state.instances_of(app).map(one).collect();
    format!("[{}]", all.join(" "))
}

#[cfg(test)]
mod tests {
    use marathon::core::health::Health;
    use marathon::core::id::InstanceId;
    use marathon::core::instance::{Condition, Task};
    use marathon::core::version::Version;
    use marathon::supervisor::state::App;
    use model::time::Time;

    use super::*;

    /// What is known of an instance: whether its checks say that it is well, and whether its end is decided.
    type Standing = (bool, bool);

    /// One app that wants so many instances, all of which have to serve, and these that run.
    fn state(wanted: u32, standing: &[Standing]) -> Arc<State> {
        let id = AppId::parse("/shop", &AppId::root()).expect("lawful");
        let mut definition = AppDefinition::with_defaults(id.clone(), "apps");
        definition.instances = wanted;
        let mut state = State::default();
        for (number, (well, doomed)) in standing.iter().enumerate() {
            let name = InstanceId::new(&id, &format!("00000000-0000-0000-0000-00000000000{number}"));
            let task = Task {
                id: name.task(1),
                agent: "S1".into(),
                host: "a1".to_owned(),
                ports: Vec::new(),
                fields: BTreeMap::new(),
                state: None,
                staged_at: Time::ZERO,
                started_at: None,
                addresses: Vec::new(),
                health: Health { alive: Some(*well), ..Health::default() },
                unreachable_since: None,
                kill_by: doomed.then_some(Time::ZERO),
                last_update: Vec::new(),
            };
            let mut instance = Instance::scheduled(name.clone(), &definition, Time::ZERO);
            instance.condition = Condition::Running;
            instance.launches = 1;
            instance.task = Some(task);
            state.instances.insert((id.clone(), name), Arc::new(instance));
        }
        let app = App {
            id: id.clone(),
            current: Some(Version::default()),
            versions: BTreeMap::from([(Version::default(), Arc::new(definition))]),
            last_failure: None,
            damaged: false,
        };
        state.apps.insert(id, Arc::new(app));
        Arc::new(state)
    }

    /// Whether the step from one state to the next is taken for lawful.
    fn lawful(before: &Arc<State>, after: &Arc<State>) -> bool {
        let mut checker = Strategy::default();
        checker.viewed(1, before, 0);
        checker.viewed(1, after, SECOND);
        checker.findings.wrong.is_empty()
    }

    const SERVES: Standing = (true, false);

    #[test]
    fn whoever_forgets_what_has_to_serve_ends_it_unless_it_ended_by_itself() {
        let (before, after) = (state(2, &[SERVES, SERVES]), state(2, &[SERVES]));
        assert!(!lawful(&before, &after));
        let gone = before.instances.values().next_back().and_then(|instance| instance.task.clone());
        let mut checker = Strategy::default();
        checker.viewed(1, &before, 0);
        checker.told(gone.expect("it runs").id.as_str(), TaskState::Failed);
        checker.viewed(1, &after, SECOND);
        assert!(checker.findings.wrong.is_empty(), "it has failed");
    }

    #[test]
    fn whoever_ends_what_has_to_serve_is_found() {
        let before = state(2, &[SERVES, SERVES]);
        assert!(!lawful(&before, &state(2, &[SERVES, (true, true)])));
        assert!(lawful(&before, &state(1, &[SERVES, (true, true)])), "fewer are wanted now");
    }

    #[test]
    fn an_instance_that_falls_ill_on_the_way_to_its_end_was_not_ended_by_us() {
        let before = state(2, &[SERVES, SERVES]);
        assert!(lawful(&before, &state(2, &[SERVES, (false, true)])));
    }

    #[test]
    fn what_is_stored_with_a_larger_definition_may_have_been_decided_by_the_smaller() {
        let before = state(1, &[SERVES, SERVES]);
        assert!(lawful(&before, &state(3, &[SERVES, (true, true)])));
    }
}
