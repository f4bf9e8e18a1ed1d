//! Tasks that have ended, of which so many are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use master_core::snapshot::Snapshot;
use model::limits::COMPLETED_TASKS;

use crate::world::script::Script;

/// Those of the only framework that are kept.
fn completed(snapshot: &Arc<Snapshot>) -> VecDeque<String> {
    let framework = snapshot.tables.frameworks.values().next().expect("a framework");
    framework.completed.iter().map(|task| task.id.to_string()).collect()
}

/// An agent comes back again and again with new tasks and one that has ended long ago, which all end. A reader holds on to
/// what there was. Whatever holds the history must bear that something is taken out of its middle.
#[test]
fn what_has_ended_and_comes_back_is_taken_out_of_a_long_history_and_nothing_else_is_touched() {
    const ROUNDS: usize = 60;
    const NEW: usize = 40;
    const { assert!(ROUNDS * NEW > 2 * COMPLETED_TASKS, "or nothing is pushed out") };
    let mut script = Script::new();
    script.effects_of("lead");
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut uuid = 0;
    for round in 0..ROUNDS {
        let back = (!kept.is_empty()).then(|| kept.remove(round * 7919 % kept.len())).flatten();
        let new = (round * NEW..(round + 1) * NEW).map(|number| format!("t{number}"));
        let tasks: Vec<String> = back.into_iter().chain(new).collect();
        let held: Vec<String> = tasks.iter().map(|task| format!("F/{task}:RUNNING")).collect();
        let id = if round == 0 { "" } else { "id=M-S0" };
        let hello =
            format!("hello a{round} {id} frameworks=F res=cpus:100000;mem:10000000 tasks={}", held.join(","));
        script.effects_of(&hello);
        if round == 0 {
            script.effects_of("subscribe s1 id=F timeout=1000");
        }
        let before = script.snapshot();
        assert_eq!(completed(&before), kept, "round {round}");
        for task in tasks {
            uuid += 1;
            script.effects_of(&format!("update a{round} {task} FINISHED fw=F uuid={uuid}"));
            script.effects_of(&format!("ack s1 {task} uuid={uuid} agent=M-S0"));
            kept.push_back(task);
        }
        kept.drain(..kept.len().saturating_sub(COMPLETED_TASKS));
        assert_eq!(completed(&script.snapshot()), kept, "round {round}");
    }
}
