//! A subscription that outlives masters, in the nouns of the model: what is heard, and the way to make calls.

use client::Masters;
use client::scheduler::{CallError, Caller, Notice, subscribe};
use model::id::{FrameworkId, OfferId, TaskId};
use tokio::sync::mpsc;
use wire::scheduler::call::Subscribe;
use wire::scheduler::{Call, Event};
use wire::v1::FrameworkInfo;

use crate::lanes::Lanes;
use crate::limits;
use crate::offer::Offer;
use crate::update::Update;

/// The master's words for a framework that it has ended (spec mesos-v1, section 5.1).
const REMOVED: &str = "Framework has been removed";

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// A stream has begun, also after a failover: reconcile. Offers of streams before are void.
    Subscribed {
        /// The framework's id: to be stored, for the next instance to subscribe with.
        framework: FrameworkId,
        /// The master's name.
        master: String,
    },
    /// Resources of agents. Those that cannot be read are left out.
    Offers(Vec<Offer>),
    /// An offer is taken back.
    Rescinded(OfferId),
    /// How a task stands.
    Update(Update),
    /// Any other event.
    Other(Box<Event>),
    /// The master may or may not have taken the launch of these tasks: ask how they stand, a little later.
    Uncertain(Vec<TaskId>),
    /// The stream is broken; another master is looked for. Offers are void, calls are not taken.
    Lost {
        /// For the log.
        reason: String,
    },
    /// The master ended the subscription. Nothing is heard any more.
    Ended {
        /// The framework is no more, nor are its tasks: subscribing anew needs a new id.
        removed: bool,
        /// The master's words.
        message: String,
    },
}

/// A subscription; it ends when it is dropped, which leaves the framework and its tasks in place.
#[derive(Debug)]
pub struct Subscription {
    caller: Caller,
    lanes: Lanes,
    notices: mpsc::Receiver<Notice>,
    uncertain: mpsc::Receiver<Vec<TaskId>>,
}

impl Subscription {
    /// Subscribes as `info` says; with an id in it, as the framework of that id.
    pub fn start(masters: Masters, info: FrameworkInfo) -> Self {
        // Two instances that lost one master must not come back in step.
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let asked = Subscribe { framework_info: info, ..Default::default() };
        let (caller, notices) = subscribe(masters, asked, seed);
        let (report, uncertain) = mpsc::channel(limits::UNCERTAIN);
        Self { lanes: Lanes::start(caller.clone(), report), caller, notices, uncertain }
    }

    /// Sends a call when its turn comes; see [`Lanes::send`].
    pub fn send(&self, call: Call) {
        self.lanes.send(call);
    }

    /// Sends a call now, past those that wait, and says what came of it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, call: Call) -> Result<(), CallError> {
        self.caller.call(call).await
    }

    /// The next that is heard. Safe to drop while it waits: nothing is lost.
    pub async fn next(&mut self) -> Heard {
        loop {
            let notice = tokio::select! {
                notice = self.notices.recv() => notice,
                Some(tasks) = self.uncertain.recv() => return Heard::Uncertain(tasks),
            };
            match notice {
                Some(Notice::Disconnected { reason }) => return Heard::Lost { reason },
                Some(Notice::Event(event)) => {
                    if let Some(heard) = Heard::read(event) {
                        return heard;
                    }
                }
                // After an ERROR.
                None => std::future::pending().await,
            }
        }
    }
}

impl Heard {
    /// What an event says; `None` for an update in a state that this version does not know.
    pub fn read(mut event: Box<Event>) -> Option<Self> {
        if let Some(subscribed) = event.subscribed {
            let master = subscribed.master_info.and_then(|info| info.hostname).unwrap_or_default();
            return Some(Self::Subscribed { framework: subscribed.framework_id.into(), master });
        }
        if let Some(offers) = event.offers {
            return Some(Self::Offers(offers.offers.into_iter().filter_map(offer).collect()));
        }
        if let Some(update) = event.update {
            return Update::from_wire(update.status).map(Self::Update);
        }
        if let Some(error) = event.error {
            let removed = error.message.contains(REMOVED);
            return Some(Self::Ended { removed, message: error.message });
        }
        if let Some(rescind) = event.rescind.take() {
            return Some(Self::Rescinded(rescind.offer_id.into()));
        }
        Some(Self::Other(event))
    }
}

fn offer(offer: wire::v1::Offer) -> Option<Offer> {
    match Offer::from_wire(offer) {
        Ok(offer) => Some(offer),
        Err(error) => {
            tracing::warn!(%error, "an offer is left to time out");
            None
        }
    }
}
