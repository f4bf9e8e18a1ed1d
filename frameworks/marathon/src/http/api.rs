//! What the handlers share: views, the way to the supervisor, the event stream, who leads.

use std::sync::Arc;
use std::time::Duration;

use sdk::hub::Hub;
use sdk::leadership::Standing;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::metrics::Metrics;
use super::reply::Failure;
use crate::driver::Config;
use crate::driver::engine::Request;
use crate::supervisor::message::{Command, Origin, Reply};
use crate::supervisor::state::State;

/// How long a request waits for a leader, or for this one to have loaded its records.
const LEADER_WAIT: Duration = Duration::from_millis(2500);

/// What surrounds the API: where it reads, whom it tells.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) config: Arc<Config>,
    pub(crate) standing: watch::Receiver<Standing>,
    /// Absent while this instance does not lead or has not loaded its records.
    pub(crate) view: watch::Receiver<Option<Arc<State>>>,
    /// The event stream of this term of leadership; absent like the view.
    pub(crate) hub: watch::Receiver<Option<Hub>>,
    pub(crate) requests: mpsc::Sender<Request>,
    /// Asks this instance to give the leadership up.
    pub(crate) abdicate: Arc<Notify>,
}

/// Cheap to clone; one for each handler.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(super) around: Arc<Surroundings>,
    /// For passing requests on.
    pub(super) http: reqwest::Client,
    pub(super) metrics: Metrics,
}

impl Api {
    pub(crate) fn new(around: Surroundings) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .build()
            .unwrap_or_default();
        Self { around: Arc::new(around), http, metrics: Metrics::new() }
    }

    /// What is known now.
    ///
    /// # Errors
    /// This instance leads but has not loaded its records in time.
    pub(super) async fn view(&self) -> Result<Arc<State>, Failure> {
        let mut view = self.around.view.clone();
        let loaded = tokio::time::timeout(LEADER_WAIT, view.wait_for(Option::is_some)).await;
        match loaded {
            Ok(Ok(view)) => view.clone().ok_or_else(Failure::not_loaded),
            _ => Err(Failure::not_loaded()),
        }
    }

    pub(super) fn hub(&self) -> Option<Hub> {
        self.around.hub.borrow().clone()
    }

    /// Carries a command out.
    ///
    /// # Errors
    /// The supervisor refused it, or leadership was lost before its outcome was known.
    pub(super) async fn command(&self, origin: Origin, command: Command) -> Result<Reply, Failure> {
        let (answer, answered) = oneshot::channel();
        let sent = self.around.requests.send(Request::Command { origin, command, answer }).await;
        sent.map_err(|_| Failure::outcome_unknown())?;
        match answered.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refusal)) => Err(refusal.into()),
            Err(_) => Err(Failure::outcome_unknown()),
        }
    }

    pub(super) fn leads(&self) -> bool {
        matches!(*self.around.standing.borrow(), Standing::Leading(_))
    }

    /// `HOST:PORT` of the leader, waited for a moment while there is none.
    pub(super) async fn leader(&self) -> Option<String> {
        let mut standing = self.around.standing.clone();
        let known = standing.wait_for(|standing| *standing != Standing::Following { leader: None });
        match tokio::time::timeout(LEADER_WAIT, known).await {
            Ok(Ok(standing)) => self.named(&standing),
            _ => None,
        }
    }

    /// `HOST:PORT` of the leader, if there is one at this moment.
    pub(super) fn leader_now(&self) -> Option<String> {
        self.named(&self.around.standing.borrow())
    }

    fn named(&self, standing: &Standing) -> Option<String> {
        match standing {
            Standing::Leading(_) => Some(self.around.config.advertise.clone()),
            Standing::Following { leader } => leader.clone(),
        }
    }
}
