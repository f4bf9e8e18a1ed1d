//! `mutants`: plants one fault after the other and says which checker finds it, and on which seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use sim::check::Findings;
use sim::{Choices, run};

/// Each fault by its name, and what it is. The name is asked for where the fault is planted.
const MUTANTS: &[(&str, &str)] = &[
    ("log-is-not-synced", "the replica does not sync its log"),
    ("reads-do-not-wait", "the core answers reads without proof"),
    ("writes-are-acknowledged-early", "a write is answered when it is proposed"),
    ("compares-are-ignored", "a transaction is done whether its compares hold or not"),
    ("repetitions-are-done-again", "a repeated transaction is done again"),
    ("commands-are-applied-twice", "each transaction is applied twice"),
    ("snapshot-forgets-leases", "a snapshot lacks the leases"),
    ("renewals-are-not-seen", "a lease ends as if it had not been renewed"),
    ("leases-end-with-the-leader", "a new leader ends all leases at once"),
    ("watch-loses-an-event", "a watch skips the events of a batch"),
    ("watch-repeats-an-event", "a watch tells the newest revision twice"),
    ("compaction-is-not-told", "a watch goes on over events that are no longer kept"),
    ("leader-acknowledges-by-itself", "the leader acknowledges updates for the framework"),
    ("offers-can-be-taken-twice", "an offer stays after it was accepted"),
    ("usage-is-forgotten-at-registration", "the allocator takes a returning agent for idle"),
    ("declined-offers-stay-booked", "what is declined is not free again"),
    ("ended-tasks-stay-booked", "what ended tasks used is not free again"),
    ("refusals-never-end", "what was declined for a while is not offered again"),
    ("reservations-bind-nobody", "what is reserved is offered to every role"),
    (
        "quotas-bind-nobody",
        "every role is offered all there is, whatever was promised to others and allowed to it",
    ),
    ("compaction-forgets-reservations", "the agent's compacted log lacks its reservations"),
    ("agent-speaks-before-it-stores", "effects do not wait for the agent's disk"),
    ("agent-forgets-its-id", "an agent registers anew after each restart"),
    ("compaction-forgets-tasks", "the agent's compacted log lacks its tasks"),
    ("compaction-forgets-updates", "the agent's compacted log lacks pending updates"),
    ("waiting-updates-are-given-up", "a returning agent gives up the last updates of its tasks"),
    ("newest-update-goes-first", "updates overtake each other"),
    ("recovered-tasks-are-killed", "a restarted agent kills what it finds"),
    ("kills-are-only-said", "an agent says that a task was killed, and lets it run"),
    ("one-container-is-not-looked-for", "a restarted agent overlooks a container"),
    ("launches-are-ordered-twice", "the launcher is told twice to start a task"),
    ("read-asks-no-quorum", "a leader takes itself for the leader without asking"),
    ("leader-ignores-newer-terms", "a deposed leader goes on with agents that obey another"),
    ("agents-obey-any-term", "agents let a deposed leader take them in, and obey it"),
    ("votes-are-given-twice", "a replica forgets for whom it has voted"),
    ("any-acknowledgement-will-do", "a late acknowledgement is taken for that of the update in flight"),
    ("updates-are-sent-once", "an update that is lost is not sent again"),
    ("upgrades-know-no-minimum", "an upgrade ends as many old instances as it likes"),
    (
        "killed-instances-are-forgotten",
        "an upgrade ends as many old instances as it likes, and their records go at once",
    ),
    ("one-instance-is-left-out", "an app is scaled to one instance less than wanted"),
    ("kills-are-not-repeated", "a kill that is lost is not sent again"),
    ("new-leader-ends-what-runs", "a supervisor that takes over restarts every instance"),
    ("nobody-asks-about-tasks", "a framework of the kit does not ask how its tasks are"),
    ("events-are-numbered-anew", "each leader counts the events of apps from one"),
    ("effects-are-lost-behind-a-commit", "what a framework of the kit decides while it stores is not done"),
    ("ended-instances-stay-routed", "a balancer goes on leading to instances that have ended"),
    ("ill-instances-stay-routed", "a balancer leads to instances that fail their checks"),
    ("unknown-health-is-taken-for-good", "a balancer leads to instances that no check has reported on"),
    ("returning-feeds-read-nothing", "a sidecar whose feed was cut reads nothing of what it missed"),
    ("steps-do-not-wait-for-the-store", "a framework of the kit acts before its records are stored"),
    ("answers-do-not-wait-for-the-store", "a framework of the kit answers before its records are stored"),
    ("missed-due-times-are-not-recorded", "due times that are skipped leave no record"),
    ("unreachable-runs-are-tried-again", "a run on an agent out of reach is begun a second time"),
    ("runs-are-forgotten-early", "the record of a run goes when the run is over"),
    ("runs-begin-late", "a run begins a minute after it is due"),
    ("copies-are-taken-for-agents", "a process with the id of another that lives takes its place"),
    ("agents-are-let-in-from-anywhere", "a copy takes the place of an agent that is away for a moment"),
    ("failures-have-no-reason", "what the kernel ended for its memory is said to have failed by itself"),
    ("failed-syncs-are-ignored", "a master goes on after a sync or a write that failed"),
    ("agent-goes-on-after-a-failed-sync", "an agent goes on after a sync or a write that failed"),
    (
        "torn-records-are-taken-for-whole",
        "an agent reads records whose bytes are not those that were written",
    ),
    ("what-is-newer-is-skipped", "a master leaves out what it does not know of the log"),
    ("silent-links-are-trusted", "an agent never gives up a link to a dead master"),
];

/// Plants faults and shows that they are found.
#[derive(Parser)]
struct Arguments {
    /// Seeds tried for each fault before it counts as missed.
    #[arg(long, default_value_t = 150)]
    seeds: u64,
    /// Only this one, or these.
    #[arg(long)]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A fault may well end in a panic, which is one way to be found.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut tried, mut missed) = (0_usize, 0_usize);
    for (name, what) in MUTANTS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        tried += 1;
        match (1..=arguments.seeds).find_map(|seed| found(name, seed).map(|by| (seed, by))) {
            Some((seeds, (by, why))) => {
                println!("{name:<36} found by {by:<12} after {seeds:>2} seeds   ({what})");
                if !arguments.only.is_empty() {
                    println!("    {why}");
                }
            }
            None => {
                missed += 1;
                println!("{name:<36} MISSED on {} seeds   ({what})", arguments.seeds);
            }
        }
    }
    println!("{tried} faults were planted, {missed} were missed");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Who finds a fault with this seed, and what. A seed that fails without the fault says nothing of it.
fn found(name: &'static str, seed: u64) -> Option<(String, String)> {
    mutant::plant(Some(name));
    let by = caught(seed);
    mutant::plant(None);
    let by = by?;
    if let Some((own, why)) = caught(seed) {
        println!("seed {seed} fails without any fault, by {own}: {why}");
        return None;
    }
    Some(by)
}

/// Who finds something wrong with this seed, and what.
fn caught(seed: u64) -> Option<(String, String)> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, Choices::default()))) {
        Err(_) => Some(("a panic".to_owned(), String::new())),
        Ok(report) => {
            let first = |findings: &Findings| findings.wrong.first().cloned();
            let mut checks = report.checks.iter();
            checks.find_map(|(name, _, findings)| Some(((*name).to_owned(), first(findings)?)))
        }
    }
}
