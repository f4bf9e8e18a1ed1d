//! `sim`: runs seeds and says what each machine did, which promises held, and how to repeat a failure.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use sim::{Choices, Report, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a simulated cluster.
#[derive(Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds from there.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Agents, in place of what the seed says.
    #[arg(long)]
    agents: Option<u32>,
    /// Seconds of faults, in place of what the seed says.
    #[arg(long)]
    storm: Option<u64>,
    /// Frameworks that misbehave, in place of what the seed says.
    #[arg(long)]
    citizens: Option<u32>,
    /// Microseconds between two looks at the leader's books, to find out when they went wrong.
    #[arg(long)]
    audit: Option<u64>,
    /// No faults.
    #[arg(long)]
    calm: bool,
    /// Masters, agents and plain clients alone.
    #[arg(long)]
    alone: bool,
    /// Prints everything that is heard and has this in it.
    #[arg(long)]
    follow: Option<String>,
    /// Says where the time went, by kind of machine.
    #[arg(long)]
    profile: bool,
    /// Only a line a seed, unless it fails.
    #[arg(long)]
    brief: bool,
    /// Seeds that run at one time, each on a processor of its own. All processors without it.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

/// What came of all seeds so far.
#[derive(Default)]
struct Sum {
    failed: Vec<u64>,
    /// By kind of machine: events and nanoseconds.
    spent: BTreeMap<&'static str, (u64, u64)>,
    /// Time that passed in the clusters, in microseconds.
    simulated: u64,
    /// Time that the runs took, one after the other.
    took: Duration,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let choices = Choices {
        agents: arguments.agents,
        storm: arguments.storm,
        citizens: arguments.citizens,
        audit: arguments.audit,
        calm: arguments.calm,
        alone: arguments.alone,
        follow: arguments.follow.clone().map(|text| &*text.leak()),
        stopwatch: arguments.profile.then_some(nanoseconds),
    };
    let jobs = arguments.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let begun = Instant::now();
    let sum = run_all(&arguments, choices, jobs);
    profile(&sum.spent, sum.took.as_nanos() as f64, sum.simulated as f64 / 1e6);
    let seconds = sum.simulated as f64 / 1e6;
    println!(
        "{} seeds, {} failed, {seconds:.0} s of cluster, {:.0} times real time on one processor and {:.0} on {jobs}",
        arguments.seeds,
        sum.failed.len(),
        seconds / sum.took.as_secs_f64(),
        seconds / begun.elapsed().as_secs_f64(),
    );
    for seed in &sum.failed {
        println!("{}", repeat(*seed, &arguments));
    }
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds, as many at one time as there are jobs, and prints them in order. A run knows nothing of the others.
fn run_all(arguments: &Arguments, choices: Choices, jobs: usize) -> Sum {
    let next = AtomicU64::new(arguments.seed);
    let end = arguments.seed.saturating_add(arguments.seeds);
    let mut sum = Sum::default();
    thread::scope(|scope| {
        let (ended, reports) = mpsc::channel();
        for _ in 0..jobs {
            let (ended, next) = (ended.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let (_named, started) = (Named { seed, arguments }, Instant::now());
                    let report = run(seed, choices);
                    if ended.send((report, started.elapsed())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(ended);
        let mut early = BTreeMap::new();
        let mut turn = arguments.seed;
        for (report, took) in reports {
            early.insert(report.seed, (report, took));
            while let Some((report, took)) = early.remove(&turn) {
                show(&report, took, arguments.brief);
                sum.add(&report, took);
                turn += 1;
            }
        }
    });
    sum
}

/// Names the seed whose run ends in a panic, and says how to repeat it.
struct Named<'a> {
    seed: u64,
    arguments: &'a Arguments,
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("seed {} ended in this panic", self.seed);
            eprintln!("{}", repeat(self.seed, self.arguments));
        }
    }
}

impl Sum {
    fn add(&mut self, report: &Report, took: Duration) {
        for (kind, (events, nanos)) in &report.spent {
            let sum = self.spent.entry(kind).or_default();
            *sum = (sum.0 + events, sum.1 + nanos);
        }
        self.simulated += report.time;
        self.took += took;
        if !report.holds() {
            self.failed.push(report.seed);
        }
    }
}

/// Prints what came of a seed.
fn show(report: &Report, took: Duration, brief: bool) {
    if !brief || !report.holds() {
        details(report);
    }
    let took = took.as_secs_f64();
    println!(
        "seed {}: {}, trace {:016x}, {} s of cluster in {took:.2} s ({:.0} times real time), {} events, well after {} s",
        report.seed,
        if report.holds() { "every promise held" } else { "BROKEN" },
        report.hash,
        report.time / 1_000_000,
        report.time as f64 / 1e6 / took,
        report.events,
        report.recovery.map_or("?".to_owned(), |micros| (micros / 1_000_000).to_string()),
    );
}

/// Where the time went.
fn profile(spent: &BTreeMap<&'static str, (u64, u64)>, all: f64, seconds: f64) {
    let mut kinds: Vec<_> = spent.iter().collect();
    kinds.sort_by_key(|(_, (_, nanos))| std::cmp::Reverse(*nanos));
    for (kind, (events, nanos)) in kinds {
        let (events, nanos) = (*events as f64, *nanos as f64);
        println!(
            "  {kind:<11} {:>5.1} % of the time, {:>6.2} us an event, {:>7.1} events a second of cluster",
            100.0 * nanos / all,
            nanos / events / 1e3,
            events / seconds
        );
    }
}

/// A clock for the profile.
fn nanoseconds() -> u64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGUN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// How to see the failure of a seed again.
fn repeat(seed: u64, arguments: &Arguments) -> String {
    format!("repeat: make sim SEED={seed}{}", again(arguments))
}

/// What else was chosen, as the command repeats it.
fn again(arguments: &Arguments) -> String {
    let mut more = String::new();
    more += &arguments.agents.map(|agents| format!(" --agents {agents}")).unwrap_or_default();
    more += &arguments.storm.map(|storm| format!(" --storm {storm}")).unwrap_or_default();
    more += &arguments.citizens.map(|citizens| format!(" --citizens {citizens}")).unwrap_or_default();
    more += &arguments.audit.map(|audit| format!(" --audit {audit}")).unwrap_or_default();
    more += if arguments.calm { " --calm" } else { "" };
    more += if arguments.alone { " --alone" } else { "" };
    if more.is_empty() { more } else { format!(" SIM_FLAGS='{}'", more.trim()) }
}

fn details(report: &Report) {
    for (name, deeds) in &report.machines {
        println!("  {name:<12} {deeds}");
    }
    for (name, promise, findings) in &report.checks {
        let verdict = if findings.wrong.is_empty() { "held" } else { "BROKEN" };
        println!("  {verdict:<7} {name:<13} {promise} ({} looks)", findings.looks);
        for wrong in &findings.wrong {
            println!("          {wrong}");
        }
    }
}
