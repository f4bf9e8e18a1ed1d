//! Frameworks that misbehave in every way the API leaves open, beside one that does not: it launches as before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::cluster::Cluster;
use e2e::process::resident;
use e2e::scheduler::{Scheduler, info, open};
use e2e::wait::until;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Tasks of one round of the good framework, launched one after the other.
const ROUND: usize = 40;
/// Rounds beside bad citizens that count.
const ROUNDS_BESIDE: usize = 3;
/// What three in four launches beside them take at most, from the wish for an offer to the task's end: half of what a
/// hoarder keeps an offer for. Whose turn comes after the hoarders' waits for that each time. To compare with a round
/// without bad citizens would measure the two processors that everybody shares here.
const USUAL: Duration = Duration::from_millis(500);
/// Frameworks of each bad kind that subscribe.
const EACH: usize = 10;
/// Readers that never read, of either kind.
const DEAF: usize = 100;
/// Subscriptions opened and dropped.
const DROPPED: usize = 10_000;
/// Until every kind of misbehaviour has been seen often enough.
const LONGEST: Duration = Duration::from_secs(120);
/// What the master may grow by meanwhile.
const GROWTH: u64 = 256 << 20;

/// How often each kind of misbehaviour got the answer it deserves.
#[derive(Debug, Default)]
struct Seen {
    declined: AtomicU64,
    rescinded: AtomicU64,
    duplicate: AtomicU64,
    invalid_offer: AtomicU64,
    oversized: AtomicU64,
    acknowledged: AtomicU64,
    dropped: AtomicU64,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_framework_launches_beside_bad_citizens_as_without() {
    let cluster = Cluster::start_with(2, &["--offer-timeout=1"]).await;
    let master = cluster.master_addresses[0].clone();
    let mut good = Scheduler::subscribe(&master, &info("good")).await;
    round(&mut good, "alone").await;
    let memory = resident(cluster.masters[0].pid());

    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Seen::default());
    let mut bad = JoinSet::new();
    for n in 0..EACH {
        bad.spawn(decline(master.clone(), n, stop.clone(), seen.clone()));
        bad.spawn(hoard(master.clone(), n, stop.clone(), seen.clone()));
    }
    bad.spawn(repeat_itself(master.clone(), stop.clone(), seen.clone()));
    bad.spawn(exaggerate(master.clone(), stop.clone(), seen.clone()));
    bad.spawn(come_and_go(master.clone(), stop.clone(), seen.clone()));
    let deaf = never_read(&master).await;

