//! A watcher of the keys that are written while things break, which goes on at whichever master leads after the last
//! revision it was told of: every acknowledged key comes once, and revisions only grow.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{Asker, NAMESPACE, Seen};
use crate::records::Records;

/// A master that lives says something every five seconds: after two that are missing another is asked.
const SILENCE: Duration = Duration::from_secs(11);
const PAUSE: Duration = Duration::from_millis(100);
/// When nobody writes any more, the rest is told in so long.
const REST: Duration = Duration::from_secs(60);

/// What the watch told.
#[derive(Default)]
pub struct Watches(Mutex<Told>);

#[derive(Default)]
struct Told {
    keys: BTreeSet<String>,
    /// Everything up to here was told.
    revision: u64,
    streams: usize,
    wrong: Option<String>,
}

impl Told {
    /// Takes a record. Whether it says that there is nothing more to tell now.
    fn take(&mut self, record: &Value) -> bool {
        let revision = record["revision"].as_u64().unwrap_or_default();
        match record["type"].as_str() {
            Some("EVENTS") => {
                let mut last = self.revision;
                for event in record["events"].as_array().into_iter().flatten() {
                    last = self.event(event, last);
                }
                self.told_up_to(revision, last);
            }
            Some("PROGRESS") => {
                self.told_up_to(revision, self.revision);
                return true;
            }
            Some("COMPACTED") => self.is_wrong(format!("changes up to {revision} were no longer kept")),
            _ => {}
        }
        false
    }

    fn event(&mut self, event: &Value, last: u64) -> u64 {
        let entry = &event["entry"];
        let (key, at) = (entry["key"].as_str(), entry["modRevision"].as_u64().unwrap_or_default());
        if at <= self.revision || at < last {
            self.is_wrong(format!("revision {at} came after {last}"));
        }
        if !self.keys.insert(key.unwrap_or_default().to_owned()) {
            self.is_wrong(format!("{event} came twice"));
        }
        at
    }

    fn told_up_to(&mut self, revision: u64, last: u64) {
        if revision < last {
            self.is_wrong(format!("up to {revision} was told, after {last}"));
        }
        self.revision = revision;
    }

    fn is_wrong(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }
}

impl Watches {
    /// Whether every acknowledged key came, and nothing twice or out of order.
    ///
    /// # Errors
    /// What did not come, or how.
    pub(super) fn check(&self, acknowledged: &[String]) -> Result<String, String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &told.wrong {
            return Err(why.clone());
        }
        let missed: Vec<&String> = acknowledged.iter().filter(|key| !told.keys.contains(*key)).collect();
        if let [first, ..] = &*missed {
            let many = missed.len();
            return Err(format!("{many} of {} keys were not told, the first {first}", acknowledged.len()));
        }
        if told.keys.is_empty() {
            return Err("nothing was told".to_owned());
        }
        Ok(format!("{} changes on {} streams", told.keys.len(), told.streams))
    }
}

/// Watches until nobody writes any more and everything has been told.
pub(super) async fn follow(asker: Asker, seen: Arc<Seen>) {
    let locked = || seen.watches.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut since = None;
    for at in 0.. {
        let rest = asker.stopped().then(|| *since.get_or_insert_with(Instant::now));
        if rest.is_some_and(|since: Instant| since.elapsed() > REST) {
            return;
        }
        let from = locked().revision + 1;
        let call = json!({ "type": "WATCH", "namespace": NAMESPACE, "from": from });
        let opened = tokio::time::timeout(SILENCE, asker.open(at, &call)).await;
        let Ok(Ok(answer)) = opened else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if answer.status() != 200 {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let mut records = Records::of(answer);
        locked().streams += 1;
        while let Ok(Some(record)) = tokio::time::timeout(SILENCE, records.next()).await {
            asker.note(&json!({ "watched": record, "from": asker.address(at) }));
            let at_rest = locked().take(&record);
            if at_rest && asker.stopped() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(revision: u64, keys: &[(&str, u64)]) -> Value {
        let event =
            |(key, at): &(&str, u64)| json!({ "type": "PUT", "entry": { "key": key, "modRevision": at } });
        json!({ "type": "EVENTS", "revision": revision, "events": keys.iter().map(event).collect::<Vec<_>>() })
    }

    fn verdict(records: &[Value]) -> Result<String, String> {
        let watches = Watches::default();
        for record in records {
            watches.0.lock().expect("no panic").take(record);
        }
        watches.check(&["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn gaps_repetitions_and_steps_back_are_found() {
        let first = events(5, &[("a", 5)]);
        assert!(verdict(&[first.clone(), events(9, &[("b", 7)])]).is_ok());
        assert!(verdict(std::slice::from_ref(&first)).is_err(), "one is missing");
        assert!(verdict(&[first.clone(), events(9, &[("b", 7), ("a", 8)])]).is_err(), "one comes twice");
        assert!(verdict(&[first.clone(), events(9, &[("b", 4)])]).is_err(), "one comes late");
        assert!(verdict(&[events(9, &[("a", 8), ("b", 7)])]).is_err(), "two are in the wrong order");
        let gone = json!({ "type": "COMPACTED", "revision": 3 });
        assert!(verdict(&[first, gone, events(9, &[("b", 7)])]).is_err(), "some were forgotten");
    }
}
