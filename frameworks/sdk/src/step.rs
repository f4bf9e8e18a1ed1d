//! What a scheduler decides in answer to one event: records to store, calls to make.

use bytes::Bytes;
use model::id::{AgentId, OfferId, TaskId};
use model::time::{Span, Time};
use serde::Serialize;
use wire::scheduler::Call;
use wire::v1::offer::Operation;

use crate::engine::Effect;
use crate::offer::Offer;
use crate::scheduler::RunError;
use crate::store::Write;
use crate::task::Task;
use crate::{call, limits};

/// The decisions of one step, collected. Nothing is done while it is being filled. Then its records are stored, all in one
/// transaction that holds only while this instance leads; and only when they are, its calls are sent and the update that
/// caused it is acknowledged. So a task is never launched that no record speaks of, and no update is lost that was
/// acknowledged.
///
/// Calls that concern no task in particular (REVIVE, SUPPRESS, DECLINE, RECONCILE) need not wait for the store, and do so
/// only behind a launch that waits: a REVIVE that overtook it would not undo the refusal that comes with it, and asked about
/// a task that is not launched yet the master says that there is none.
#[derive(Debug)]
pub struct Step {
    now: Time,
    /// What the keys of the scheduler's records begin with in the store.
    prefix: &'static str,
    /// Transactions that are closed.
    pub(crate) parts: Vec<Vec<Write>>,
    pub(crate) writes: Vec<Write>,
    pub(crate) effects: Vec<Effect>,
    /// Offers answered for in this step.
    pub(crate) answered: Vec<OfferId>,
    pub(crate) revived: bool,
    pub(crate) finished: bool,
    pub(crate) failed: Option<RunError>,
    refuse: Span,
}

impl Step {
    pub(crate) fn new(now: Time, refuse: Span, prefix: &'static str) -> Self {
        Self {
            now,
            prefix,
            parts: Vec::new(),
            writes: Vec::new(),
            effects: Vec::new(),
            answered: Vec::new(),
            revived: false,
            finished: false,
            failed: None,
            refuse,
        }
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Launches tasks with what was taken of an offer, and gives the rest back. Without tasks it declines.
    pub fn launch(&mut self, offer: Offer, tasks: Vec<Task>) {
        if tasks.is_empty() {
            return self.decline(&offer, self.refuse);
        }
        let infos = tasks.into_iter().map(|task| task.into_wire(&offer)).collect();
        self.accept(vec![offer], vec![call::launch(infos)]);
    }

    /// Does operations of any kind, in order, with the resources of offers of one agent, and gives the rest back:
    /// reservations, volumes, task groups.
    pub fn accept(&mut self, offers: Vec<Offer>, operations: Vec<Operation>) {
        let offers: Vec<OfferId> = offers.into_iter().map(|offer| offer.id).collect();
        self.answered.extend(offers.iter().cloned());
        self.call(call::accept(offers, operations, self.refuse));
    }

    /// Gives an offer back and does not want these resources for `refuse`. Offers that a step says nothing of are
    /// declined for the time of [`crate::scheduler::Settings::refuse`].
    pub fn decline(&mut self, offer: &Offer, refuse: Span) {
        self.answered.push(offer.id.clone());
        self.call(call::decline(vec![offer.id.clone()], refuse));
    }

    /// Holds an offer back, to be answered in a later step. Others cannot use it meanwhile, and the master may take it
    /// back.
    pub fn keep(&mut self, offer: &Offer) {
        self.answered.push(offer.id.clone());
    }

    /// Ends a task. Its end is told by an update.
    pub fn kill(&mut self, task: &TaskId, agent: Option<&AgentId>) {
        self.call(call::kill(task.clone(), agent.cloned(), None));
    }

    /// Asks for offers at once, also of what was refused: there is something new to launch.
    pub fn revive(&mut self) {
        self.revived = true;
    }

    /// Stores a record as JSON, in place of the one under this key.
    ///
    /// One that is larger than [`limits::RECORD_BYTES`], has too long a key or is no JSON ends the run with
    /// [`RunError::Record`].
    pub fn put(&mut self, key: impl Into<String>, value: &(impl Serialize + ?Sized)) {
        let key = key.into();
        match serde_json::to_vec(value) {
            Ok(bytes) => self.put_bytes(key, bytes),
            Err(error) => self.fail(key, error.to_string()),
        }
    }

    /// As [`Self::put`], for a scheduler that writes its records in its own way.
    pub fn put_bytes(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        if self.stored(&key).len() > limits::KEY_BYTES {
            let (len, most) = (key.len(), limits::KEY_BYTES - self.prefix.len());
            self.fail(key, format!("its key has {len} bytes, at most {most} are allowed"));
        } else if value.len() > limits::RECORD_BYTES {
            let (len, most) = (value.len(), limits::RECORD_BYTES);
            self.fail(key, format!("it has {len} bytes, at most {most} are allowed"));
        } else {
            self.writes.push(Write::Put { key: self.stored(&key), value });
        }
    }

    /// Removes the record under a key, if there is one.
    pub fn delete(&mut self, key: &str) {
        let key = self.stored(key);
        // Under a longer one there is none.
        if key.len() <= limits::KEY_BYTES {
            self.writes.push(Write::Delete { key });
        }
    }

    /// What this step stores so far need not be stored together with what follows. A step of more records than one
    /// transaction takes ([`limits::WRITES`], [`limits::WRITE_BYTES`]) is stored in parts, one after the other; it is divided
    /// here, and anywhere only if there are too many between two such places. The calls wait for the last part.
    pub fn part(&mut self) {
        let writes = std::mem::take(&mut self.writes);
        if !writes.is_empty() {
            self.parts.push(writes);
        }
    }

    /// Does something of this process when the step is stored, in its turn among the calls: readers are told, for example.
    /// It must not block.
    pub fn then(&mut self, act: impl FnOnce() + Send + 'static) {
        self.effects.push(Effect::Reply(Box::new(act)));
    }

    /// Makes a call of the API for which there is no method here.
    pub fn call(&mut self, call: Call) {
        self.effects.push(Effect::Call(Box::new(call)));
    }

    /// Everything is done: the framework leaves the cluster, with whatever tasks it still has, and the run ends. Records
    /// stay.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    fn stored(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn fail(&mut self, key: String, reason: String) {
        self.failed.get_or_insert(RunError::Record { key, reason });
    }
}
