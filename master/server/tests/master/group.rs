//! Three masters: founding, redirects, handing over, catching up, disks that are not who they say.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::client::{TestMaster, free_address, get, post, until};
use crate::state_api::{put, read};

const PATH: &str = "/api/v1/state";

struct Group {
    addresses: Vec<String>,
    dirs: Vec<TempDir>,
    masters: Vec<Option<TestMaster>>,
}

impl Group {
    async fn three() -> Self {
        let mut addresses = Vec::new();
        for _ in 0..3 {
            addresses.push(free_address().await);
        }
        let dirs: Vec<TempDir> =
            (0..3).map(|_| tempfile::tempdir().expect("a temporary directory")).collect();
        let mut group = Self { addresses, dirs, masters: vec![None, None, None] };
        for index in 0..3 {
            group.start(index).await;
        }
        group
    }

    async fn start(&mut self, index: usize) {
        let dir = self.dirs[index].path().to_owned();
        self.masters[index] = Some(self.open(index, &dir).await.expect("starts"));
    }

    async fn open(&self, index: usize, dir: &Path) -> Result<TestMaster, master::Error> {
        TestMaster::start(&self.addresses[index], &self.addresses, dir).await
    }

    fn at(&self, index: usize) -> std::net::SocketAddr {
        self.masters[index].as_ref().expect("runs").address
    }

    fn running(&self) -> Vec<usize> {
        (0..3).filter(|index| self.masters[*index].is_some()).collect()
    }

    async fn leader(&self) -> usize {
        let mut found = None;
        until("one leads and the others follow it", async || {
            let mut named = Vec::new();
            for index in self.running() {
                named.push(get(self.at(index), "/redirect").await.header("location").map(str::to_owned));
            }
            found = named[0].clone().filter(|first| named.iter().all(|one| one.as_ref() == Some(first)));
            found = found.take().filter(|leader| {
                self.running().iter().any(|index| leader.ends_with(&self.addresses[*index]))
            });
            found.is_some()
        })
        .await;
        let leader = found.expect("found");
        self.addresses.iter().position(|address| leader.ends_with(address)).expect("a member")
    }

