//! A term of leadership, from reading the records to the end of the lease.

use std::time::{SystemTime, UNIX_EPOCH};

use model::id::FrameworkId;
use model::time::Time;
use sdk::leadership::{Fence, Standing};
use sdk::store::Store;
use sdk::{Masters, Notice, State as KeyValues};
use tokio::sync::{mpsc, watch};
use wire::scheduler::call::Subscribe;
use wire::v1::{FrameworkInfo, framework_info};

use super::calls::Calls;
use super::engine::{Engine, Outside, Request};
use super::{Config, scheduler, store};
use crate::supervisor::message::{Call, Commit, Input};

/// The master's words for a framework that it has ended.
const REMOVED: &str = "Framework has been removed";

/// What a leader works with.
pub(super) struct Leader<'a> {
    pub(super) config: &'a Config,
    pub(super) masters: &'a Masters,
    pub(super) state: &'a KeyValues,
    pub(super) fence: Fence,
}

impl Leader<'_> {
    /// Leads until the standing changes.
    pub(super) async fn lead(
        self,
        engine: &mut Engine,
        requests: &mut mpsc::Receiver<Request>,
        mut standing: watch::Receiver<Standing>,
    ) {
        let ours = Standing::Leading(self.fence.clone());
        let records = tokio::select! {
            records = store::load(self.state, &self.fence) => records,
            _ = standing.wait_for(|standing| *standing != ours) => return,
        };
        let (inputs, mut results) = mpsc::channel(16);
        let mut world = World {
            config: self.config,
            masters: self.masters,
            store: Store::new(self.state.clone(), self.fence),
            inputs,
            session: None,
        };
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        engine.input(now(), Input::Elected { seed: [high, low], records }, &mut world);
        loop {
            let input = tokio::select! {
                _ = standing.wait_for(|standing| *standing != ours) => break,
                Some(request) = requests.recv() => {
                    engine.request(now(), request, &mut world);
                    continue;
                }
                Some(result) = results.recv() => result,
                notice = notice(&mut world.session) => heard(notice),
                () = until(engine.next_deadline()) => Input::Wake,
            };
            if matches!(input, Input::Deposed) {
                break;
            }
            engine.input(now(), input, &mut world);
        }
        engine.abandon();
        while requests.try_recv().is_ok() {}
    }
}

/// Milliseconds since the Unix epoch: versions and timestamps are made of it.
pub(crate) fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

async fn until(deadline: Option<Time>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(now()).as_duration()).await,
        None => std::future::pending().await,
    }
}

/// The next notice of the subscription; `None` once it has ended for good.
async fn notice(session: &mut Option<Session>) -> Option<Notice> {
    match session {
        None => std::future::pending().await,
        Some(open) => {
            let notice = open.notices.recv().await;
            if notice.is_none() {
                *session = None;
            }
            notice
        }
    }
}

fn heard(notice: Option<Notice>) -> Input {
    match notice {
        Some(Notice::Event(event)) => {
            if let Some(message) = scheduler::error(&event) {
                tracing::error!(message, "the master ended the subscription");
                return if message.contains(REMOVED) { Input::FrameworkRemoved } else { Input::Disconnected };
            }
            scheduler::input(*event).unwrap_or(Input::Wake)
        }
        Some(Notice::Disconnected { reason }) => {
            tracing::warn!(reason, "the subscription is broken");
            Input::Disconnected
        }
        None => Input::Disconnected,
    }
}

/// A subscription and the way to make calls on it.
struct Session {
    calls: Calls,
    notices: mpsc::Receiver<Notice>,
}

/// The store and the master, as the supervisor's effects reach them.
struct World<'a> {
    config: &'a Config,
    masters: &'a Masters,
    store: Store,
    inputs: mpsc::Sender<Input>,
    session: Option<Session>,
}

impl Outside for World<'_> {
    fn commit(&mut self, commit: Commit) {
        tokio::spawn(store::commit(self.store.clone(), commit, self.inputs.clone()));
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Subscribe { framework } => {
                let seed = uuid::Uuid::new_v4().as_u64_pair().0;
                let subscribe = subscription(self.config, framework);
                let (caller, notices) = sdk::subscribe(self.masters.clone(), subscribe, seed);
                let calls = Calls::start(caller, self.inputs.clone());
                self.session = Some(Session { calls, notices });
            }
            Call::Disconnect => self.session = None,
            call => {
                if let Some(session) = &self.session {
                    session.calls.send(call);
                }
            }
        }
    }
}

/// A week: an outage of every supervisor must not end the apps.
pub(crate) const FAILOVER_TIMEOUT: f64 = 604_800.0;

fn subscription(config: &Config, framework: Option<FrameworkId>) -> Subscribe {
    use framework_info::capability::Type;
    let capability = |kind: Type| framework_info::Capability { r#type: Some(kind.into()) };
    let capabilities =
        [Type::PartitionAware, Type::TaskKillingState, Type::MultiRole, Type::ReservationRefinement];
    let host = config.advertise.rsplit_once(':').map_or(config.advertise.as_str(), |(host, _)| host);
    let framework_info = FrameworkInfo {
        name: "marathon".to_owned(),
        id: framework.map(Into::into),
        failover_timeout: Some(FAILOVER_TIMEOUT),
        checkpoint: Some(true),
        roles: vec![config.role.clone()],
        hostname: Some(host.to_owned()),
        webui_url: Some(format!("http://{}", config.advertise)),
        capabilities: capabilities.map(capability).to_vec(),
        ..Default::default()
    };
    Subscribe { framework_info, ..Default::default() }
}
