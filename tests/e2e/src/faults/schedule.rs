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
const CLOCK_STEPS: [i64; 4] = [3, 90, 4_000, 100_000];
/// Of these, how many a batch scheduler's is set by: all due times up to there come at once, each with a task.
const CLOCK_STEPS_OF_SCHEDULERS: u64 = 2;

/// Steps that together last about `seconds`.
pub fn draw(seed: u64, seconds: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let (mut steps, mut taken) = (Vec::new(), 0);
    while taken < seconds {
        let mut faults = vec![fault(&mut dice)];
        if dice.below(DOUBLE) == 0 {
            faults.extend(Some(fault(&mut dice)).filter(|other| other.node != faults[0].node));
        }
        let step = Step { faults, seconds: 3 + dice.below(8), pause: 1 + dice.below(4) };
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

fn fault(dice: &mut Dice) -> Fault {
    let node = index(dice, NODES);
    let other = (node + 1 + index(dice, NODES - 1)) % NODES;
    let role = Role::of(node);
    let place = dice.below(u64::MAX);
    let mut kinds = vec![
        What::Kill,
        What::Kill,
        What::KillAll,
        What::Stop,
        What::Cut(Cut::Both),
        What::Cut(Cut::Outgoing),
        What::Cut(Cut::Incoming),
        What::Part(other),
        What::Flap,
        What::BadLink,
        What::Clock(clock_step(dice, role)),
        What::NoFiles,
        What::Version,
    ];
    match role {
        Role::Master => {
            kinds.extend([What::FullDisk, What::FailedSync, What::Rot(place), What::Replace]);
        }
        Role::Agent => kinds.push(What::NoForks),
        Role::Balancer => kinds.push(What::KillHaproxy),
        Role::Supervisor | Role::Scheduler => {}
    }
    if node == MORTAL_AGENT {
        kinds.extend([What::PowerOff { wiped: false }, What::PowerOff { wiped: true }]);
    }
    Fault { node, what: kinds[index(dice, kinds.len())] }
}

fn clock_step(dice: &mut Dice, role: Role) -> i64 {
    let steps = if role == Role::Scheduler { CLOCK_STEPS_OF_SCHEDULERS } else { CLOCK_STEPS.len() as u64 };
    let step = CLOCK_STEPS[usize::try_from(dice.below(steps)).unwrap_or(0)];
    if dice.below(2) == 0 { step } else { -step }
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
