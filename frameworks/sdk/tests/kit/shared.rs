//! Leadership, store, table and mirror against a key-value space, and against each other.

use bytes::Bytes;
use sdk::leadership::{Campaign, Fence, Standing};
use sdk::mirror::follow;
use sdk::store::{CommitError, Store, Write};
use sdk::table::{Expected, Table, TableError};
use sdk::terms::{Leader, Terms};
use tokio::sync::{Notify, watch};

use crate::space::Space;

fn ids(of: &'static str) -> impl FnMut() -> String + Send + Sync + 'static {
    let mut count = 0;
    move || {
        count += 1;
        format!("{of}-{count}")
    }
}

async fn leading(standing: &mut watch::Receiver<Standing>) -> Fence {
    match &*standing.wait_for(|standing| matches!(standing, Standing::Leading(_))).await.unwrap() {
        Standing::Leading(fence) => fence.clone(),
        Standing::Following { .. } => unreachable!("waited for the other"),
    }
}

fn put(key: &str) -> Vec<Write> {
    vec![Write::Put { key: key.to_owned(), value: Bytes::from_static(b"v") }]
}

#[tokio::test]
async fn one_leads_and_the_next_fences_it_off() {
    let space = Space::start().await;
    let first = Campaign::start(space.client(), "leader", "a:1", ids("a"));
    let fence = leading(&mut first.standing()).await;
    let second = Campaign::start(space.client(), "leader", "b:2", ids("b"));
    let mut standing = second.standing();
    let follows = Standing::Following { leader: Some("a:1".to_owned()) };
    standing.wait_for(|standing| *standing == follows).await.unwrap();

    let old = Store::new(space.client(), fence);
    let revision = old.commit("r1", put("app")).await.unwrap();
    assert_eq!(old.commit("r1", put("app")).await.unwrap(), revision, "a repetition is done once");

    first.resign().await;
    let new = Store::new(space.client(), leading(&mut standing).await);
    assert!(matches!(old.commit("r2", put("late")).await, Err(CommitError::Deposed)));
    new.commit("r3", vec![Write::Delete { key: "app".to_owned() }]).await.unwrap();
    new.commit("r4", put("apps/x")).await.unwrap();
    let (_, records) = new.load("a").await.unwrap();
    assert_eq!(records.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), ["apps/x"]);
}

#[tokio::test]
async fn a_leader_whose_lease_has_ended_steps_down() {
    let space = Space::start().await;
    let campaign = Campaign::start(space.client(), "leader", "a:1", ids("a"));
    let mut standing = campaign.standing();
    let first = leading(&mut standing).await;
    space.expire();
    let ours = Standing::Leading(first.clone());
    standing.wait_for(|standing| *standing != ours).await.unwrap();
    assert_ne!(leading(&mut standing).await, first, "it leads again, under another fence");
}

#[tokio::test]
async fn a_campaign_that_is_dropped_gives_the_lead_up() {
    let space = Space::start().await;
    let first = Campaign::start(space.client(), "leader", "a:1", ids("a"));
    leading(&mut first.standing()).await;
    drop(first);
    let second = Campaign::start(space.client(), "leader", "b:2", ids("b"));
    leading(&mut second.standing()).await;
}

#[tokio::test]
async fn too_large_a_commit_is_not_sent() {
    let space = Space::start().await;
    let campaign = Campaign::start(space.client(), "leader", "a:1", ids("a"));
    let store = Store::new(space.client(), leading(&mut campaign.standing()).await);
    let many = vec![Write::Delete { key: "k".to_owned() }; sdk::limits::WRITES + 1];
    let refused = store.commit("r1", many).await.unwrap_err().to_string();
    assert_eq!(refused, "129 writes of 129 bytes are too much for one transaction");
}

