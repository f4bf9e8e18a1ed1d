//! Clients that read, write and swap the same keys, and what each was told and when: whether one order explains it all is
//! checked afterwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use linear::{Done, Kind, Micros, Operation};
use serde_json::{Value, json};

use super::clients::{Asker, Seen};
use super::dice::Dice;

/// Clients that meet at a key.
pub(super) const CLIENTS: usize = 5;
/// Calls on a key until all go on to the next: the search for an order grows with the history.
const CALLS: u64 = 300;
/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(10);
const NAMESPACE: &str = "registers";

/// What all of them were told.
pub struct Registers {
    began: Instant,
    calls: AtomicU64,
    told: Mutex<Vec<Operation>>,
}

impl Default for Registers {
    fn default() -> Self {
        Self { began: Instant::now(), calls: AtomicU64::new(0), told: Mutex::default() }
    }
}

impl Registers {
    fn now(&self) -> Micros {
        Micros::try_from(self.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// Whether each key's history is linearizable.
    ///
    /// # Errors
    /// The key, and the call that nothing explains.
    pub fn check(&self) -> Result<String, String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = told.iter().filter(|operation| operation.done.is_some()).count();
        let verdicts = linear::by_key(&told, Micros::MAX);
        for (key, verdict) in &verdicts {
            verdict.as_ref().map_err(|why| format!("key {key}: {why}"))?;
        }
        if answered == 0 {
            return Err("no call was answered".to_owned());
        }
        Ok(format!("{answered} of {} calls answered, on {} keys", told.len(), verdicts.len()))
    }
}

/// One client, until it is stopped.
pub(super) async fn run(asker: Asker, client: usize, seen_by_all: Arc<Seen>) {
    let registers = &seen_by_all.registers;
    let mut dice = Dice::new(client as u64 + 1);
    let (mut at, mut number, mut seen) = (client, 0, None);
    while !asker.stopped() {
        let key =
            usize::try_from(registers.calls.fetch_add(1, Ordering::Relaxed) / CALLS).unwrap_or(usize::MAX);
        number += 1;
        let fresh = client as u64 * 1_000_000_000 + number;
        let kind = match dice.below(8) {
            0..=3 => Kind::Read,
            4 => Kind::Write(None),
            5 => Kind::Write(Some(fresh)),
            _ => Kind::Swap { from: seen, to: fresh },
        };
        let invoked = registers.now();
        let answer = asker.ask_master(at, &call(key, kind)).await;
        asker.note(&json!({ "register": key, "asked": format!("{kind:?}"), "of": asker.address(at),
            "sent": invoked, "answer": answer.as_ref().map_err(ToString::to_string) }));
        let operation = |done| Operation { key, kind, invoked, done };
        let operation = match answer {
            Ok((200, body)) => {
                let done = outcome(kind, &body);
                if let Done::Read(value) = done {
                    seen = value;
                }
                Some(operation(Some((registers.now(), done))))
            }
            // Another master leads: nothing was done.
            Ok((307, _)) => None,
            _ => Some(operation(None)),
        };
        if operation.as_ref().is_none_or(|operation| operation.done.is_none()) {
            at += 1;
        }
        registers.told.lock().unwrap_or_else(PoisonError::into_inner).extend(operation);
        tokio::time::sleep(PAUSE).await;
    }
}

fn call(key: usize, kind: Kind) -> Value {
    let key = format!("r{key}");
    let text = |value: u64| STANDARD.encode(value.to_string());
    match kind {
        Kind::Read => json!({ "type": "GET", "namespace": NAMESPACE, "key": key }),
        Kind::Write(None) => {
            json!({ "type": "TXN", "namespace": NAMESPACE, "then": [{ "delete": { "key": key } }] })
        }
        Kind::Write(Some(value)) => {
            let put = json!({ "put": { "key": key, "value": text(value) } });
            json!({ "type": "TXN", "namespace": NAMESPACE, "then": [put] })
        }
        Kind::Swap { from, to } => {
            let compare = match from {
                Some(value) => json!({ "key": key, "value": text(value) }),
                None => json!({ "key": key, "exists": false }),
            };
            let put = json!({ "put": { "key": key, "value": text(to) } });
            json!({ "type": "TXN", "namespace": NAMESPACE, "compare": [compare], "then": [put] })
        }
    }
}

fn outcome(kind: Kind, answer: &Value) -> Done {
    if kind != Kind::Read {
        return Done::Wrote { succeeded: answer["succeeded"] == true };
    }
    let value = answer["entry"]["value"].as_str().map(|text| {
        let bytes = STANDARD.decode(text).expect("base64");
        String::from_utf8(bytes).expect("text").parse().expect("a number that was written")
    });
    Done::Read(value)
}
