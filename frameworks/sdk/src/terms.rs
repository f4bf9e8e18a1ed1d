//! Leadership in turns: run for it, lead, step down, and again, until asked to end.

use client::state::State;
use tokio::sync::{Notify, watch};

use crate::leadership::{Campaign, Fence, Standing};
use crate::limits;

/// Who does the leading.
pub trait Leader: Send {
    /// What it ends with when it is done for good.
    type Done: Send;

    /// Leads until `standing` is no longer leadership under this fence, or until everything is done. It may be dropped
    /// at any point where it waits.
    fn lead(
        &mut self,
        fence: Fence,
        standing: watch::Receiver<Standing>,
    ) -> impl Future<Output = Option<Self::Done>> + Send;

    /// Leads no more: called after each term, however it ended, before another instance is let in.
    fn step_down(&mut self);
}

/// What is run for, and under which name.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The key-value namespace that the instances share.
    pub state: State,
    /// The key whose holder leads.
    pub key: String,
    /// What standbys are told of the one that leads: its address.
    pub name: String,
}

impl Terms {
    /// Runs for leadership and leads, in turns, until `shutdown` resolves (`None`) or the leader is done for good.
    ///
    /// `shown` always says how this instance stands. `abdicate` gives leadership up by request, and leaves it to another
    /// instance for [`limits::ABDICATION`].
    pub async fn run<L: Leader>(
        &self,
        leader: &mut L,
        shown: &watch::Sender<Standing>,
        abdicate: &Notify,
        shutdown: impl Future<Output = ()>,
    ) -> Option<L::Done> {
        tokio::pin!(shutdown);
        loop {
            let ids = || uuid::Uuid::new_v4().to_string();
            let campaign = Campaign::start(self.state.clone(), &self.key, &self.name, ids);
            let ended = tokio::select! {
                done = terms(leader, shown, campaign.standing()) => Ended::Done(done),
                () = abdicate.notified() => Ended::Abdicated,
                () = &mut shutdown => Ended::Shutdown,
            };
            let before = shown.send_replace(Standing::Following { leader: None });
            leader.step_down();
            let resigned = tokio::time::timeout(limits::RESIGN, campaign.resign()).await;
            if resigned.is_err() && matches!(before, Standing::Leading(_)) {
                tracing::warn!("leadership could not be handed back and will run out");
            }
            match ended {
                Ended::Done(Some(done)) => return Some(done),
                Ended::Shutdown => return None,
                Ended::Done(None) => {}
                Ended::Abdicated => tokio::time::sleep(limits::ABDICATION).await,
            }
        }
    }
}

/// Why a campaign is over.
enum Ended<D> {
    /// With `None` the campaign ended by itself.
    Done(Option<D>),
    Abdicated,
    Shutdown,
}

/// The terms of one campaign.
async fn terms<L: Leader>(
    leader: &mut L,
    shown: &watch::Sender<Standing>,
    mut standing: watch::Receiver<Standing>,
) -> Option<L::Done> {
    loop {
        let present = standing.borrow_and_update().clone();
        shown.send_replace(present.clone());
        if let Standing::Leading(fence) = present {
            let done = leader.lead(fence, standing.clone()).await;
            leader.step_down();
            if done.is_some() {
                return done;
            }
            // It has seen before the campaign that it does not lead, or gave up by itself: then the leadership that is
            // left is handed back, or nobody would lead.
            let lost = tokio::time::timeout(limits::LEADERSHIP, standing.changed()).await;
            if lost.is_err() {
                return None;
            }
            continue;
        }
        standing.changed().await.ok()?;
    }
}
