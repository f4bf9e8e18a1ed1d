//! Offers: who gets what, and when to ask for more.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::id::OfferId;
use model::resources::Bag;
use model::time::{Span, Time};

use super::message::{Call, Effect, Launch, LaunchedPort};
use super::{Supervisor, Timer};
use crate::core::app::{AppDefinition, Protocol};
use crate::core::env::environment;
use crate::core::events;
use crate::core::health::Health;
use crate::core::id::{AppId, InstanceId};
use crate::core::instance::{Condition, Instance, Task};
use crate::core::offer::{Fit, Misfit, Offer, fit};
use crate::core::queue::Waiting;
use crate::limits;

/// An offer while it is being filled.
struct Open {
    offer: Arc<Offer>,
    left: Bag,
    launches: Vec<Launch>,
}

impl Supervisor {
    /// Gives each waiting app in turn one instance, going round the offers so that instances spread, until nothing
    /// fits any more. What was launched is stored, then the offers are accepted; the rest is declined.
    pub(super) fn offers(&mut self, now: Time, offers: Vec<Offer>, out: &mut Vec<Effect>) {
        let mut open: Vec<Open> = offers
            .into_iter()
            .map(|offer| Open { left: offer.resources.clone(), offer: Arc::new(offer), launches: Vec::new() })
            .collect();
        let mut turns: Vec<Turn> = self.turns(now);
        // Round robin, an instance a turn, so that no app starves behind a greedy one.
        let mut at = 0;
        while !turns.is_empty() {
            at %= turns.len();
            let turn = &mut turns[at];
            if self.launch_one(now, turn, &mut open) {
                self.next_app = Some(turn.definition.id.clone());
                at += 1;
            } else {
                let turn = turns.remove(at);
                self.note_unused(now, &turn, &open);
            }
        }
        self.close(open, out);
        self.view_changed = true;
    }

    /// The apps that may launch something now, beginning after the one served last.
    fn turns(&self, now: Time) -> Vec<Turn> {
        let ready = |app: &&AppId| self.backoffs.until(now, app).is_none();
        let mut apps: Vec<&AppId> = self.scheduled.keys().filter(ready).collect();
        if let Some(last) = &self.next_app {
            let after = apps.partition_point(|app| *app <= last);
            apps.rotate_left(after);
        }
        apps.into_iter()
            .filter_map(|app| {
                let definition = Arc::clone(self.state.definition(app)?);
                let waiting = self.scheduled.get(app)?.iter().rev().cloned().collect();
                Some(Turn { definition, waiting, cursor: 0, misfits: BTreeMap::new() })
            })
            .collect()
    }

    /// Launches the next waiting instance of an app on the next offer that takes it.
    fn launch_one(&mut self, now: Time, turn: &mut Turn, open: &mut [Open]) -> bool {
        let Some(id) = turn.waiting.pop() else { return false };
        for step in 0..open.len() {
            let at = (turn.cursor + step) % open.len();
            // What an offer lacked once in this round it lacks for the rest of it.
            if turn.misfits.contains_key(&at) || open[at].launches.len() >= limits::LAUNCHES_PER_OFFER {
                continue;
            }
            match self.fit(turn, &open[at]) {
                Ok(fit) => {
                    self.launch(now, &turn.definition, &id, &mut open[at], fit);
                    turn.cursor = at + 1;
                    return true;
                }
                Err(misfits) => {
                    turn.misfits.insert(at, misfits);
                }
            }
        }
        false
    }

    fn fit(&mut self, turn: &Turn, open: &Open) -> Result<Fit, Vec<Misfit>> {
        let definition = &turn.definition;
        let (app, state) = (&definition.id, &self.state);
        let placed = || {
            let same = |instance: &&Arc<Instance>| {
                instance.config == definition.last_config_change && !instance.condition.is_unreachable()
            };
            state.instances_of(app).filter(same).filter_map(|instance| Some(&instance.task.as_ref()?.fields))
        };
        fit(definition, &open.offer, &open.left, placed, &mut self.random)
    }

    fn launch(
        &mut self,
        now: Time,
        definition: &Arc<AppDefinition>,
        id: &InstanceId,
        open: &mut Open,
        fit: Fit,
    ) {
        let app = &definition.id;
        self.journal.begin();
        let offer = Arc::clone(&open.offer);
        let Some(launches) = self.change(app, id, |instance| {
            instance.launches += 1;
            instance.version = definition.version;
            instance.config = definition.last_config_change;
            instance.condition = Condition::Provisioned;
            instance.since = now;
            instance.task = Some(task(now, definition, instance, &offer, &fit));
            instance.launches
        }) else {
            return;
        };
        self.not_scheduled(app, id);
        self.backoffs.moved_on(now, app);
        self.timers.set(Timer::Overdue(app.clone(), id.clone()), now + limits::LAUNCH_TIMEOUT);
        if let Some(instance) = self.instance(app, id) {
            self.emit(now, &events::instance_changed(&instance, Condition::Provisioned));
        }
        open.left.remove(&fit.resources);
        open.launches.push(description(definition, id, launches, &open.offer, fit));
        self.waiting(now, app).used(now, &offer.agent);
    }

