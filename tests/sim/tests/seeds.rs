//! A few seeds at every run of the tests; `make sim` runs as many as one likes.

use std::collections::BTreeMap;

use sim::{Choices, Report, run};

fn must_hold(report: &Report) {
    let broken: Vec<String> = report
        .checks
        .iter()
        .filter(|(_, _, findings)| !findings.wrong.is_empty())
        .map(|(name, promise, findings)| format!("{name} ({promise}):\n  {}", findings.wrong.join("\n  ")))
        .collect();
    let seed = report.seed;
    assert!(broken.is_empty(), "repeat with: make sim SEED={seed}\n{}", broken.join("\n"));
}

/// What no seed gives a checker to look at, it has not shown.
#[test]
fn every_promise_is_looked_at_and_holds_on_twenty_five_seeds() {
    let mut looks = BTreeMap::new();
    for seed in 1..=25 {
        let report = run(seed, Choices::default());
        must_hold(&report);
        for (name, _, findings) in report.checks {
            *looks.entry(name).or_insert(0) += findings.looks;
        }
    }
    // The world itself says only what went wrong.
    let idle: Vec<_> = looks.iter().filter(|(name, looks)| **looks == 0 && **name != "world").collect();
    assert!(idle.is_empty(), "nothing was looked at by {idle:?}");
}

/// As the speed of a simulated cluster is measured: without schedulers of apps and jobs.
#[test]
fn nodes_alone_keep_their_promises() {
    for seed in 1..=8 {
        must_hold(&run(seed, Choices { agents: Some(2), alone: true, ..Choices::default() }));
    }
}

#[test]
fn a_seed_is_a_run_bit_for_bit() {
    let choices = Choices { storm: Some(30), ..Choices::default() };
    for seed in [3, 57] {
        let (one, two) = (run(seed, choices), run(seed, choices));
        assert_eq!((one.hash, one.events, one.time), (two.hash, two.events, two.time), "seed {seed}");
        assert_eq!(one.machines, two.machines, "seed {seed}");
    }
    assert_ne!(run(3, choices).hash, run(4, choices).hash);
}

/// The longest wait of a framework that wants resources is bounded, whoever else misbehaves.
#[test]
fn bad_citizens_slow_nobody_down() {
    for seed in 1..=2 {
        for (citizens, alone) in [(0, false), (10, false), (0, true), (10, true)] {
            let choices = Choices { citizens: Some(citizens), alone, calm: true, ..Choices::default() };
            let report = run(seed, choices);
            must_hold(&report);
            // With jobs, how soon all is over says nothing: those that run for a while may wait for each other.
            let bound = if alone { 60 } else { u64::MAX / 1_000_000 };
            let well = report.recovery.is_some_and(|after| after < bound * 1_000_000);
            assert!(well, "seed {seed} with {citizens} citizens: {report:?}");
        }
    }
}

#[test]
fn a_thousand_agents_are_taken_in_by_a_new_leader() {
    let choices = Choices { agents: Some(1_000), storm: Some(20), ..Choices::default() };
    let report = run(7, choices);
    must_hold(&report);
    assert_eq!(report.machines.iter().filter(|(name, _)| name.starts_with('a')).count(), 1_000);
}
