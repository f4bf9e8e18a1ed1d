//! `faults [SEED [SECONDS]]`: breaks a cluster for a while, as a seed says, and then checks what was promised. With
//! `OTHER_STOA`, the path of another version of the program, nodes go over to that one and back while clients write.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use e2e::faults::batch::Jobs;
use e2e::faults::clients::{Clients, History};
use e2e::faults::fault::{Fault, What};
use e2e::faults::members;
use e2e::faults::nodes::Nodes;
use e2e::faults::promises::{self, Verdict};
use e2e::faults::roles::NODES;
use e2e::faults::routes::Trouble;
use e2e::faults::schedule::{self, Step};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// How long things break, when nobody says.
const SECONDS: u64 = 120;
const STEADY_INSTANCES: usize = 3;
/// How long an operator goes on restoring the group of masters, after the last fault.
const RESTORE: Duration = Duration::from_secs(90);

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
    let other = std::env::var_os("OTHER_STOA").map(PathBuf::from);
    let mut steps = schedule::draw(seed, seconds);
    if other.is_some() {
        // Everything goes over, things break while versions are mixed, and everything goes back.
        steps = [schedule::roll(), steps, schedule::roll()].concat();
    }
    let mut nodes = Nodes::start(other)?;
    let path = std::env::temp_dir().join(format!("stoa-faults-{seed}.jsonl"));
    let history = History::create(&path)?;
    println!("seed {seed}, {seconds} s of faults, history in {}", path.display());
    let steady =
        promises::deploy_steady(&nodes, STEADY_INSTANCES).await.map_err(|why| with_logs(&nodes, &why))?;
    let steady = promises::steady(&nodes, steady).await.map_err(|why| with_logs(&nodes, &why))?;

    let jobs = Jobs::post(&nodes).await.map_err(|why| with_logs(&nodes, &why))?;
    let began = Instant::now();
    let clients = Clients::start(&nodes, &history)?;
    let (troubles, struck) = break_things(&mut nodes, &history, &steps, began).await?;
    let seen = clients.stop().await;
    let told = history.told();
    println!("{} requests had no answer: what became of them is not promised", told.unanswered);
    let mut verdicts = promises::check(&nodes, &told, &seen, &jobs, &steady, &troubles, began).await?;
    verdicts.push(Verdict { promise: "a master whose sync fails ends by itself", kept: struck });
    Ok(report(&nodes, &verdicts))
}

/// Goes through the steps and leaves everything running; what was broken when, and how many syncs failed that were noticed.
async fn break_things(
    nodes: &mut Nodes,
    history: &History,
    steps: &[Step],
    began: Instant,
) -> Result<(Vec<Trouble>, Result<String, String>), String> {
    let (mut troubles, mut syncs, mut struck) = (Vec::new(), 0, Ok(()));
    for step in steps {
        let faults: Vec<Fault> = step.faults.iter().map(|fault| fault.possible(nodes)).collect();
        let step = Step { faults, ..*step };
        println!("{:>4} s  {step}", began.elapsed().as_secs());
        history.note(&json!({ "fault": step.to_string() }));
        let from = Instant::now();
        for fault in &step.faults {
            fault.begin(nodes).await?;
        }
        tokio::time::sleep(Duration::from_secs(step.seconds)).await;
        if let [alone] = &*step.faults {
            struck = struck.and(alone.struck(nodes).await);
            syncs += usize::from(alone.what == What::FailedSync);
        }
        for fault in &step.faults {
            fault.end(nodes)?;
        }
        history.note(&json!({ "mended": step.to_string() }));
        // Not every group can be restored at once: the next step comes nevertheless.
        if let Err(why) = members::restore(nodes).await {
            println!("  {why}");
        }
        let until = Instant::now();
        troubles.extend(step.faults.into_iter().map(|fault| Trouble { fault, from, until }));
        tokio::time::sleep(Duration::from_secs(step.pause)).await;
    }
    let last = Instant::now();
    (0..NODES).for_each(|node| nodes.revive(node));
    while let Err(why) = members::restore(nodes).await {
        if last.elapsed() > RESTORE {
            return Err(with_logs(nodes, &why));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok((troubles, struck.map(|()| format!("{syncs} syncs failed"))))
}

fn with_logs(nodes: &Nodes, why: &str) -> String {
    format!("{why}\n{}", nodes.logs())
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
