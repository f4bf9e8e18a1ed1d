//! `faults [SEED [SECONDS]]`: breaks a cluster for a while, as a seed says, and then checks what was promised.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use e2e::faults::batch::Jobs;
use e2e::faults::clients::{Clients, History};
use e2e::faults::nodes::{NODES, Nodes};
use e2e::faults::promises::{self, Verdict};
use e2e::faults::schedule;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// How long things break, when nobody says.
const SECONDS: u64 = 120;
const STEADY_INSTANCES: usize = 3;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // SAFETY: asks a number of the kernel.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("faults: needs root, to make network namespaces and small disks");
        return ExitCode::from(2);
    }
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (seed, seconds) = match (numbers.next().transpose(), numbers.next().transpose()) {
        (Ok(seed), Ok(seconds)) => (seed.unwrap_or_else(fresh_seed), seconds.unwrap_or(SECONDS)),
        _ => {
            eprintln!("faults: SEED and SECONDS must be whole numbers");
            return ExitCode::from(2);
        }
    };
    let mut ended = signal(SignalKind::terminate()).expect("a handler");
    // Whichever way it ends, what was made is dropped with the future, and so removed.
    tokio::select! {
        result = run(seed, seconds) => match result {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                eprintln!("faults: {why}");
                ExitCode::FAILURE
            }
        },
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        _ = ended.recv() => ExitCode::from(143),
    }
}

fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

/// Whether every promise was kept.
async fn run(seed: u64, seconds: u64) -> Result<bool, String> {
    let mut nodes = Nodes::start()?;
    let path = std::env::temp_dir().join(format!("stoa-faults-{seed}.jsonl"));
    let history = History::create(&path)?;
    println!("seed {seed}, {seconds} s of faults, history in {}", path.display());
    promises::deploy_steady(&nodes, STEADY_INSTANCES)
        .await
        .map_err(|why| format!("{why}\n{}", nodes.logs()))?;
    let steady = promises::steady(&nodes, STEADY_INSTANCES).await?;

    let jobs = Jobs::post(&nodes).await.map_err(|why| format!("{why}\n{}", nodes.logs()))?;
    let clients = Clients::start(&nodes, &history)?;
    for step in schedule::draw(seed, seconds) {
        println!("{step}");
        history.note(&json!({ "fault": step.to_string() }));
        for fault in &step.faults {
            fault.begin(&mut nodes)?;
        }
        tokio::time::sleep(Duration::from_secs(step.seconds)).await;
        step.faults.iter().for_each(|fault| fault.end(&mut nodes));
        history.note(&json!({ "mended": step.to_string() }));
        tokio::time::sleep(Duration::from_secs(step.pause)).await;
    }
    (0..NODES).for_each(|node| nodes.revive(node));
    let seen = clients.stop().await;
    let told = history.told();
    println!("{} requests had no answer: what became of them is not promised", told.unanswered);
    let verdicts = promises::check(&nodes, &told, &seen, &jobs, &steady).await?;
    Ok(report(&nodes, &verdicts))
}

fn report(nodes: &Nodes, verdicts: &[Verdict]) -> bool {
    for Verdict { promise, kept } in verdicts {
        match kept {
            Ok(counted) => println!("kept    {promise} ({counted})"),
            Err(why) => println!("BROKEN  {promise}: {why}"),
        }
    }
    let all = verdicts.iter().all(|verdict| verdict.kept.is_ok());
    if !all {
        println!("{}", nodes.logs());
    }
    all
}
