//! The streams: nothing missed and nothing twice over the deaths of supervisors; a reader that never reads costs nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::sse::{Event, Events};
use e2e::wait::{check, until};
use reqwest::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_goes_on_after_each_death_without_gap_or_repetition() {
    let mut cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 2, haproxy: false }).await;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicU64::new(0));
    let reader = tokio::spawn(follow(cluster.marathon_addresses.clone(), stop.clone(), seen.clone()));
    until("the reader reads", SOON, async || {
        change(&cluster, 0).await;
        check(seen.load(Ordering::Relaxed) > 0, || "nothing yet".into())
    })
    .await;
    for round in 1..=3 {
        let leader = cluster.leading_marathon().await;
        let before = seen.load(Ordering::Relaxed);
        // Changes are under way when the leader dies.
        change(&cluster, round).await;
        cluster.marathons[leader].kill();
        let next = cluster.leading_marathon().await;
        cluster.marathons[leader].restart();
        assert_ne!(leader, next);
        change(&cluster, round + 1).await;
        until("the reader goes on", SOON, async || {
            let now = seen.load(Ordering::Relaxed);
            check(now > before + 5, || format!("{before} before, {now} now\n{}", cluster.logs()))
        })
        .await;
    }
    until("every change is made", SOON, async || {
        let deployments = cluster.get("/v2/deployments?embed=waits").await;
        check(deployments == json!([]), || deployments.to_string())
    })
    .await;

    // What a reader gets that begins at the same place and was never cut off.
    let leader = cluster.leading_marathon().await;
    stop.store(true, Ordering::Relaxed);
    change(&cluster, 9).await;
    let followed = tokio::time::timeout(SOON, reader).await.expect("it ends").expect("no panic");
    let first = followed.first().expect("events").id;
    let mut whole =
        Events::open(&cluster.marathon_addresses[leader], Some(first - 1)).await.expect("a stream");
    let mut at_once = Vec::new();
    while at_once.len() < followed.len() {
        let event = tokio::time::timeout(SOON, whole.next()).await.expect("soon").expect("an event");
        at_once.push(event);
    }
    assert!(followed.len() > 30, "only {} events", followed.len());
    assert_eq!(followed, at_once);
    let gaps: Vec<_> = followed.windows(2).filter(|pair| pair[1].id != pair[0].id + 1).collect();
    assert!(gaps.is_empty(), "the numbers have gaps: {gaps:#?}");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &followed {
        *kinds.entry(&event.kind).or_default() += 1;
    }
    assert!(kinds.contains_key("status_update_event"), "{kinds:?}");
}

/// Scales and renames a small app, which is some events.
async fn change(cluster: &Cluster, round: usize) {
    let body = json!({
        "id": "/a", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": round % 3, "portDefinitions": [],
        "env": { "ROUND": round.to_string() }, "backoffSeconds": 0.2
    });
    let (status, answer) = cluster.ask(Method::PUT, "/v2/apps/a?force=true", Some(&body)).await;
    assert!(status == 200 || status == 201, "{status} {answer}");
}

/// Reads until told to stop, at whichever supervisor leads, going on after the last event it saw. It hangs up by itself
/// now and then, in the middle of what was sent.
async fn follow(addresses: Vec<String>, stop: Arc<AtomicBool>, seen: Arc<AtomicU64>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let last = events.last().map(|event| event.id);
        let Ok(mut stream) = Events::open(&addresses[turn % addresses.len()], last).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        for _ in 0..40 {
            let Some(event) = stream.next().await else { break };
            seen.store(event.id, Ordering::Relaxed);
            events.push(event);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    events
}

/// Readers that never read.
const STALLED: usize = 50;
/// What one change of the big app adds to the window of kept events, at least.
const BIG: usize = 150 << 10;
/// Far below what the readers would hold if each had a queue of its own.
const GROWTH_KB: u64 = 96 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_lose_their_stream_and_cost_nothing() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: false }).await;
    // The window of kept events is filled first: it is the supervisor's own memory, whoever reads.
    for round in 0..60 {
        big_change(&cluster, round).await;
    }
    let before = resident_kb(cluster.marathons[0].pid());
    let stalled: Vec<TcpStream> = (0..STALLED).map(|_| stall(&cluster.marathon_addresses[0])).collect();
    until("the readers are there", SOON, async || {
        let readers = readers(&cluster).await;
        check(readers == STALLED, || format!("{readers}"))
    })
    .await;
    for round in 0..80 {
        big_change(&cluster, round).await;
    }
    until("every one of them has lost its stream", Duration::from_secs(45), async || {
        let readers = readers(&cluster).await;
        check(readers == 0, || format!("{readers} are left"))
    })
    .await;
    let after = resident_kb(cluster.marathons[0].pid());
    assert!(after < before + GROWTH_KB, "the supervisor grew from {before} kB to {after} kB");
    drop(stalled);
}

async fn big_change(cluster: &Cluster, round: usize) {
    let body = json!({ "id": "/big", "cmd": "true", "instances": 0, "env": { "X": format!("{round}{}", "x".repeat(BIG)) } });
    let (status, answer) = cluster.ask(Method::PUT, "/v2/apps/big?force=true", Some(&body)).await;
    assert!(status == 200 || status == 201, "{status} {}", answer["message"]);
}

/// A reader with a small window that asks and then does nothing.
fn stall(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    let size: libc::c_int = 8 << 10;
    // SAFETY: the descriptor is open, the pointer is to an integer of the length given.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
    let request = format!("GET /v2/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    (&stream).write_all(request.as_bytes()).expect("sent");
    stream
}

/// How many readers of its events the supervisor counts.
async fn readers(cluster: &Cluster) -> usize {
    let url = format!("http://{}/metrics/prometheus", cluster.marathon_addresses[0]);
    let text = cluster.http.get(url).send().await.expect("an answer").text().await.expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix("marathon_event_readers "));
    line.expect("the metric").trim().parse().expect("a number")
}

fn resident_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
