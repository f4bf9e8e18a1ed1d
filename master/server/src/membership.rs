//! Changes of the group while it runs: whoever asked for one hears what became of it, and newcomers that have caught up
//! get their vote.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use replica::thread::Handle;
use replica::{Change, Members, NodeId, NotNow, Standing as MemberStanding, Status, Ticket};
use tokio::sync::oneshot;

use crate::app::{App, Standing};
use crate::limits;
use crate::machine::Registrar;

/// Tickets of changes begin here; the core counts its own from below.
const FIRST_TICKET: u64 = 1 << 63;

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotMade {
    #[error(transparent)]
    Refused(#[from] NotNow),
    /// Leadership was lost on the way: nobody here knows whether the next leader will find it in its log.
    #[error("leadership changed while the change was under way; look at the members before asking again")]
    Unknown,
}

type Answer = Result<(), NotMade>;

/// The changes under way that somebody waits for.
pub(crate) struct Changes {
    handle: OnceLock<Handle<Registrar>>,
    waiting: Mutex<BTreeMap<Ticket, oneshot::Sender<Answer>>>,
    next: AtomicU64,
}

impl Default for Changes {
    fn default() -> Self {
        Self { handle: OnceLock::new(), waiting: Mutex::default(), next: AtomicU64::new(FIRST_TICKET) }
    }
}

impl Changes {
    /// The replica is there.
    pub(crate) fn attach(&self, handle: Handle<Registrar>) {
        // Called once, by whoever started the replica.
        let _ = self.handle.set(handle);
    }

    /// Proposes a change and waits until it was applied here. Resolves in any case: a deposed leader gives up its tickets.
    pub(crate) async fn make(&self, change: Change) -> Answer {
        let Some(handle) = self.handle.get() else { return Err(NotNow::NotLeader { leader: None }.into()) };
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.locked().insert(ticket, sender);
        if let Err(error) = handle.change(ticket, change) {
            self.locked().remove(&ticket);
            return Err(error.into());
        }
        answer.await.unwrap_or(Err(NotMade::Unknown))
    }

    /// Passes leadership on to another member.
    pub(crate) fn hand_over(&self) {
        if let Some(handle) = self.handle.get() {
            handle.hand_over();
        }
    }

    /// Says what became of a ticket; `false` if it is none of ours.
    pub(crate) fn settle(&self, ticket: Ticket, answer: Answer) -> bool {
        if ticket.0 < FIRST_TICKET {
            return false;
        }
        if let Some(sender) = self.locked().remove(&ticket) {
            // Whoever asked may have gone.
            let _ = sender.send(answer);
        }
        true
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ticket, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives newcomers their vote while this master leads, for as long as the process lives.
pub(crate) async fn promote_newcomers(app: Arc<App>) {
    let Some(group) = app.group.get() else { return };
    let mut status = group.status.subscribe();
    while status.changed().await.is_ok() {
        let ready = status.borrow_and_update().as_ref().and_then(|status| {
            let leads = matches!(*app.standing.borrow(), Standing::Leading { .. });
            if leads { caught_up(&group.members.borrow(), status) } else { None }
        });
        let Some(node) = ready else { continue };
        match group.changes.make(Change::Promote { node }).await {
            Ok(()) => tracing::info!(%node, "a new member has caught up and votes now"),
            Err(error) => {
                tracing::warn!(%node, %error, "a new member cannot be given its vote yet");
                tokio::time::sleep(limits::PROMOTION_PAUSE).await;
            }
        }
    }
}

/// A learner that lacks next to nothing. A vote given earlier would make the group wait for it at each commit.
fn caught_up(members: &Members, status: &Status) -> Option<NodeId> {
    let held = |id: NodeId| status.matched.get(&id).copied().unwrap_or_default();
    members
        .iter()
        .filter(|member| member.standing == MemberStanding::Learner)
        .map(|member| member.id)
        .find(|id| held(*id) > 0 && held(*id) + limits::PROMOTION_LAG >= status.committed)
}