    // Hoarders are offered less and less; nobody else's turn comes to an end before that.
    let (mut rounds, begun) = (0, Instant::now());
    while !done(&seen) {
        assert!(
            begun.elapsed() < LONGEST,
            "not all have misbehaved after {rounds} rounds: {seen:?}\n{}",
            cluster.logs()
        );
        round(&mut good, &format!("between{rounds}")).await;
        rounds += 1;
    }
    let mut beside = Vec::new();
    for number in 0..ROUNDS_BESIDE {
        beside.extend(round(&mut good, &format!("beside{number}")).await);
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = bad.join_next().await {
        ended.expect("a bad citizen got the answers it expects");
    }
    drop(deaf);
    round(&mut good, "after").await;

    beside.sort_unstable();
    let usual = beside[beside.len() * 3 / 4];
    assert!(usual < USUAL, "launches beside bad citizens took {beside:?}\n{}", cluster.logs());
    until("the master's memory comes down again", Duration::from_secs(60), async || {
        let grown = resident(cluster.masters[0].pid()).saturating_sub(memory);
        if grown < GROWTH { Ok(()) } else { Err(format!("{} MiB more than before", grown >> 20)) }
    })
    .await;
}

fn done(seen: &Seen) -> bool {
    let least = |counter: &AtomicU64, least: u64| counter.load(Ordering::Relaxed) >= least;
    least(&seen.declined, 100)
        && least(&seen.rescinded, 3 * EACH as u64)
        && least(&seen.duplicate, 3)
        && least(&seen.invalid_offer, 10)
        && least(&seen.oversized, 3)
        && least(&seen.acknowledged, 10)
        && least(&seen.dropped, DROPPED as u64)
}

/// Launches tasks one after the other, each when the one before it has ended. What each took.
async fn round(good: &mut Scheduler, name: &str) -> Vec<Duration> {
    let begun = Instant::now();
    let mut took = Vec::new();
    for n in 0..ROUND {
        let (mut attempt, wanted) = (0, Instant::now());
        while !launches(good, &format!("{name}-{n}-{attempt}")).await {
            attempt += 1;
            assert!(begun.elapsed() < LONGEST, "{name}: {n} tasks in {:?}", begun.elapsed());
        }
        took.push(wanted.elapsed());
    }
    took
}

/// Runs one task on one offer and gives back what else it holds: who keeps offers for later is no good citizen. False if
/// the offer was taken back before the launch arrived.
async fn launches(good: &mut Scheduler, task: &str) -> bool {
    let offer = good.offer().await;
    for other in std::mem::take(&mut good.offers) {
        good.decline(&other).await;
    }
    good.launch(&offer, &[Scheduler::task(&offer, task, "true")]).await;
    let status = good.end_of(task).await;
    match status["state"].as_str() {
        Some("TASK_FINISHED") => true,
        Some("TASK_LOST") if status["reason"] == "REASON_INVALID_OFFERS" => false,
        _ => panic!("{status}"),
    }
}

/// Takes every offer and gives it back at once, for ever.
async fn decline(master: String, n: usize, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let mut scheduler = Scheduler::subscribe(&master, &info(&format!("decliner{n}"))).await;
    while !stop.load(Ordering::Relaxed) {
        for offer in std::mem::take(&mut scheduler.offers) {
            scheduler.decline(&offer).await;
            one(&seen.declined);
        }
        scheduler.event().await;
    }
}

/// Takes every offer and never answers.
async fn hoard(master: String, n: usize, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let mut scheduler = Scheduler::subscribe(&master, &info(&format!("hoarder{n}"))).await;
    while !stop.load(Ordering::Relaxed) {
        if scheduler.event().await["type"] == "RESCIND" {
            one(&seen.rescinded);
        }
    }
}

/// Launches a task that it has already, on offers that are gone or another's, and acknowledges what nobody said.
async fn repeat_itself(master: String, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let mut scheduler = Scheduler::subscribe(&master, &info("repeater")).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, &[Scheduler::task(&offer, "twice", "exec sleep 1000")]).await;
    scheduler.wait_state("twice", "TASK_RUNNING").await;
    while !stop.load(Ordering::Relaxed) {
        // The first offer was used long ago; the second has never been anybody's.
        let foreign = json!({ "id": { "value": "nobody-O1" }, "agent_id": offer["agent_id"] });
        for old in [&offer, &foreign] {
            scheduler.launch(old, &[Scheduler::task(old, "late", "true")]).await;
            let status = scheduler.wait_state("late", "TASK_LOST").await;
            assert_eq!(status["reason"], "REASON_INVALID_OFFERS", "{status}");
            one(&seen.invalid_offer);
        }
        let acknowledge = json!({
            "agent_id": offer["agent_id"], "task_id": { "value": "nobody" }, "uuid": "AAAAAAAAQACAAAAAAAAAAA=="
        });
        scheduler.call(json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge })).await;
        one(&seen.acknowledged);
        if let Some(fresh) = scheduler.offers.pop() {
            scheduler.launch(&fresh, &[Scheduler::task(&fresh, "twice", "true")]).await;
            // Its first life goes on: what ends is said of the second.
            let status = scheduler.end_of("twice").await;
            match status["reason"].as_str() {
                Some("REASON_TASK_INVALID") => one(&seen.duplicate),
                // The offer was taken back before the launch arrived.
                Some("REASON_INVALID_OFFERS") => one(&seen.invalid_offer),
                _ => panic!("{status}"),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Sends messages that are too large, and large ones that are allowed to an executor that is not there.
async fn exaggerate(master: String, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let mut scheduler = Scheduler::subscribe(&master, &info("exaggerator")).await;
    let message = |bytes: usize| {
        json!({ "type": "MESSAGE", "message": {
            "agent_id": { "value": "nobody" }, "executor_id": { "value": "nobody" }, "data": "A".repeat(bytes)
        } })
    };
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(scheduler.send(message(32 << 20)).await, 413);
        one(&seen.oversized);
        let status = scheduler.send(message(1 << 20)).await;
        assert!([202, 400, 413].contains(&status), "{status}");
    }
}

/// Subscribes as somebody new and hangs up, over and over.
async fn come_and_go(master: String, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    // A connection of its own each time: hanging up is what this is about.
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        match open(&http, &master, &info(&format!("visitor{}", n % 50))).await {
            Ok(answer) => assert!([200, 503].contains(&answer.status().as_u16()), "{}", answer.status()),
            Err(error) => panic!("subscription {n}: {error:?}"),
        }
        one(&seen.dropped);
    }
}

/// Subscribes, and asks for the whole state, and never reads a byte of what comes. Such frameworks want no offers here:
/// sitting on those is the hoarders' part.
async fn never_read(master: &str) -> Vec<TcpStream> {
    let address: SocketAddr = master.parse().expect("an address");
    let subscribe = |n: usize| {
        let name = format!("deaf{n}");
        let subscribe = json!({ "framework_info": info(&name), "suppressed_roles": [name] });
        json!({ "type": "SUBSCRIBE", "subscribe": subscribe }).to_string()
    };
    let mut deaf = Vec::new();
    for n in 0..DEAF {
        for (path, body) in [
            ("/api/v1/scheduler", subscribe(n)),
            ("/api/v1", r#"{"type":"SUBSCRIBE"}"#.to_owned()),
            ("/api/v1", r#"{"type":"GET_STATE"}"#.to_owned()),
        ] {
            let mut stream = TcpStream::connect(address).await.expect("the master listens");
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {master}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.expect("sent");
            deaf.push(stream);
        }
    }
    deaf
}