    async fn stop(mut self) {
        for index in 0..3 {
            if let Some(master) = self.masters[index].take() {
                master.stop().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_masters_found_a_group_redirect_and_hand_over() {
    let mut group = Group::three().await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    let elsewhere = get(group.at(follower), "//state?limit=1").await;
    assert_eq!(elsewhere.status, 307);
    assert_eq!(elsewhere.header("location"), Some(&*format!("//{}/state?limit=1", group.addresses[leader])));
    assert_eq!(elsewhere.header("content-length"), Some("0"));
    // Where the leader is comes before how one asks.
    for path in ["/api/v1/scheduler", "/api/v1", PATH, "/internal/link"] {
        let elsewhere = get(group.at(follower), path).await;
        assert_eq!(
            elsewhere.header("location"),
            Some(&*format!("//{}{path}", group.addresses[leader])),
            "{path}"
        );
    }
    for path in ["/health", "/version", "/metrics", "/metrics/snapshot", "/flags", "/"] {
        assert_eq!(get(group.at(follower), path).await.status, 200, "{path} is local");
    }
    for number in 0..50 {
        assert_eq!(post(group.at(leader), PATH, &put(&format!("k{number}"), "eA==")).await.status, 200);
    }
    // An orderly stop passes leadership on; what was acknowledged is there at once.
    group.masters[leader].take().expect("runs").stop().await;
    let next = group.leader().await;
    assert_ne!(next, leader);
    assert_eq!(read(group.at(next), "k49").await.as_deref(), Some("eA=="));
    assert_eq!(post(group.at(next), PATH, &put("later", "eQ==")).await.status, 200);
    group.start(leader).await;
    group.leader().await;
    // It has caught up when it can lead and knows what was written without it.
    group.masters[next].take().expect("runs").stop().await;
    let last = group.leader().await;
    assert_eq!(read(group.at(last), "later").await.as_deref(), Some("eQ=="));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nobody_leads_and_nothing_is_acknowledged() {
    let mut group = Group::three().await;
    let leader = group.leader().await;
    assert_eq!(post(group.at(leader), PATH, &put("k", "eA==")).await.status, 200);
    let others: Vec<usize> = group.running().into_iter().filter(|index| *index != leader).collect();
    for index in &others {
        group.masters[*index].take().expect("runs").stop().await;
    }
    let answer = post(group.at(leader), PATH, &put("k", "eQ==")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    until("the last one knows that it does not lead", async || {
        get(group.at(leader), "/health").await.status == 503
    })
    .await;
    let state = get(group.at(leader), "/state").await;
    assert_eq!((state.status, state.header("retry-after")), (503, Some("1")));
    group.start(others[0]).await;
    let next = group.leader().await;
    assert!(read(group.at(next), "k").await.is_some());
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_waits_for_the_others_says_for_whom() {
    let (first, second) = (free_address().await, free_address().await);
    let temp = tempfile::tempdir().expect("a temporary directory");
    let peers = [first.clone(), second.clone()];
    let master = TestMaster::start(&first, &peers, temp.path()).await.expect("starts");
    until("it waits", async || get(master.address, "/health").await.text().contains(&second)).await;
    let answer = post(master.address, "/api/v1", &json!({"type": "GET_HEALTH"})).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("not founded yet"), "{}", answer.text());
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_does_not_come_back_as_the_member_it_was() {
    let mut group = Group::three().await;
    let leader = group.leader().await;
    let victim = (leader + 1) % 3;
    group.masters[victim].take().expect("runs").stop().await;
    let empty = tempfile::tempdir().expect("a temporary directory");
    let wiped = group.open(victim, empty.path()).await.expect("starts to look around");
    let error = wiped.ended().await.expect_err("it is told");
    assert!(error.is_refusal() && error.to_string().contains("exists already"), "{error}");
    // With its own disk it is welcome.
    group.start(victim).await;
    assert_eq!(group.leader().await, leader);
    group.stop().await;
}

async fn gauge(at: std::net::SocketAddr, name: &str) -> u64 {
    let metrics = get(at, "/metrics").await.text();
    let line = metrics.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a gauge of that name")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_entries_are_gone_pulls_a_snapshot_and_can_lead() {
    let mut group = Group::three().await;
    let leader = group.leader().await;
    let behind = (leader + 1) % 3;
    group.masters[behind].take().expect("runs").stop().await;
    // Two snapshots' worth of log: the second one lets go of what the first one covers.
    let large = "A".repeat(1 << 20);
    let mut written = 0;
    while gauge(group.at(leader), "stoa_master_raft_first_index").await <= 2 {
        assert_eq!(post(group.at(leader), PATH, &put("large", &large)).await.status, 200);
        written += 1;
        assert!(written < 600, "the log is not cut after {written} MiB");
    }
    assert_eq!(post(group.at(leader), PATH, &put("small", "eA==")).await.status, 200);
    let cut = gauge(group.at(leader), "stoa_master_raft_first_index").await;
    group.start(behind).await;
    until("it holds the state from beyond the cut", async || {
        gauge(group.at(behind), "stoa_master_raft_applied_index").await >= cut
    })
    .await;
    assert!(gauge(group.at(behind), "stoa_master_raft_snapshot_index").await > 1, "by a snapshot");
    // Nobody else is left to have it from.
    for index in group.running() {
        if index != behind && index != leader {
            group.masters[index].take().expect("runs").stop().await;
        }
    }
    group.leader().await;
    group.masters[leader].take().expect("runs").stop().await;
    let third = 3 - leader - behind;
    group.start(third).await;
    let next = group.leader().await;
    assert_eq!(read(group.at(next), "small").await.as_deref(), Some("eA=="));
    group.stop().await;
}
