//! A framework that reserves resources, makes volumes of them and gives them back, and launches nothing.
//!
//! Its operations have ids, so that it hears from the agent's disk what became of each. At rest it declines whatever is its
//! own for a second or two, again and again.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{AgentId, OperationId};
use model::resources::Bag;
use rand::RngExt;
use wire::scheduler::{Call, call, event};
use wire::v1::offer::operation;
use wire::v1::{self, OperationState, framework_info::capability::Type as Capability};

use super::subscription::{self, Heard, Subscription, Taken};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, Micros, SECOND};

/// Its role.
pub const ROLE: &str = "tenant";
/// Agents on which it has something at a time.
const PLOTS: usize = 4;
/// What it reserves of each: processors, megabytes of memory and of disk.
const LOT: [(&str, f64); 3] = [("cpus", 0.5), ("mem", 32.0), ("disk", 64.0)];
/// For how long it declines what is of no interest, in seconds.
const NEVER: u32 = 3_600;

/// A machine with such a framework on it. What it asked for is as good as stored: it writes before it asks.
pub struct Tenant {
    host: Host,
    masters: Vec<(String, Host)>,
    id: Option<v1::FrameworkId>,
    plots: BTreeSet<AgentId>,
    asked: BTreeMap<OperationId, Asked>,
    made: u64,
    run: Option<Running>,
    finished: u64,
    failed: u64,
    offers: u64,
}

/// An operation.
struct Asked {
    agent: AgentId,
    /// What is reserved when it is done.
    has: Bag,
}

struct Running {
    subscription: Subscription,
    /// Calls that decline what is its own, with the seconds that they name.
    declines: BTreeMap<ConnId, (AgentId, u32)>,
    /// Offers in calls that may not have got through. Nobody else would ever see what is in them.
    stuck: Vec<v1::OfferId>,
    /// Offers were withdrawn: if it was too late to answer them it has to say that it is back.
    rescinded: bool,
}

impl Tenant {
    pub(crate) fn new(host: Host, masters: &[(String, Host)]) -> Self {
        Self {
            host,
            masters: masters.to_vec(),
            id: None,
            plots: BTreeSet::new(),
            asked: BTreeMap::new(),
            made: 0,
            run: None,
            finished: 0,
            failed: 0,
            offers: 0,
        }
    }

    fn info(&self) -> v1::FrameworkInfo {
        let kinds = [Capability::PartitionAware, Capability::MultiRole, Capability::ReservationRefinement];
        let info = subscription::info("tenant", ROLE, &kinds);
        v1::FrameworkInfo { id: self.id.clone(), checkpoint: Some(true), ..info }
    }

    fn call(&mut self, kind: call::Type, fill: impl FnOnce(&mut Call), cx: &mut Context) -> Option<ConnId> {
        let mut call = Call { r#type: Some(kind.into()), ..Call::default() };
        fill(&mut call);
        self.run.as_mut()?.subscription.call(call, cx)
    }

    fn told(&mut self, heard: Option<Heard>, cx: &mut Context) {
        match heard {
            Some(Heard::Event(event)) => self.event(*event, cx),
            Some(Heard::Answered { conn, taken, call }) => {
                let Some(run) = &mut self.run else { return };
                match (run.declines.remove(&conn), taken) {
                    (Some((agent, seconds)), Taken::Yes) => {
                        cx.judge.filters.declined(agent, cx.now + Micros::from(seconds) * SECOND);
                    }
                    (_, Taken::Yes) => {}
                    (_, Taken::No | Taken::Unknown) => {
                        run.stuck.extend(call.decline.into_iter().flat_map(|call| call.offer_ids));
                        run.stuck.extend(call.accept.into_iter().flat_map(|call| call.offer_ids));
                    }
                }
            }
            Some(Heard::Lost) => cx.judge.filters.lost(),
            None => {}
        }
    }

    fn event(&mut self, record: wire::scheduler::Event, cx: &mut Context) {
        match record.r#type() {
            event::Type::Subscribed => {
                let Some(subscribed) = record.subscribed else { return };
                cx.judge.facts.subscribed(subscribed.framework_id.value.as_str().into());
                self.id = Some(subscribed.framework_id);
                if let Some(run) = &mut self.run {
                    run.stuck.clear();
                }
            }
            event::Type::Offers => {
                self.offers(record.offers.map(|offers| offers.offers).unwrap_or_default(), cx)
            }
            event::Type::Rescind => {
                if let Some(run) = &mut self.run {
                    run.rescinded = true;
                }
            }
            event::Type::Failure => {
                let failed = record.failure.filter(|failure| failure.executor_id.is_none());
                if let Some(agent) = failed.and_then(|failure| failure.agent_id) {
                    cx.judge.filters.failed(agent.value.as_str().into());
                }
            }
            event::Type::UpdateOperationStatus => {
                if let Some(update) = record.update_operation_status {
                    self.update(update.status, cx);
                }
            }
            event::Type::Error => {
                let why = record.error.map_or(String::new(), |error| error.message);
                cx.judge.broken("frameworks stay", why);
            }
            _ => {}
        }
    }

