//! Reads of a large cluster's state beside the master's loop, and what the state costs in memory. One JSON line each.

mod cluster;
mod longest;
mod turns;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cluster::{Cluster, Shape};
use master::{About, write_state};
use master_core::render::Large;
use master_core::snapshot::Snapshot;
use model::time::Time;
use turns::Turns;
use wire::Codec;

const SHAPE: Shape = Shape { agents: 50_000, tasks_each: 10, frameworks: 100 };

/// Turns of the loop alone, for comparison: ten seconds of the cluster, in which all that was refused at first is offered
/// again.
const ALONE: usize = 10_000;

/// How much of an answer is made before it is handed to its reader; as the master does it.
const PIECE: usize = 128 << 10;

fn main() {
    let before = resident();
    let mut cluster = Cluster::new();
    cluster.register(SHAPE.agents);
    let with_agents = resident();
    std::mem::take(&mut cluster.longest).report("register");
    cluster.launch(SHAPE);
    let with_tasks = resident();
    std::mem::take(&mut cluster.longest).report("fill");
    let tasks = SHAPE.agents * SHAPE.tasks_each;
    println!(
        r#"{{"bench":"state/memory","agents":{},"tasks":{tasks},"bytes_per_agent":{},"bytes_per_task":{},"resident_mb":{}}}"#,
        SHAPE.agents,
        (with_agents - before) / SHAPE.agents,
        (with_tasks - with_agents) / tasks,
        with_tasks >> 20,
    );
    let (mut cluster, turns) = alone(cluster);
    turns.report("state/alone", None);
    std::mem::take(&mut cluster.longest).report("alone");
    let cluster =
        read(cluster, "state/get_state_json", |snapshot, out| Large::State.write(snapshot, Codec::Json, out));
    let cluster = read(cluster, "state/get_state_protobuf", |snapshot, out| {
        Large::State.write(snapshot, Codec::Protobuf, out)
    });
    let about = About {
        advertise: "master.example:5050".to_owned(),
        started: Time::from_secs(1_700_000_000),
        flags: Vec::new(),
    };
    let cluster =
        read(cluster, "state/legacy_state", move |snapshot, out| write_state(snapshot, &about, out));
    cluster.elect_another().report("elect");
}

/// The loop without any reader.
fn alone(mut cluster: Cluster) -> (Cluster, Turns) {
    let mut turns = Turns::new();
    for _ in 0..ALONE {
        turns.take(|| cluster.change());
    }
    (cluster, turns)
}

/// The loop while one answer after another is written on a thread of its own; three of them, of which the last counts.
fn read(
    mut cluster: Cluster,
    name: &str,
    write: impl Fn(&Snapshot, &mut dyn io::Write) -> io::Result<()> + Send + Clone + 'static,
) -> Cluster {
    for last in [false, false, true] {
        let mut turns = Turns::new();
        let mut snapshot = None;
        turns.take(|| snapshot = Some(cluster.snapshot()));
        let snapshot = snapshot.expect("the leader gives it");
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let (done, write) = (done.clone(), write.clone());
            std::thread::spawn(move || {
                let begun = Instant::now();
                let mut pieces = Pieces::default();
                write(&snapshot, &mut pieces).expect("counting does not fail");
                let seconds = begun.elapsed().as_secs_f64();
                drop(snapshot);
                done.store(true, Ordering::Release);
                (pieces.bytes + pieces.piece.len(), seconds)
            })
        };
        while !done.load(Ordering::Acquire) {
            turns.take(|| cluster.change());
        }
        let outcome = reader.join().expect("the reader ends");
        let longest = std::mem::take(&mut cluster.longest);
        if last {
            turns.report(name, Some(outcome));
            longest.report(name);
        }
    }
    cluster
}

/// Lets each piece go when it is full.
#[derive(Default)]
struct Pieces {
    piece: Vec<u8>,
    bytes: usize,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.bytes += std::mem::take(&mut self.piece).len();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number");
    pages * 4096
}
