//! Three masters: founding, redirects, handing over, catching up, disks that are not who they say.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::client::{TestMaster, free_address, get, post, raw, until};
use crate::state_api::{put, read};

const PATH: &str = "/api/v1/state";

pub(crate) struct Group {
    addresses: Vec<String>,
    dirs: Vec<TempDir>,
    masters: Vec<Option<TestMaster>>,
}

impl Group {
    pub(crate) async fn three() -> Self {
        let mut addresses = Vec::new();
        for _ in 0..3 {
            addresses.push(free_address());
        }
        let dirs: Vec<TempDir> =
            (0..3).map(|_| tempfile::tempdir().expect("a temporary directory")).collect();
        let mut group = Self { addresses, dirs, masters: vec![None, None, None] };
        for index in 0..3 {
            group.start(index).await;
        }
        group
    }

    pub(crate) async fn start(&mut self, index: usize) {
        let dir = self.dirs[index].path().to_owned();
        self.masters[index] = Some(self.open(index, &dir).await.expect("starts"));
    }

    async fn open(&self, index: usize, dir: &Path) -> Result<TestMaster, master::Error> {
        TestMaster::start(&self.addresses[index], &self.addresses, dir).await
    }

    pub(crate) fn at(&self, index: usize) -> std::net::SocketAddr {
        self.masters[index].as_ref().expect("runs").address
    }

    fn running(&self) -> Vec<usize> {
        (0..3).filter(|index| self.masters[*index].is_some()).collect()
    }

