//! What supervisors do to instances that serve: never more at once than the app's strategy allows.
//!
//! Whether an instance serves is read from what supervisors were told of its task, and not from what they make of that. What
//! was told last may have come after a decision, or be lost with the one who heard it. What was acknowledged is
//! stored, and known to whoever decides what is shown from then on.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon::core::app::AppDefinition;
use marathon::core::id::{AppId, of_task};
use marathon::core::instance::{Condition, Instance};
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
    tasks: BTreeMap<TaskId, Told>,
    /// What was seen.
    pub findings: Findings,
    /// The other promise about the same decisions.
    pub unasked: Unasked,
}

/// What a supervisor was told of a task.
#[derive(Debug, Default)]
struct Told {
    /// It runs and can be reached.
    runs: bool,
    /// What its checks say, once they have said something.
    well: Option<bool>,
    /// Of the last status that said so and has one.
    uuid: Option<Vec<u8>>,
    /// That one was acknowledged.
    known: bool,
}

impl Told {
    fn serves(&self, app: &AppDefinition) -> bool {
        self.runs && (app.health_checks.is_empty() || self.well == Some(true))
    }
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
    pub fn told(&mut self, task: &str, state: TaskState, well: Option<bool>, uuid: Option<&[u8]>) {
        let told = self.tasks.entry(task.into()).or_default();
        let (runs, well) = (state == TaskState::Running, well.or(told.well));
        if (runs, well) != (told.runs, told.well) {
            *told = Told { runs, well, uuid: None, known: false };
        }
        if let Some(uuid) = uuid {
            told.uuid = Some(uuid.to_vec());
        }
    }

