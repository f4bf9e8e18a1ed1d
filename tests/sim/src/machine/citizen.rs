//! A framework that misbehaves, each in a way the API leaves open. The others must not notice.

use std::collections::VecDeque;

use rand::RngExt;
use wire::scheduler::{Call, call, event};
use wire::v1::{self, framework_info::capability::Type as Capability};

use super::framework::scalar;
use super::subscription::{self, Heard, Subscription};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::faults;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS};

/// The role of all of them.
pub const ROLE: &str = "idle";
/// Offers remembered after their end, to be accepted then.
const STALE: usize = 20;
/// Tasks that are asked about in one call.
const ASKED: usize = 2_000;
/// What one of its tasks and a message carry with them: the edge lets through some more.
const LOAD: usize = 512 << 10;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    /// Declines everything, to be offered it again at once.
    Declines,
    /// Answers no offer.
    Hoards,
    /// Launches one id twice, launches on offers that are over or were never its own, acknowledges what nobody said.
    Lies,
    /// Sends calls as large as they may be: asks about thousands of tasks, launches and talks with half a mebibyte of data.
    Swells,
    /// Subscribes as another framework and drops it, over and over.
    Restless,
    /// Subscribes and reads nothing more.
    Deaf,
}

const VICES: [Vice; 6] = [Vice::Declines, Vice::Hoards, Vice::Lies, Vice::Swells, Vice::Restless, Vice::Deaf];

/// A small task that runs for a while.
fn task(id: &str, agent: &v1::AgentId) -> v1::TaskInfo {
    v1::TaskInfo {
        name: "lie".into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: agent.clone(),
        resources: vec![scalar("cpus", 0.1, ROLE), scalar("mem", 16.0, ROLE)],
        command: Some(v1::CommandInfo { value: Some("run 50 0".into()), ..Default::default() }),
        ..Default::default()
    }
}

/// A machine with such a framework on it.
pub struct Citizen {
    host: Host,
    masters: Vec<(String, Host)>,
    vice: Vice,
    id: Option<v1::FrameworkId>,
    subscription: Option<Subscription>,
    stale: VecDeque<v1::OfferId>,
    made: u64,
    /// The next large launch is due.
    due: bool,
    offers: u64,
    subscriptions: u64,
    calls: u64,
}

impl Citizen {
    pub(crate) fn new(host: Host, masters: &[(String, Host)], cx: &mut Context) -> Self {
        Self {
            host,
            masters: masters.to_vec(),
            vice: VICES[cx.random.random_range(0..VICES.len())],
            id: None,
            subscription: None,
            stale: VecDeque::new(),
            made: 0,
            due: false,
            offers: 0,
            subscriptions: 0,
            calls: 0,
        }
    }

    fn subscribe(&mut self, cx: &mut Context) {
        if let Some(mut left) = self.subscription.take() {
            left.hang_up(cx);
        }
        let kinds = [Capability::PartitionAware, Capability::MultiRole];
        let mut info = subscription::info(&format!("{:?}", self.vice), ROLE, &kinds);
        info.id.clone_from(&self.id);
        if self.vice == Vice::Restless {
            // Nobody misses one that is dropped.
            info.failover_timeout = Some(0.0);
        }
        self.subscription = Some(Subscription::begin(self.host, &self.masters, info, cx));
    }

    fn call(&mut self, kind: call::Type, fill: impl FnOnce(&mut Call), cx: &mut Context) {
        let Some(subscription) = &mut self.subscription else { return };
        let mut call = Call { r#type: Some(kind.into()), ..Call::default() };
        fill(&mut call);
        self.calls += u64::from(subscription.call(call, cx).is_some());
    }

    fn event(&mut self, record: wire::scheduler::Event, cx: &mut Context) {
        match record.r#type() {
            event::Type::Subscribed => {
                self.subscriptions += 1;
                if self.vice != Vice::Restless {
                    self.id = record.subscribed.map(|subscribed| subscribed.framework_id);
                }
                if self.vice == Vice::Deaf && !cx.judge.healed {
                    let long = cx.weather.storm;
                    faults::pause_for(self.host, long, cx);
                }
            }
            event::Type::Offers => {
                for offer in record.offers.map(|offers| offers.offers).unwrap_or_default() {
                    self.offers += 1;
                    self.offer(&offer, cx);
                }
            }
            event::Type::Update => {
                if let Some(update) = record.update {
                    self.update(update.status, cx);
                }
            }
            _ => {}
        }
    }

