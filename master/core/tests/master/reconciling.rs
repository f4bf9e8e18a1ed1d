//! Reconciliation of more tasks than a stream's queue holds records.

use master_core::effect::{Effect, SchedulerEvent};
use master_core::limits::{RECONCILE_SLICE, RECONCILIATIONS, STREAM_RECORDS};

use crate::world::script::Script;

const TASKS: usize = 50_000;

/// A framework with so many tasks, whose stream nobody reads but at the command `read`.
fn large() -> Script {
    let mut script = Script::new();
    let tasks: Vec<String> = (0..TASKS).map(|n| format!("F/t{n:05}:RUNNING")).collect();
    script.effects_of("lead");
    script
        .effects_of(&format!("hello a1 frameworks=F res=cpus:100000;mem:10000000 tasks={}", tasks.join(",")));
    script.effects_of("subscribe s1 id=F timeout=1000");
    script.effects_of("stall s1");
    script
}

/// The tasks that updates on the stream are of.
fn told(effects: &[Effect]) -> Vec<String> {
    let update = |effect: &Effect| match effect {
        Effect::Event { event: SchedulerEvent::Update(status), .. } => Some(status.task_id.value.clone()),
        _ => None,
    };
    effects.iter().filter_map(update).collect()
}

/// Reads until nothing more comes, and checks that no step was longer than a slice.
fn read_on(script: &mut Script) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let more = told(&script.effects_of("read s1"));
        assert!(more.len() <= RECONCILE_SLICE, "{} answers in one turn", more.len());
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[test]
fn all_tasks_are_told_in_slices_as_the_reader_gets_on() {
    const { assert!(TASKS > STREAM_RECORDS, "or this shows nothing") };
    let mut script = large();
    let mut all = told(&script.effects_of("reconcile s1"));
    assert_eq!(all.len(), RECONCILE_SLICE);
    script.effects_of("tick 60s");
    all.extend(read_on(&mut script));
    let expected: Vec<String> = (0..TASKS).map(|n| format!("t{n:05}")).collect();
    assert_eq!(all, expected, "each once, in order");
    // And anew.
    assert_eq!(told(&script.effects_of("reconcile s1")).len(), RECONCILE_SLICE);
}

#[test]
fn whoever_asks_again_meanwhile_is_told_all_from_then_on() {
    let mut script = large();
    let mut first = told(&script.effects_of("reconcile s1"));
    for _ in 0..9 {
        first.extend(told(&script.effects_of("read s1")));
    }
    assert_eq!(first.len(), 10 * RECONCILE_SLICE);
    for _ in 0..5 {
        assert_eq!(told(&script.effects_of("reconcile s1")), Vec::<String>::new(), "the reader is behind");
    }
    let mut rest = read_on(&mut script);
    assert_eq!(rest.len(), TASKS, "one whole walk for the five calls");
    rest.sort();
    rest.dedup();
    assert_eq!(rest.len(), TASKS);
}

#[test]
fn tasks_asked_by_name_in_many_calls_wait_for_the_reader_too() {
    let mut script = large();
    let mut all = Vec::new();
    for call in 0..TASKS / 1_000 {
        let names: Vec<String> = (0..1_000).map(|n| format!("t{:05}", call * 1_000 + n)).collect();
        all.extend(told(&script.effects_of(&format!("reconcile s1 {}", names.join(" ")))));
    }
    assert_eq!(all.len(), RECONCILE_SLICE);
    // A task that came to its end meanwhile is told as it is when its turn comes.
    script.effects_of("update a1 t49999 FINISHED fw=F uuid=1");
    all.extend(read_on(&mut script));
    assert_eq!(all.len(), TASKS);
}

#[test]
fn questions_nobody_reads_the_answers_of_are_bounded() {
    let mut script = large();
    let many: Vec<String> = (0..100_000).map(|n| format!("u{n}")).collect();
    let call = format!("reconcile s1 {}", many.join(" "));
    let answers = |script: &mut Script| {
        let effects = script.effects_of(&call);
        effects.iter().any(
            |effect| matches!(effect, Effect::Answer { result: Err(refusal), .. } if refusal.status() == 503),
        )
    };
    for _ in 0..RECONCILIATIONS / 100_000 {
        assert!(!answers(&mut script));
    }
    // One slice of them was told.
    assert!(answers(&mut script), "no more are taken");
    // A stream that ends takes its questions with it.
    script.effects_of("close s1");
    script.effects_of("subscribe s1 id=F timeout=1000");
    assert!(!answers(&mut script));
}