    /// A supervisor acknowledges a status: what it says is stored.
    pub fn acknowledged(&mut self, task: &str, uuid: &[u8]) {
        if let Some(told) = self.tasks.get_mut(task).filter(|told| told.uuid.as_deref() == Some(uuid)) {
            told.known = true;
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
        let told = |instance: &Instance| self.tasks.get(&instance.task.as_ref()?.id);
        // Whether it is known for certain to serve, and whether anybody may take it to serve.
        let certain = |instance: &Instance| told(instance).is_some_and(|told| told.known && told.serves(app));
        let serves = |instance: &&Arc<Instance>| {
            instance.condition == Condition::Running
                && !is_ending(instance)
                && told(instance).is_some_and(|told| !told.known || told.serves(app))
        };
        let (mut doomed, mut failed) = (Vec::new(), 0);
        for was in before.instances_of(&app.id).filter(serves) {
            let task = was.task.as_ref().map(|task| &task.id);
            let is = after.instances.get(&(was.app.clone(), was.id.clone()));
            match is.filter(|is| is.task.as_ref().map(|task| &task.id) == task) {
                Some(is) if serves(&is) => {}
                Some(is) if certain(was) && is_ending(is) && !is.condition.is_unreachable() => {
                    doomed.push(was);
                }
                // It ended, fell ill or was cut off by itself: before or after what was decided, nobody can tell.
                Some(_) => failed += 1,
                // What runs is not forgotten, unless it is to be ended.
                None if certain(was) => doomed.push(was),
                None => failed += 1,
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

/// Whether its end is decided.
fn is_ending(instance: &Instance) -> bool {
    !instance.is_wanted() || instance.task.as_ref().is_some_and(|task| task.kill_by.is_some())
}

/// How the instances of an app stand, in few words.
fn standing(state: &State, app: &AppId) -> String {
    let one = |instance: &Arc<Instance>| {
        let health = instance.task.as_ref().and_then(|task| task.health.alive);
        format!(
            "{}{}{}",
            instance.condition.name(),
            health.map_or("", |alive| if alive { "+" } else { "-" }),
            if is_ending(instance) { "!" } else { "" }
        )
    };
    let all: Vec<String> = state.instances_of(app).map(one).collect();
    format!("[{}]", all.join(" "))
}

#[cfg(test)]
mod tests {
    use marathon::core::app::{HealthCheck, Protocol};
    use marathon::core::health::Health;
    use marathon::core::id::InstanceId;
    use marathon::core::instance::Task;
    use marathon::core::version::Version;
    use marathon::supervisor::state::App;
    use model::time::{Span, Time};

    use super::*;

    /// What the record of an instance says: whether its checks find it well, and whether its end is decided.
    type Standing = (bool, bool);

    fn app() -> AppId {
        AppId::parse("/shop", &AppId::root()).expect("lawful")
    }

    fn name(number: usize) -> InstanceId {
        InstanceId::new(&app(), &format!("00000000-0000-0000-0000-00000000000{number}"))
    }

    fn check() -> HealthCheck {
        HealthCheck {
            protocol: Protocol::MesosTcp,
            path: None,
            port: None,
            port_index: Some(0),
            command: None,
            grace: Span::ZERO,
            interval: Span::from_secs(1),
            timeout: Span::from_secs(1),
            max_failures: 0,
            delay: Span::ZERO,
            ignore_1xx: false,
        }
    }

    /// One app that wants so many instances, all of which have to serve, and these that run.
    fn state(wanted: u32, standing: &[Standing]) -> Arc<State> {
        let id = app();
        let mut definition = AppDefinition::with_defaults(id.clone(), "apps");
        definition.instances = wanted;
        definition.health_checks = vec![check()];
        let mut state = State::default();
        for (number, (well, doomed)) in standing.iter().enumerate() {
            let name = name(number);
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

    /// A supervisor is told what the checks of a running instance say.
    fn tell(checker: &mut Strategy, number: usize, well: bool, uuid: &[u8]) {
        checker.told(name(number).task(1).as_str(), TaskState::Running, Some(well), Some(uuid));
    }

    /// Whether the step from one state to the next is taken for lawful, when a supervisor was told and has acknowledged that
    /// two instances are well or not, and is told more between the two.
    fn judged(
        well: [bool; 2],
        before: &Arc<State>,
        more: impl FnOnce(&mut Strategy),
        after: &Arc<State>,
    ) -> bool {
        let mut checker = Strategy::default();
        for (number, well) in well.into_iter().enumerate() {
            tell(&mut checker, number, well, b"first");
            checker.acknowledged(name(number).task(1).as_str(), b"first");
        }
        checker.viewed(1, before, 0);
        more(&mut checker);
        checker.viewed(1, after, SECOND);
        checker.findings.wrong.is_empty()
    }

    /// The same when both are well and there is nothing more to tell.
    fn lawful(before: &Arc<State>, after: &Arc<State>) -> bool {
        judged([true, true], before, |_| (), after)
    }

    const SERVES: Standing = (true, false);

    #[test]
    fn whoever_forgets_what_has_to_serve_ends_it_unless_it_ended_by_itself() {
        let (before, after) = (state(2, &[SERVES, SERVES]), state(2, &[SERVES]));
        assert!(!lawful(&before, &after));
        let fails = |checker: &mut Strategy| {
            checker.told(name(1).task(1).as_str(), TaskState::Failed, None, Some(b"second"));
        };
        assert!(judged([true, true], &before, fails, &after), "it has failed");
    }

    #[test]
    fn whoever_ends_what_has_to_serve_is_found() {
        let before = state(2, &[SERVES, SERVES]);
        assert!(!lawful(&before, &state(2, &[SERVES, (true, true)])));
        assert!(lawful(&before, &state(1, &[SERVES, (true, true)])), "fewer are wanted now");
    }

    #[test]
    fn an_instance_is_what_its_supervisor_was_told_and_not_what_that_takes_it_for() {
        let (before, after) = (state(1, &[SERVES, SERVES]), state(1, &[SERVES, (true, true)]));
        assert!(!judged([false, true], &before, |_| (), &after), "one that is ill stays");
        let (before, after) = (state(2, &[SERVES, (false, false)]), state(2, &[SERVES, (false, true)]));
        assert!(!lawful(&before, &after), "one that is well goes");
        assert!(judged([true, false], &before, |_| (), &after), "one that is ill goes");
    }

    #[test]
    fn what_is_not_acknowledged_may_have_been_read_or_not() {
        let ill = |number| move |checker: &mut Strategy| tell(checker, number, false, b"second");
        let (before, after) = (state(1, &[SERVES, SERVES]), state(1, &[SERVES, (true, true)]));
        assert!(judged([true, true], &before, ill(0), &after));
        let known = |checker: &mut Strategy| {
            ill(0)(checker);
            checker.acknowledged(name(0).task(1).as_str(), b"first");
            checker.acknowledged(name(0).task(1).as_str(), b"second");
        };
        assert!(!judged([true, true], &before, known, &after));
    }

    #[test]
    fn an_instance_that_falls_ill_on_the_way_to_its_end_was_not_ended_by_us() {
        let before = state(2, &[SERVES, SERVES]);
        let ill = |checker: &mut Strategy| tell(checker, 1, false, b"second");
        assert!(judged([true, true], &before, ill, &state(2, &[SERVES, (false, true)])));
    }

    #[test]
    fn what_is_stored_with_a_larger_definition_may_have_been_decided_by_the_smaller() {
        let before = state(1, &[SERVES, SERVES]);
        assert!(lawful(&before, &state(3, &[SERVES, (true, true)])));
    }
}