    fn offer(&mut self, offer: &v1::Offer, cx: &mut Context) {
        let decline = |call: &mut Call| {
            let filters = Some(v1::Filters { refuse_seconds: Some(0.2) });
            call.decline = Some(call::Decline { offer_ids: vec![offer.id.clone()], filters });
        };
        match self.vice {
            Vice::Declines => self.call(call::Type::Decline, decline, cx),
            Vice::Lies => {
                self.stale.push_back(offer.id.clone());
                if self.stale.len() > STALE {
                    self.stale.pop_front();
                }
                if cx.judge.healed {
                    return self.call(call::Type::Decline, decline, cx);
                }
                self.made += 1;
                let twice = task(&format!("lie{}", self.made), &offer.agent_id);
                self.launch(offer.id.clone(), vec![twice.clone(), twice], cx);
            }
            Vice::Swells if cx.judge.healed || !std::mem::take(&mut self.due) => {
                self.call(call::Type::Decline, decline, cx);
            }
            Vice::Swells => {
                self.made += 1;
                let mut large = task(&format!("large{}", self.made), &offer.agent_id);
                large.data = Some(vec![7; LOAD].into());
                let mut greedy = task(&format!("greedy{}", self.made), &offer.agent_id);
                greedy.resources.push(scalar("cpus", 100_000.0, ROLE));
                self.launch(offer.id.clone(), vec![large, greedy], cx);
            }
            Vice::Hoards | Vice::Restless | Vice::Deaf => {}
        }
    }

    fn launch(&mut self, offer: v1::OfferId, tasks: Vec<v1::TaskInfo>, cx: &mut Context) {
        let launch = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch.into()),
            launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
            ..Default::default()
        };
        let filters = Some(v1::Filters { refuse_seconds: Some(1.0) });
        let accept = call::Accept { offer_ids: vec![offer], operations: vec![launch], filters };
        self.call(call::Type::Accept, |call| call.accept = Some(accept), cx);
    }

    /// What really ran is acknowledged, as the agent would repeat it for ever.
    fn update(&mut self, status: v1::TaskStatus, cx: &mut Context) {
        let framework = self.id.as_ref().map_or("", |id| id.value.as_str());
        cx.judge.updates.received(framework, &status);
        let uuid = status.uuid.filter(|uuid| !uuid.is_empty());
        if let (Some(uuid), Some(agent_id)) = (uuid, status.agent_id) {
            let acknowledge = call::Acknowledge { agent_id, task_id: status.task_id, uuid };
            self.call(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge), cx);
        }
    }

    fn misbehave(&mut self, cx: &mut Context) {
        let pause = cx.between((300 * MS, 1_500 * MS));
        cx.later(self.host, pause, Due::Next);
        match self.vice {
            Vice::Restless => self.subscribe(cx),
            Vice::Lies => self.lie(cx),
            Vice::Swells => self.swell(cx),
            Vice::Declines | Vice::Hoards | Vice::Deaf => {}
        }
    }

    /// Calls that make no sense.
    fn lie(&mut self, cx: &mut Context) {
        let agent = v1::AgentId { value: "S-nowhere".into() };
        let foreign = v1::OfferId { value: format!("O-{}", cx.random.random_range(0..1_000_u32)) };
        let offer = self.stale.front().filter(|_| cx.chance(5_000)).cloned().unwrap_or(foreign);
        self.made += 1;
        let stale = task(&format!("stale{}", self.made), &agent);
        self.launch(offer, vec![stale.clone(), stale], cx);
        let acknowledge = call::Acknowledge {
            agent_id: agent,
            task_id: v1::TaskId { value: "nothing".into() },
            uuid: vec![7; 16].into(),
        };
        self.call(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge), cx);
    }

    /// Calls that are large and right.
    fn swell(&mut self, cx: &mut Context) {
        self.due = true;
        let asked = |number| call::reconcile::Task {
            task_id: v1::TaskId { value: format!("nothing{number}") },
            agent_id: None,
        };
        let reconcile = call::Reconcile { tasks: (0..ASKED).map(asked).collect() };
        self.call(call::Type::Reconcile, |call| call.reconcile = Some(reconcile), cx);
        let message = call::Message {
            agent_id: v1::AgentId { value: "S-nowhere".into() },
            executor_id: v1::ExecutorId { value: "nobody".into() },
            data: vec![7; LOAD].into(),
        };
        self.call(call::Type::Message, |call| call.message = Some(message), cx);
    }

    fn told(&mut self, heard: Option<Heard>, cx: &mut Context) {
        if let Some(Heard::Event(event)) = heard {
            self.event(*event, cx);
        }
    }
}

impl Machine for Citizen {
    fn start(&mut self, cx: &mut Context) {
        self.subscribe(cx);
        cx.later(self.host, 500 * MS, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        let Some(subscription) = &mut self.subscription else { return };
        if matches!(what, Due::Next) {
            return self.misbehave(cx);
        }
        let heard = subscription.due(&what, cx);
        self.told(heard, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(subscription) = &mut self.subscription else { return };
        let heard = subscription.heard(conn, frame, cx);
        self.told(heard, cx);
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {
        self.subscription = None;
    }

    /// Nobody waits for it.
    fn unfinished(&self, _: &Context) -> Vec<String> {
        Vec::new()
    }

    fn report(&self) -> String {
        format!(
            "{:?}: subscribed {} times, was offered {} times, made {} calls",
            self.vice, self.subscriptions, self.offers, self.calls
        )
    }
}
