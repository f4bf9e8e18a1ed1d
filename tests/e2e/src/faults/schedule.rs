//! What breaks when: drawn from a seed, so that a run can be had again with the same faults in the same order.

use super::dice::Dice;
use super::fault::{Fault, What};
use super::plan::Cut;
use super::roles::{MORTAL_AGENT, NODES, Role};

/// What goes wrong at one time, for a while: one thing, or two with different nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub faults: Vec<Fault>,
    pub seconds: u64,
    /// Quiet afterwards.
    pub pause: u64,
}

/// Of so many steps one has two faults.
const DOUBLE: u64 = 4;
/// A clock is set by so many seconds, forward or back.
const CLOCK_STEPS: [i64; 4] = [15, 90, 4_000, 100_000];
/// Of these, how many a batch scheduler's is set by: all due times up to there come at once, each with a task.
const CLOCK_STEPS_OF_SCHEDULERS: u64 = 2;

/// Steps that together last about `seconds`.
pub fn draw(seed: u64, seconds: u64) -> Vec<Step> {
    let mut deck = Deck { dice: Dice::new(seed), cards: Vec::new() };
    let (mut steps, mut taken) = (Vec::new(), 0);
    while taken < seconds {
        let mut faults = vec![deck.next(|_| true)];
        if deck.dice.below(DOUBLE) == 0 {
            let first = faults[0].node;
            faults.push(deck.next(|fault| fault.node != first));
        }
        let step = Step { faults, seconds: 3 + deck.dice.below(8), pause: 1 + deck.dice.below(4) };
        taken += step.seconds + step.pause;
        steps.push(step);
    }
    steps
}

/// Each node in turn comes back as the other version, as in an upgrade that stops nothing.
pub fn roll() -> Vec<Step> {
    let over = |node| Step { faults: vec![Fault { node, what: What::Version }], seconds: 1, pause: 1 };
    (0..NODES).map(over).collect()
}

/// Everything that can happen to a node of each role, in an order that the seed chooses. With dice alone the rare ones, of
/// which one needs to know most, are not seen in most runs.
struct Deck {
    dice: Dice,
    cards: Vec<Fault>,
}

impl Deck {
    /// The next one that is as it has to be.
    fn next(&mut self, fits: impl Fn(&Fault) -> bool) -> Fault {
        loop {
            if let Some(at) = self.cards.iter().rposition(&fits) {
                return self.cards.remove(at);
            }
            let (dice, rest) = (&mut self.dice, std::mem::take(&mut self.cards));
            self.cards = Role::ALL.into_iter().flat_map(|role| faults(dice, role)).collect();
            for at in (1..self.cards.len()).rev() {
                self.cards.swap(at, index(&mut self.dice, at + 1));
            }
            // What was left comes first.
            self.cards.extend(rest);
        }
    }
}

/// Each fault once, with some node of the role.
fn faults(dice: &mut Dice, role: Role) -> Vec<Fault> {
    let mut kinds = vec![
        What::Kill,
        What::KillAll,
        What::Stop,
        What::Cut(Cut::Both),
        What::Cut(Cut::Outgoing),
        What::Cut(Cut::Incoming),
        What::Part(0),
        What::Flap,
        What::BadLink,
        clock(dice, role),
        What::NoFiles,
        What::Version,
    ];
    match role {
        Role::Master => {
            let place = dice.below(u64::MAX);
            kinds.extend([What::FullDisk, What::FailedSync, What::Rot(place), What::Replace]);
        }
        Role::Agent => {
            kinds.extend([What::NoForks, What::PowerOff { wiped: false }, What::PowerOff { wiped: true }]);
        }
        Role::Balancer => kinds.push(What::KillHaproxy),
        Role::Supervisor | Role::Scheduler => {}
    }
    kinds.into_iter().map(|what| on_a_node(dice, role, what)).collect()
}

fn on_a_node(dice: &mut Dice, role: Role, what: What) -> Fault {
    let nodes = role.nodes();
    let node = match what {
        What::PowerOff { .. } => MORTAL_AGENT,
        _ => nodes.start + index(dice, nodes.len()),
    };
    match what {
        What::Part(_) => Fault { node, what: What::Part((node + 1 + index(dice, NODES - 1)) % NODES) },
        _ => Fault { node, what },
    }
}

/// Schedulers look at the clock all the time, the others when they start.
fn clock(dice: &mut Dice, role: Role) -> What {
    let steps = if role == Role::Scheduler { CLOCK_STEPS_OF_SCHEDULERS } else { CLOCK_STEPS.len() as u64 };
    let step = CLOCK_STEPS[usize::try_from(dice.below(steps)).unwrap_or(0)];
    let looks = matches!(role, Role::Supervisor | Role::Scheduler);
    What::Clock {
        seconds: if dice.below(2) == 0 { step } else { -step },
        restarts: !looks || dice.below(2) == 0,
    }
}

fn index(dice: &mut Dice, bound: usize) -> usize {
    usize::try_from(dice.below(bound as u64)).unwrap_or(0)
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        write!(f, "{}, for {} s", faults.join(" and "), self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The same name for all faults of a kind.
    fn kind(what: What) -> String {
        let name = format!("{what:?}");
        match what {
            What::Part(_) | What::Clock { .. } | What::Rot(_) => {
                name.split(['(', ' ']).next().unwrap_or_default().to_owned()
            }
            _ => name,
        }
    }

    #[test]
    fn a_run_of_a_quarter_of_an_hour_has_every_fault_in_every_role() {
        let mut dice = Dice::new(0);
        let all: BTreeSet<(&str, String)> = Role::ALL
            .into_iter()
            .flat_map(|role| faults(&mut dice, role))
            .map(|fault| (Role::of(fault.node).command(), kind(fault.what)))
            .collect();
        for seed in 1..=20 {
            let steps = draw(seed, 900);
            let drawn = steps.iter().flat_map(|step| &step.faults);
            let seen = drawn.map(|fault| (Role::of(fault.node).command(), kind(fault.what))).collect();
            assert_eq!(
                all.difference(&seen).collect::<Vec<_>>(),
                Vec::<&(&str, String)>::new(),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn two_faults_at_once_are_of_two_nodes() {
        let steps = draw(3, 3_600);
        let doubles: Vec<&Step> = steps.iter().filter(|step| step.faults.len() == 2).collect();
        assert!(doubles.len() > 20, "{} of {}", doubles.len(), steps.len());
        assert!(doubles.iter().all(|step| step.faults[0].node != step.faults[1].node));
    }
}
