//! `sim`: runs seeds and says what each machine did, which promises held, and how to repeat a failure.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use clap::Parser;
use sim::{Choices, Report, run};

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
    /// Prints everything that is heard and has this in it.
    #[arg(long)]
    follow: Option<String>,
    /// Says where the time went, by kind of machine.
    #[arg(long)]
    profile: bool,
    /// Only a line a seed, unless it fails.
    #[arg(long)]
    brief: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let choices = Choices {
        agents: arguments.agents,
        storm: arguments.storm,
        citizens: arguments.citizens,
        audit: arguments.audit,
        calm: arguments.calm,
        follow: arguments.follow.clone().map(|text| &*text.leak()),
        stopwatch: arguments.profile.then_some(nanoseconds),
    };
    let mut failed = Vec::new();
    let mut spent: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    let (mut virtual_micros, begun) = (0, Instant::now());
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let started = Instant::now();
        let report = run(seed, choices);
        let took = started.elapsed().as_secs_f64();
        virtual_micros += report.time;
        for (kind, (events, nanos)) in &report.spent {
            let sum = spent.entry(kind).or_default();
            *sum = (sum.0 + events, sum.1 + nanos);
        }
        if !arguments.brief || !report.holds() {
            details(&report);
        }
        let times = report.time as f64 / 1e6 / took;
        println!(
            "seed {seed}: {}, trace {:016x}, {} s of cluster in {took:.2} s ({times:.0} times real time), {} events, well after {} s",
            if report.holds() { "every promise held" } else { "BROKEN" },
            report.hash,
            report.time / 1_000_000,
            report.events,
            report.recovery.map_or("?".to_owned(), |micros| (micros / 1_000_000).to_string()),
        );
        if !report.holds() {
            failed.push(seed);
        }
    }
    profile(&spent, begun.elapsed().as_nanos() as f64, virtual_micros as f64 / 1e6);
    let times = virtual_micros as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} failed, {} s of cluster at {times:.0} times real time",
        arguments.seeds,
        failed.len(),
        virtual_micros / 1_000_000
    );
    for seed in &failed {
        println!("repeat: make sim SEED={seed}{}", again(&arguments));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// What else was chosen, as the command repeats it.
fn again(arguments: &Arguments) -> String {
    let mut more = String::new();
    more += &arguments.agents.map(|agents| format!(" --agents {agents}")).unwrap_or_default();
    more += &arguments.storm.map(|storm| format!(" --storm {storm}")).unwrap_or_default();
    more += &arguments.citizens.map(|citizens| format!(" --citizens {citizens}")).unwrap_or_default();
    more += &arguments.audit.map(|audit| format!(" --audit {audit}")).unwrap_or_default();
    more += if arguments.calm { " --calm" } else { "" };
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
