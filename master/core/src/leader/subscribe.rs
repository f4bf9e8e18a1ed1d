//! Frameworks come: `SUBSCRIBE`, failover, `UPDATE_FRAMEWORK`; and break off.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::FrameworkId;
use model::limits::HEARTBEAT_ANNOUNCED;
use model::role;
use model::time::Span;
use wire::v1::{self, FrameworkInfo};

use super::proposals::Proposal;
use super::room::Room;
use super::streams::Listener;
use super::timers::Timer;
use super::{Standing, Turn};
use crate::call::Subscribe;
use crate::constraints::OfferConstraints;
use crate::effect::{AgentOrder, Effect, Observation, OperatorEvent, Reason, Reply, SchedulerEvent};
use crate::input::{RequestId, StreamId};
use crate::limits;
use crate::profile::Profile;
use crate::refusal::Refusal;
use crate::registry::{Command, Framework as Fact, FrameworkCommand};
use crate::snapshot::Framework;

/// A framework as it wants to be known from now on.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) id: FrameworkId,
    pub(crate) info: Arc<FrameworkInfo>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) suppressed: BTreeSet<role::Role>,
    pub(crate) constraints: Arc<OfferConstraints>,
}

impl Turn<'_> {
    /// Steps 11 and 12 of the ladder. The answer is a stream at once, also for a subscription that is refused for what
    /// it says: the refusal is its one record. Where nothing is wrong with it but the moment, it is told to come again.
    pub(super) fn subscribe(
        &mut self,
        request: RequestId,
        stream: StreamId,
        header: Option<StreamId>,
        principal: Option<Arc<str>>,
        mut call: Subscribe,
    ) {
        if header.is_some() {
            return self.answer(request, Err(Refusal::StreamIdOnSubscribe));
        }
        if let Err(refusal) = self.claim_principal(&mut call.info, principal.as_deref()) {
            return self.answer(request, Err(refusal));
        }
        if self.leader.streams.table.len() >= limits::FRAMEWORK_STREAMS {
            let refusal = Refusal::TooMany { what: "streams", limit: limits::FRAMEWORK_STREAMS };
            return self.answer(request, Err(refusal));
        }
        self.leader.counters.count("messages_register_framework");
        let judged = self.judge(call);
        let room =
            match judged.as_ref().map(|admission| self.find_room(&admission.id)).unwrap_or(Ok(Room::Free)) {
                Ok(room) => room,
                Err(refusal) => return self.answer(request, Err(refusal)),
            };
        self.answer(request, Ok(Reply::Stream(stream.clone())));
        self.open_stream(stream.clone(), Listener::Candidate);
        match (judged, room) {
            (Ok(admission), _) if self.is_known(&admission) => self.subscribed(stream, admission),
            (Ok(admission), Room::InPlaceOf(other)) => self.replace(other, stream, Box::new(admission)),
            (Ok(admission), Room::Free) => {
                let command = self.admit_command(&admission);
                self.propose(command, Proposal::Subscription { stream, admission: Box::new(admission) });
            }
            (Err(text), _) => self.refuse_stream(&stream, text),
        }
    }

    /// An authenticated principal is the framework's, and may not call itself another.
    fn claim_principal(&self, info: &mut Arc<FrameworkInfo>, principal: Option<&str>) -> Result<(), Refusal> {
        let Some(given) = principal else { return Ok(()) };
        match &info.principal {
            None => Arc::make_mut(info).principal = Some(given.to_owned()),
            Some(owner) if owner != given => {
                let refusal = Refusal::PrincipalDiffers { given: given.to_owned(), owner: owner.clone() };
                return Err(Refusal::Invalid { call: "scheduler::Call", fault: refusal.to_string() });
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether, and as what, a framework may subscribe; otherwise the text of the ERROR event.
    fn judge(&mut self, call: Subscribe) -> Result<Admission, String> {
        let Subscribe { mut info, suppressed, constraints } = call;
        let profile = Profile::read(&info)?;
        let suppressed = profile
            .own_roles(&suppressed)
            .map_err(|role| format!("Suppressed role '{role}' is not contained in the set of roles"))?;
        let constraints = Arc::new(OfferConstraints::read(constraints, &profile.roles)?);
        self.leader.settings.authority.roles(&info, &profile.roles)?;
        let id = match &info.id {
            Some(id) => FrameworkId::from(id.value.as_str()),
            None => self.next_framework_id(),
        };
        if self.view.tombstone(&id).is_some() {
            return Err("Framework has been removed".to_owned());
        }
        if let Some(known) = self.view.framework(&id) {
            if known.info.principal != info.principal {
                return Err("Changing framework's principal is not allowed.".to_owned());
            }
            // Neither can change while tasks run under the old value; both are silently kept.
            if known.info.user != info.user || known.info.checkpoint != info.checkpoint {
                let info = Arc::make_mut(&mut info);
                info.user.clone_from(&known.info.user);
                info.checkpoint = known.info.checkpoint;
            }
        }
        if info.id.is_none() {
            Arc::make_mut(&mut info).id = Some(v1::FrameworkId { value: id.to_string() });
        }
        Ok(Admission { id, info, profile: Arc::new(profile), suppressed, constraints })
    }

    fn next_framework_id(&mut self) -> FrameworkId {
        loop {
            let id = format!("{}-{:04}", self.uuid(), self.leader.serial.framework);
            self.leader.serial.framework += 1;
            let id = FrameworkId::from(id);
            // A scheduler may have come with an id of its own making that looks like ours.
            if self.view.framework(&id).is_none() && self.view.tombstone(&id).is_none() {
                return id;
            }
        }
    }

    /// Whether the registry already holds exactly this: then there is nothing to write.
    fn is_known(&self, admission: &Admission) -> bool {
        self.view.framework(&admission.id).is_some_and(|known| known.info == admission.info)
    }

    pub(super) fn admit_command(&self, admission: &Admission) -> Command {
        Command::Framework(FrameworkCommand::Admit(Fact {
            id: admission.id.clone(),
            info: Arc::clone(&admission.info),
            principal: admission.info.principal.as_deref().map(Arc::from),
            failover_timeout: admission.profile.failover_timeout,
            admitted_at: self.now,
        }))
    }

    /// The one record of a refused subscription.
    fn refuse_stream(&mut self, stream: &StreamId, text: String) {
        self.out.push(Effect::Event { stream: stream.clone(), event: SchedulerEvent::Error(text) });
        self.close_stream(stream, Reason::Ended);
    }

    pub(super) fn subscription_failed(&mut self, stream: &StreamId, refusal: &Refusal) {
        use crate::registry::Refusal as Registry;
        if !self.leader.streams.table.contains_key(stream) {
            return;
        }
        match refusal {
            Refusal::Registry(Registry::FrameworkRemoved(_)) => {
                self.refuse_stream(stream, "Framework has been removed".to_owned());
            }
            // Another took the last place meanwhile: as below.
            Refusal::Registry(Registry::Full { .. }) => self.close_stream(stream, Reason::Deposed),
            Refusal::Registry(refusal) => self.refuse_stream(stream, refusal.to_string()),
            // Nothing is wrong with the framework: an ERROR would make it give up its id.
            _ => self.close_stream(stream, Reason::Deposed),
        }
    }

    /// The registry holds the framework: its scheduler is connected, unless it hung up meanwhile.
    pub(super) fn subscribed(&mut self, stream: StreamId, admission: Admission) {
        let id = admission.id.clone();
        let listens = self.leader.streams.table.contains_key(&stream);
        let known = self.install(admission, false);
        if !listens {
            if self.framework(&id).is_some_and(|framework| framework.stream.is_none()) {
                self.start_failover(&id);
            }
            return;
        }
        self.replace_stream(&id, &stream);
        self.leader.timers.cancel(&Timer::Failover(id.clone()));
        self.meet(&id);
        self.greet(&id);
        self.tell_agents(&id, true);
        self.leader.counters.count(if known {
            "messages_reregister_framework"
        } else {
            "frameworks_subscribed"
        });
        self.publish(|turn| {
            let framework = Arc::clone(turn.framework(&id)?);
            Some(if known {
                OperatorEvent::FrameworkUpdated(framework)
            } else {
                OperatorEvent::FrameworkAdded(framework)
            })
        });
        let name = self.framework(&id).map(|framework| framework.info.name.clone()).unwrap_or_default();
        self.observe(Observation::FrameworkSubscribed { framework: id.clone(), name });
        self.activate(&id);
    }

    /// Makes the framework's record, or brings it up to date. Whether there was one.
    pub(super) fn install(&mut self, admission: Admission, recovered: bool) -> bool {
        let now = self.now;
        let Admission { id, info, profile, suppressed, constraints } = admission;
        if let Some(framework) = self.framework_mut(&id) {
            framework.info = info;
            framework.profile = profile;
            framework.suppressed = suppressed;
            framework.constraints = constraints;
            if !recovered {
                framework.reregistered_at = now;
            }
            return true;
        }
        let framework = Framework {
            id: id.clone(),
            info,
            profile,
            stream: None,
            suppressed,
            constraints,
            recovered,
            registered_at: now,
            reregistered_at: now,
            away_since: recovered.then_some(now),
            unregistered_at: None,
            tasks: Default::default(),
            unreachable: Default::default(),
            completed: Default::default(),
            executors: Default::default(),
            offers: Default::default(),
            inverse_offers: Default::default(),
            ignored: 0,
        };
        self.leader.tables.frameworks.insert(id, Arc::new(framework));
        false
    }

    /// One live stream per framework: the newer always wins. The offers of the older are void without a word.
    fn replace_stream(&mut self, id: &FrameworkId, stream: &StreamId) {
        let old = self.framework(id).and_then(|framework| framework.stream.clone());
        if let Some(old) = old {
            self.tally(id, "events/error", 1);
            self.refuse_stream(&old, "Framework failed over".to_owned());
        }
        self.discard_offers(id);
        if let Some(framework) = self.framework_mut(id) {
            framework.stream = Some(stream.clone());
            framework.recovered = false;
            framework.away_since = None;
        }
        self.open_stream(stream.clone(), Listener::Framework(id.clone()));
    }

    /// SUBSCRIBED and at once a HEARTBEAT: some clients only see a record when the next begins.
    fn greet(&mut self, id: &FrameworkId) {
        let Standing::Leading(reign) = &self.leader.standing else { return };
        let subscribed = SchedulerEvent::Subscribed {
            framework: id.clone(),
            heartbeat: HEARTBEAT_ANNOUNCED,
            master: Arc::clone(&reign.master),
        };
        self.event(id, subscribed);
        self.event(id, SchedulerEvent::Heartbeat);
    }

    /// Tells the agents that run something of the framework how it describes itself now.
    fn tell_agents(&mut self, id: &FrameworkId, resend: bool) {
        let Some(framework) = self.framework(id).cloned() else { return };
        let of_tasks = framework.tasks.values().map(|task| &task.agent);
        let of_executors = framework.executors.keys().map(|(agent, _)| agent);
        let agents: BTreeSet<_> = of_tasks.chain(of_executors).cloned().collect();
        for agent in agents {
            let info = Arc::clone(&framework.info);
            self.order(&agent, AgentOrder::Framework { info, resend });
        }
    }

    /// Steps 13 to 17 of the ladder: whether the call comes from the framework's own, current subscription.
    pub(super) fn admit_call(
        &self,
        id: &FrameworkId,
        stream: Option<&StreamId>,
        principal: Option<&str>,
    ) -> Result<(), Refusal> {
        let framework = self.framework(id).ok_or(Refusal::FrameworkUnknown)?;
        if let (Some(given), owner) = (principal, &framework.info.principal)
            && owner.as_deref() != Some(given)
        {
            let owner = owner.clone().unwrap_or_default();
            return Err(Refusal::PrincipalDiffers { given: given.to_owned(), owner });
        }
        let current = framework.stream.as_ref().ok_or(Refusal::NotSubscribed)?;
        let given = stream.ok_or(Refusal::StreamIdMissing)?;
        if given != current {
            return Err(Refusal::StreamIdDiffers { stream: given.clone(), framework: id.clone() });
        }
        Ok(())
    }

    /// `UPDATE_FRAMEWORK`: the whole description and the whole set of suppressed roles, all or nothing.
    pub(super) fn update_framework(&mut self, request: RequestId, id: &FrameworkId, update: Subscribe) {
        match self.judge_update(id, update) {
            Ok(admission) => {
                let (info, roles) = (&admission.info, &admission.profile.roles);
                if let Err(text) = self.leader.settings.authority.roles(info, roles) {
                    return self.answer(request, Err(Refusal::Unauthorized(text)));
                }
                let command = self.admit_command(&admission);
                self.propose(command, Proposal::Update { request, admission: Box::new(admission) });
            }
            Err(fault) => self.answer(request, Err(Refusal::UpdateInvalid(fault))),
        }
    }

    fn judge_update(&self, id: &FrameworkId, update: Subscribe) -> Result<Admission, String> {
        let known = self.framework(id).ok_or_else(|| "Framework cannot be found".to_owned())?;
        let unsupported = |field: &str, from: &str, to: &str| {
            format!(
                "Updating 'FrameworkInfo.{field}' is unsupported; attempted to update from '{from}' to '{to}'"
            )
        };
        let Subscribe { info, suppressed, constraints } = update;
        if known.info.user != info.user {
            return Err(unsupported("user", &known.info.user, &info.user));
        }
        let (old, new) = (known.info.checkpoint.unwrap_or(false), info.checkpoint.unwrap_or(false));
        if old != new {
            return Err(unsupported("checkpoint", &old.to_string(), &new.to_string()));
        }
        if known.info.principal != info.principal {
            let (old, new) = (known.info.principal.as_deref(), info.principal.as_deref());
            return Err(unsupported("principal", old.unwrap_or_default(), new.unwrap_or_default()));
        }
        let profile = Profile::read(&info)?;
        let suppressed = profile
            .own_roles(&suppressed)
            .map_err(|role| format!("Suppressed role '{role}' is not contained in the set of roles"))?;
        let constraints = Arc::new(OfferConstraints::read(constraints, &profile.roles)?);
        Ok(Admission { id: id.clone(), info, profile: Arc::new(profile), suppressed, constraints })
    }

    pub(super) fn framework_updated(&mut self, request: RequestId, admission: Admission) {
        let id = admission.id.clone();
        if self.framework(&id).is_none() {
            return self.answer(request, Err(Refusal::FrameworkVanished));
        }
        let roles = admission.profile.roles.clone();
        let reregistered_at = self.framework(&id).map(|framework| framework.reregistered_at);
        self.install(admission, false);
        if let (Some(framework), Some(at)) = (self.framework_mut(&id), reregistered_at) {
            framework.reregistered_at = at;
        }
        self.rescind_foreign_offers(&id, &roles);
        self.activate(&id);
        self.tell_agents(&id, false);
        self.publish(|turn| Some(OperatorEvent::FrameworkUpdated(Arc::clone(turn.framework(&id)?))));
        self.answer(request, Ok(Reply::Done));
    }

    /// The scheduler's stream broke: no offers for now, and the time to come back runs.
    pub(super) fn disconnect(&mut self, id: &FrameworkId) {
        let Some(framework) = self.framework_mut(id) else { return };
        framework.stream = None;
        self.discard_offers(id);
        self.deactivate(id);
        self.publish(|turn| Some(OperatorEvent::FrameworkUpdated(Arc::clone(turn.framework(id)?))));
        self.start_failover(id);
    }

    fn start_failover(&mut self, id: &FrameworkId) {
        let now = self.now;
        let timeout = self.framework_mut(id).map_or(Span::ZERO, |framework| {
            framework.away_since = Some(now);
            framework.profile.failover_timeout
        });
        let until = now + timeout;
        self.observe(Observation::FrameworkDisconnected { framework: id.clone(), until });
        self.leader.timers.set(Timer::Failover(id.clone()), until);
    }
}