    pub(crate) async fn leader(&self) -> usize {
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

    /// Writes at whichever leads: on a busy machine another may have been elected. Gives the answer.
    pub(crate) async fn write(&self, call: &serde_json::Value) -> serde_json::Value {
        let mut taken = None;
        until("a write is taken", async || {
            let leader = self.leader().await;
            let answer = post(self.at(leader), PATH, call).await;
            taken = (answer.status == 200).then(|| answer.json());
            taken.is_some()
        })
        .await;
        taken.expect("taken")
    }

    /// Ends one of them in order.
    pub(crate) async fn end(&mut self, index: usize) {
        self.masters[index].take().expect("runs").stop().await;
    }

    pub(crate) async fn stop(mut self) {
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
        group.write(&put(&format!("k{number}"), "eA==")).await;
    }
    let leader = group.leader().await;
    // An orderly stop passes leadership on; what was acknowledged is there at once.
    group.masters[leader].take().expect("runs").stop().await;
    let next = group.leader().await;
    assert_ne!(next, leader);
    assert_eq!(read(group.at(next), "k49").await.as_deref(), Some("eA=="));
    group.write(&put("later", "eQ==")).await;
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
    group.write(&put("k", "eA==")).await;
    let leader = group.leader().await;
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
    let (first, second) = (free_address(), free_address());
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
    group.leader().await;
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
        group.write(&put("large", &large)).await;
        written += 1;
        assert!(written < 600, "the log is not cut after {written} MiB");
    }
    group.write(&put("small", "eA==")).await;
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

/// Members apply at their own pace; what they had at one index must be the same.
#[tokio::test(flavor = "multi_thread")]
async fn members_show_a_fingerprint_by_which_they_can_be_compared() {
    let group = Group::three().await;
    let leader = group.leader().await;
    assert!(members(group.at(leader)).await["fingerprint"].is_null(), "it has come to no such index yet");
    for number in 0..130 {
        group.write(&put(&format!("k{number}"), "eA==")).await;
    }
    until("all show the same", async || {
        let mut shown = Vec::new();
        for at in 0..3 {
            shown.push(members(group.at(at)).await["fingerprint"].clone());
        }
        let digest = shown[0]["digest"].as_str().unwrap_or_default();
        shown[0]["index"].as_u64() >= Some(128)
            && digest.len() == 16
            && shown.iter().all(|one| *one == shown[0])
    })
    .await;
    group.stop().await;
}

async fn delete(at: std::net::SocketAddr, id: &str) -> crate::client::Answer {
    raw(at, format!("DELETE /members/{id} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await
}

async fn members(at: std::net::SocketAddr) -> serde_json::Value {
    serde_json::from_str(&get(at, "/members").await.text()).expect("JSON")
}

/// The one that leads by its own word.
async fn leading(masters: &[std::net::SocketAddr]) -> std::net::SocketAddr {
    let mut found = None;
    until("one of them leads", async || {
        for at in masters {
            if members(*at).await["leading"] == true {
                found = Some(*at);
            }
        }
        found.is_some()
    })
    .await;
    found.expect("found")
}

fn voters(group: &serde_json::Value) -> Vec<String> {
    let mut addresses: Vec<String> = group["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|member| member["standing"] == "VOTER")
        .map(|member| member["address"].as_str().expect("an address").to_owned())
        .collect();
    addresses.sort_unstable();
    addresses
}

fn id_of(group: &serde_json::Value, address: &str) -> String {
    let all = group["members"].as_array().expect("members");
    let member = all.iter().find(|member| member["address"] == address).expect("a member of this address");
    member["id"].as_str().expect("an id").to_owned()
}

/// As an operator replaces a machine: the new one joins, then the old one leaves, then the group must live without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_is_replaced_while_the_group_runs() {
    let mut group = Group::three().await;
    let leader = group.leader().await;
    group.write(&put("before", "eA==")).await;

    // Through a follower, which sends the newcomer on to the leader.
    let address = free_address();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let through = group.addresses[(leader + 1) % 3].clone();
    let newcomer = TestMaster::join(&address, &through, dir.path()).await.expect("starts");
    until("the newcomer votes", async || voters(&members(group.at(leader)).await).contains(&address)).await;
    until("the newcomer follows", async || get(newcomer.address, "/health").await.status == 200).await;

    // A member that leads hands over before it goes.
    let id = id_of(&members(group.at(leader)).await, &group.addresses[leader]);
    let everybody = [group.at(0), group.at(1), group.at(2), newcomer.address];
    until("the old leader is removed", async || delete(leading(&everybody).await, &id).await.status == 200)
        .await;
    let removed = group.masters[leader].take().expect("runs");
    let error = removed.ended().await.expect_err("it is told");
    assert!(error.to_string().contains("removed"), "{error}");

    // With the removed one and one more gone, two of three remain, one of them the newcomer.
    let (last, other) = (group.running()[0], group.running()[1]);
    group.masters[other].take().expect("runs").stop().await;
    let left = group.at(last);
    until("the two that are left can write", async || {
        let leader = leading(&[left, newcomer.address]).await;
        post(leader, PATH, &put("after", "eQ==")).await.status == 200
    })
    .await;
    let left = leading(&[left, newcomer.address]).await;
    assert_eq!(read(left, "before").await.as_deref(), Some("eA=="));

    // Started again with the same words, the newcomer is the member it has become.
    newcomer.stop().await;
    let again = TestMaster::join(&address, &through, dir.path()).await.expect("starts");
    until("it works again", async || get(again.address, "/health").await.status == 200).await;
    again.stop().await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_group_that_make_no_sense_are_refused_with_a_sentence() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let own = members(master.address).await["members"][0]["id"].as_str().expect("an id").to_owned();
    for (body, status, words) in [
        (json!({}), 400, "missing field `id`"),
        (json!({ "id": "xyz", "address": "m:1" }), 400, "xyz"),
        (json!({ "id": "12", "address": "nowhere" }), 400, "HOST:PORT"),
        (json!({ "id": "12", "address": "m:1", "vote": true }), 400, "vote"),
        (json!({ "id": own, "address": "m:1" }), 409, "is known as"),
    ] {
        let answer = post(master.address, "/members", &body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.text().contains(words), "{body}: {}", answer.text());
    }
    let stranger = delete(master.address, "12").await;
    assert_eq!((stranger.status, stranger.text().contains("no member")), (404, true));
    assert_eq!(raw(master.address, b"PUT /members HTTP/1.1\r\nHost: test\r\n\r\n").await.status, 405);
    master.stop().await;
}