    /// Sees to offers that may be lost.
    fn round(&mut self, cx: &mut Context) {
        cx.later(self.host, SECOND, Due::Next);
        cx.judge.filters.look(cx.now);
        let Some(run) = &mut self.run else { return };
        let (stuck, rescinded) = (std::mem::take(&mut run.stuck), std::mem::take(&mut run.rescinded));
        if rescinded {
            self.call(call::Type::Revive, |call| call.revive = Some(call::Revive::default()), cx);
        }
        self.decline(stuck, 1, cx);
    }

    fn offers(&mut self, offers: Vec<v1::Offer>, cx: &mut Context) {
        let mut unwanted = Vec::new();
        for offer in offers {
            self.offers += 1;
            let agent = AgentId::from(offer.agent_id.value.as_str());
            cx.judge.filters.offered(&agent);
            let mine = offer.resources.iter().any(is_reserved);
            if !mine && self.plots.contains(&agent) {
                // Given back, or never come to be.
                self.plots.remove(&agent);
            }
            if let Some((operation, gives, has)) = self.wish(&offer, cx) {
                self.accept(offer.id, agent, operation, &gives, has, cx);
            } else if mine {
                self.decline_own(offer.id, agent, cx);
            } else {
                unwanted.push(offer.id);
            }
        }
        let full = self.plots.len() >= PLOTS || cx.judge.healed;
        self.decline(unwanted, if full { NEVER } else { 3 }, cx);
    }

    fn decline(&mut self, offer_ids: Vec<v1::OfferId>, seconds: u32, cx: &mut Context) -> Option<ConnId> {
        if offer_ids.is_empty() {
            return None;
        }
        let decline = call::Decline { offer_ids, filters: filters(seconds) };
        self.call(call::Type::Decline, |call| call.decline = Some(decline), cx)
    }

    /// What to do with an offer, if anything: what it gives up by that, and what it has then.
    fn wish(&self, offer: &v1::Offer, cx: &mut Context) -> Option<(v1::offer::Operation, Bag, Bag)> {
        if cx.judge.healed {
            return None;
        }
        let (own, free): (Vec<v1::Resource>, Vec<v1::Resource>) =
            offer.resources.iter().cloned().partition(is_reserved);
        let (volumes, parts): (Vec<v1::Resource>, Vec<v1::Resource>) = own.into_iter().partition(is_volume);
        let room = LOT.iter().all(|(name, wanted)| amount(&free, name) >= *wanted);
        let done =
            |kind: operation::Type| v1::offer::Operation { r#type: Some(kind.into()), ..Default::default() };
        match cx.random.random_range(0..8) {
            0..3 if volumes.is_empty() && parts.is_empty() && room && self.plots.len() < PLOTS => {
                let resources = LOT.map(|(name, amount)| reserved(name, amount)).to_vec();
                let has = bag(&resources, cx);
                let reserve = operation::Reserve { resources, ..Default::default() };
                let asked = v1::offer::Operation { reserve: Some(reserve), ..done(operation::Type::Reserve) };
                Some((asked, Bag::new(), has))
            }
            3 if !parts.is_empty() => {
                let gives = bag(&parts, cx);
                let unreserve = operation::Unreserve { resources: parts };
                let asked =
                    v1::offer::Operation { unreserve: Some(unreserve), ..done(operation::Type::Unreserve) };
                Some((asked, gives, Bag::new()))
            }
            4 | 5 => {
                let disk = parts.into_iter().find(|part| part.name == "disk")?;
                let volume = vec![volume(disk.clone(), self.made)];
                let (gives, has) = (bag(&[disk], cx), bag(&volume, cx));
                let create = operation::Create { volumes: volume };
                let asked = v1::offer::Operation { create: Some(create), ..done(operation::Type::Create) };
                Some((asked, gives, has))
            }
            6 if !volumes.is_empty() => {
                let gives = bag(&volumes, cx);
                let destroy = operation::Destroy { volumes };
                let asked = v1::offer::Operation { destroy: Some(destroy), ..done(operation::Type::Destroy) };
                Some((asked, gives, Bag::new()))
            }
            _ => None,
        }
    }

    fn accept(
        &mut self,
        offer: v1::OfferId,
        agent: AgentId,
        mut operation: v1::offer::Operation,
        gives: &Bag,
        has: Bag,
        cx: &mut Context,
    ) {
        self.made += 1;
        let id = OperationId::from(format!("o{}", self.made));
        operation.id = Some(v1::OperationId { value: id.to_string() });
        cx.judge.reservations.asked(&agent, &id, gives);
        self.plots.insert(agent.clone());
        self.asked.insert(id, Asked { agent, has });
        let accept =
            call::Accept { offer_ids: vec![offer], operations: vec![operation], filters: filters(1) };
        self.call(call::Type::Accept, |call| call.accept = Some(accept), cx);
    }

    fn decline_own(&mut self, offer: v1::OfferId, agent: AgentId, cx: &mut Context) {
        let seconds = cx.random.random_range(1..3);
        let conn = self.decline(vec![offer], seconds, cx);
        if let (true, Some(conn), Some(run)) = (cx.judge.healed, conn, &mut self.run) {
            run.declines.insert(conn, (agent, seconds));
        }
    }

    fn update(&mut self, status: v1::OperationStatus, cx: &mut Context) {
        let state = status.state();
        let Some(operation_id) = status.operation_id else { return };
        let id = OperationId::from(operation_id.value.as_str());
        let settled = !matches!(
            state,
            OperationState::OperationPending
                | OperationState::OperationUnreachable
                | OperationState::OperationRecovering
        );
        if let Some(asked) = self.asked.get(&id)
            && state == OperationState::OperationFinished
        {
            cx.judge.reservations.done(&asked.agent, &id, &asked.has);
        }
        if settled && self.asked.remove(&id).is_some() {
            let counter = if state == OperationState::OperationFinished {
                &mut self.finished
            } else {
                &mut self.failed
            };
            *counter += 1;
        }
        if let (Some(uuid), Some(agent)) = (status.uuid, status.agent_id) {
            let acknowledge = call::AcknowledgeOperationStatus {
                agent_id: Some(agent),
                resource_provider_id: None,
                uuid: uuid.value,
                operation_id,
            };
            let fill = |call: &mut Call| call.acknowledge_operation_status = Some(acknowledge);
            self.call(call::Type::AcknowledgeOperationStatus, fill, cx);
        }
    }
}

fn filters(seconds: u32) -> Option<v1::Filters> {
    Some(v1::Filters { refuse_seconds: Some(f64::from(seconds)) })
}

fn is_reserved(resource: &v1::Resource) -> bool {
    !resource.reservations.is_empty()
}

fn is_volume(resource: &v1::Resource) -> bool {
    resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some())
}