    /// Tells the queue which offers were of no use to an app, and why.
    fn note_unused(&mut self, now: Time, turn: &Turn, open: &[Open]) {
        let app = &turn.definition.id;
        if !self.scheduled.contains_key(app) {
            return;
        }
        let waiting = self.waiting(now, app);
        for (at, misfits) in &turn.misfits {
            waiting.unused(now, &open[*at].offer, misfits.clone());
        }
    }

    fn waiting(&mut self, now: Time, app: &AppId) -> &mut Waiting {
        let waiting = self.state.waiting.entry(app.clone()).or_insert_with(|| Arc::new(Waiting::new(now)));
        Arc::make_mut(waiting)
    }

    fn close(&mut self, open: Vec<Open>, out: &mut Vec<Effect>) {
        let mut unused: Vec<OfferId> = Vec::new();
        for Open { offer, launches, .. } in open {
            if launches.is_empty() {
                unused.push(offer.id.clone());
                continue;
            }
            // The bound was reached, not the resources: the rest is wanted back at once.
            let refuse =
                if launches.len() >= limits::LAUNCHES_PER_OFFER { Span::ZERO } else { limits::REFUSE };
            self.hold_call(Call::Accept { offer: offer.id.clone(), launches, refuse });
        }
        if !unused.is_empty() {
            out.push(Effect::Call(Call::Decline { offers: unused, refuse: limits::REFUSE }));
        }
    }

    /// Asks for offers when there is something to launch, and for none when there is not.
    pub(super) fn show_interest(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.note_waiting(now);
        if !self.subscribed {
            return;
        }
        if self.scheduled.keys().all(|app| self.backoffs.until(now, app).is_some()) {
            self.interest.revive = false;
            self.interest.suppressed = true;
            return;
        }
        if !self.interest.revive {
            return;
        }
        let earliest = self.interest.revived_at.map_or(now, |at| at + limits::REVIVE_INTERVAL);
        if now < earliest {
            self.timers.set(Timer::Revive, earliest);
            return;
        }
        self.interest.revive = false;
        self.interest.suppressed = false;
        self.interest.revived_at = Some(now);
        self.timers.set(Timer::Revive, now + limits::REVIVE_AGAIN);
        out.push(Effect::Call(Call::Revive));
    }

    /// Keeps the queue in step with what waits.
    fn note_waiting(&mut self, now: Time) {
        if !self.view_changed {
            return;
        }
        let served: Vec<AppId> =
            self.state.waiting.keys().filter(|app| !self.scheduled.contains_key(*app)).cloned().collect();
        for app in served {
            self.state.waiting.remove(&app);
        }
        let counts: Vec<(AppId, u32)> = self
            .scheduled
            .iter()
            .map(|(app, waiting)| (app.clone(), u32::try_from(waiting.len()).unwrap_or(u32::MAX)))
            .collect();
        for (app, count) in counts {
            let delayed_until = self.backoffs.until(now, &app);
            // A task that came to run began the delay anew, and nothing but this wakes us when it is over.
            if let Some(until) = delayed_until {
                self.timers.set(Timer::Backoff(app.clone()), until);
            }
            let waiting = self.waiting(now, &app);
            (waiting.count, waiting.delayed_until) = (count, delayed_until);
        }
    }
}

/// An app's turns in one round.
struct Turn {
    definition: Arc<AppDefinition>,
    /// Instances still to launch; the next is the last.
    waiting: Vec<InstanceId>,
    /// Where to try first: after the offer that took the last one.
    cursor: usize,
    /// Offers that cannot take any more, by place.
    misfits: BTreeMap<usize, Vec<Misfit>>,
}

fn task(now: Time, definition: &AppDefinition, instance: &Instance, offer: &Offer, fit: &Fit) -> Task {
    let named = |field: &str| definition.constraints.iter().any(|constraint| constraint.field == field);
    Task {
        id: instance.id.task(instance.launches),
        agent: offer.agent.clone(),
        host: offer.hostname.clone(),
        ports: fit.ports.clone(),
        fields: offer
            .fields
            .iter()
            .filter(|(field, _)| *field == "hostname" || named(field))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect(),
        state: None,
        staged_at: now,
        started_at: None,
        addresses: Vec::new(),
        health: Health::default(),
        unreachable_since: None,
        kill_by: None,
        last_update: Vec::new(),
    }
}

fn description(definition: &AppDefinition, id: &InstanceId, launch: u32, offer: &Offer, fit: Fit) -> Launch {
    let task = id.task(launch);
    Launch {
        env: environment(definition, &task, &offer.hostname, &fit.ports),
        task,
        agent: offer.agent.clone(),
        name: definition.id.hostname(),
        cmd: definition.cmd.clone(),
        args: definition.args.clone(),
        user: definition.user.clone(),
        fetch: definition.fetch.clone(),
        health_check: definition.health_checks.first().map(|check| {
            let by_index = check.port_index.and_then(|index| fit.ports.get(index).copied());
            let port = check.port.or(by_index).unwrap_or(0);
            debug_assert!(port != 0 || check.protocol == Protocol::Command, "validated: the port exists");
            (check.clone(), port)
        }),
        kill_grace: definition.kill_grace,
        labels: definition.labels.clone(),
        ports: fit
            .ports
            .iter()
            .zip(&definition.ports)
            .map(|(number, definition)| LaunchedPort {
                number: *number,
                protocol: definition.protocol.clone(),
                name: definition.name.clone(),
                labels: definition.labels.clone(),
            })
            .collect(),
        resources: fit.resources,
    }
}