#[tokio::test]
async fn a_table_changes_only_what_stands_as_expected() {
    let space = Space::start().await;
    let table = Table::<Vec<u32>>::new(space.client(), "jobs/");
    assert_eq!(table.get("a").await.unwrap(), None);
    let first = table.put("r1", "a", &vec![1], Expected::Absent).await.unwrap();
    assert!(matches!(
        table.put("r2", "a", &vec![2], Expected::Absent).await,
        Err(TableError::Changed { key }) if key == "jobs/a"
    ));
    let second = table.put("r3", "a", &vec![3], Expected::Revision(first)).await.unwrap();
    assert!(table.put("r4", "a", &vec![4], Expected::Revision(first)).await.is_err());
    assert!(table.remove("r5", "a", first).await.is_err());
    let record = table.get("a").await.unwrap().unwrap();
    assert_eq!((record.value, record.revision), (vec![3], second));

    for name in ["b", "c", "d"] {
        table.put(&format!("r-{name}"), name, &vec![], Expected::Absent).await.unwrap();
    }
    table.remove("r6", "c", table.get("c").await.unwrap().unwrap().revision).await.unwrap();
    let all = table.all().await.unwrap();
    assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);

    let other = Table::<bool>::new(space.client(), "jobs/");
    let garbled = other.get("a").await.unwrap_err().to_string();
    assert!(garbled.starts_with("record `jobs/a` cannot be read: invalid type"), "{garbled}");
}

#[tokio::test]
async fn a_mirror_follows_and_recovers_from_a_gap() {
    let space = Space::start().await;
    let table = Table::<u32>::new(space.client(), "jobs/");
    for name in ["a", "b", "c", "d", "e"] {
        table.put(name, name, &1, Expected::Absent).await.unwrap();
    }
    let elsewhere = Table::<u32>::new(space.client(), "other/");
    elsewhere.put("o", "a", &1, Expected::Absent).await.unwrap();
    let follower = follow(space.client(), "jobs/");
    let mut mirror = follower.mirror();
    mirror.wait_for(|mirror| mirror.len() == 5).await.unwrap();

    let revision = table.put("more", "f", &2, Expected::Absent).await.unwrap();
    let seen = mirror.wait_for(|mirror| mirror.revision() >= revision).await.unwrap().clone();
    assert_eq!(seen.get("jobs/f").map(|record| &record.value[..]), Some(&b"2"[..]));
    table.remove("less", "f", revision).await.unwrap();
    mirror.wait_for(|mirror| mirror.get("jobs/f").is_none()).await.unwrap();
    assert!(seen.get("jobs/f").is_some(), "a state once taken does not change");

    space.compact("jobs/g");
    mirror.wait_for(|mirror| mirror.get("jobs/g").is_some()).await.unwrap();
}

/// Gives the first term up at once, and is done with the second.
#[derive(Default)]
struct Reluctant {
    fences: Vec<Fence>,
    stepped_down: usize,
}

impl Leader for Reluctant {
    type Done = ();

    async fn lead(&mut self, fence: Fence, _: watch::Receiver<Standing>) -> Option<()> {
        self.fences.push(fence);
        (self.fences.len() > 1).then_some(())
    }

    fn step_down(&mut self) {
        self.stepped_down += 1;
    }
}

#[tokio::test]
async fn who_gives_up_by_itself_hands_the_lead_back() {
    let space = Space::start().await;
    let terms = Terms { state: space.client(), key: "leader".to_owned(), name: "a:1".to_owned() };
    let mut reluctant = Reluctant::default();
    let shown = watch::Sender::new(Standing::Following { leader: None });
    let done = terms.run(&mut reluctant, &shown, &Notify::new(), std::future::pending()).await;
    assert_eq!(done, Some(()));
    assert_ne!(reluctant.fences[0], reluctant.fences[1], "another term, under another fence");
    assert!(reluctant.stepped_down >= 2);
    assert_eq!(*shown.borrow(), Standing::Following { leader: None });
    assert_eq!(space.value("leader"), None);
}