fn amount(resources: &[v1::Resource], name: &str) -> f64 {
    let named = resources.iter().filter(|resource| resource.name == name);
    named.filter_map(|resource| resource.scalar).map(|scalar| scalar.value).sum()
}

fn reserved(name: &str, amount: f64) -> v1::Resource {
    let layer = v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
        role: Some(ROLE.into()),
        ..Default::default()
    };
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: amount }),
        reservations: vec![layer],
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(ROLE.into()) }),
        ..Default::default()
    }
}

/// A volume of reserved disk space.
fn volume(disk: v1::Resource, number: u64) -> v1::Resource {
    let persistence = v1::resource::disk_info::Persistence { id: format!("v{number}"), ..Default::default() };
    let place =
        v1::Volume { mode: v1::volume::Mode::Rw.into(), container_path: "data".into(), ..Default::default() };
    let info =
        v1::resource::DiskInfo { persistence: Some(persistence), volume: Some(place), ..Default::default() };
    v1::Resource { disk: Some(info), ..disk }
}

/// What resources come to, whoever they are offered to.
fn bag(resources: &[v1::Resource], cx: &mut Context) -> Bag {
    match Bag::from_wire(resources) {
        Ok(bag) => bag.unallocate(),
        Err(error) => {
            cx.judge.broken("offers are understood", error.to_string());
            Bag::new()
        }
    }
}

impl Machine for Tenant {
    fn start(&mut self, cx: &mut Context) {
        let info = self.info();
        let subscription = Subscription::begin(self.host, &self.masters, info, cx);
        self.run =
            Some(Running { subscription, declines: BTreeMap::new(), stuck: Vec::new(), rescinded: false });
        cx.later(self.host, SECOND, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if matches!(what, Due::Next) {
            return self.round(cx);
        }
        let heard = run.subscription.due(&what, cx);
        self.told(heard, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let heard = run.subscription.heard(conn, frame, cx);
        self.told(heard, cx);
    }

    fn crash(&mut self, _: Crash, cx: &mut Context) {
        cx.judge.filters.lost();
        self.run = None;
    }

    fn unfinished(&self, cx: &Context) -> Vec<String> {
        if self.run.as_ref().is_none_or(|run| !run.subscription.is_subscribed()) {
            return vec!["is not subscribed".to_owned()];
        }
        let agents = cx.judge.reservations.agents();
        let unseen = agents.filter(|agent| !cx.judge.filters.has_seen_again(agent));
        unseen.map(|agent| format!("was not offered again what it has on {agent}")).collect()
    }

    fn report(&self) -> String {
        format!(
            "{} offers, {} operations, {} done, {} not, something on {} agents",
            self.offers,
            self.made,
            self.finished,
            self.failed,
            self.plots.len()
        )
    }
}
