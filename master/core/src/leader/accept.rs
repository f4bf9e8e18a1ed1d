//! `ACCEPT`: offers become tasks (spec mesos-v1, section 8.5).
//!
//! Nothing here touches the log: a launch is soft state until its agent has it. So a launch costs this function and
//! one frame, and its rate is bounded by neither disk nor network of the masters.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId, OfferId, OperationId, TaskId};
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use wire::v1::task_status::Reason as Why;
use wire::v1::{self, OperationState, OperationStatus};

use super::validate::{Launch, Site};
use super::{Turn, activity};
use crate::call::{Accept, GroupSpec, Operation, OperationKind, TaskSpec};
use crate::effect::{AgentOrder, OperatorEvent, SchedulerEvent};
use crate::snapshot::{Executor, Offer, Task};

/// The offers of one call, taken together.
pub(super) struct Deal {
    offers: Vec<Arc<Offer>>,
    pub(super) agent: AgentId,
    pub(super) role: Role,
    /// What they hold; what was changed, as it is now.
    pub(super) all: Bag,
    /// What is left of them.
    pub(super) rest: Bag,
}

impl Turn<'_> {
    pub(super) fn accept(&mut self, framework: &FrameworkId, call: Accept) {
        let mut deal = match self.gather(framework, &call.offers) {
            Ok(deal) => deal,
            Err(fault) => return self.call_off(framework, &call, &fault),
        };
        self.answers_offers(framework);
        for offer in &deal.offers {
            #[cfg(feature = "mutants")]
            if mutant::planted("offers-can-be-taken-twice") {
                continue;
            }
            self.take_offer(&offer.id);
        }
        deal.all = deal.rest.clone();
        for operation in call.operations {
            self.operate(framework, &mut deal, operation);
        }
        self.leader.counters.add("offers_accepted", deal.offers.len() as u64);
        self.tally(framework, "offers/accepted", deal.offers.len() as u64);
        let used = deal.all.without(&deal.rest);
        self.use_offered(framework, &deal.role, &deal.agent, &used);
        self.return_offered(framework, &deal.role, &deal.agent, &deal.rest, Some(call.refuse));
    }

    /// The offers a call names, if they may be taken together.
    fn gather(&self, framework: &FrameworkId, ids: &[OfferId]) -> Result<Deal, String> {
        let mut seen = BTreeSet::new();
        let mut deal: Option<Deal> = None;
        for id in ids {
            if !seen.insert(id) {
                return Err(format!("Duplicate offer {id} in offer list"));
            }
            let own = self.leader.tables.offers.get(id).filter(|offer| offer.framework == *framework);
            let offer = own.ok_or_else(|| format!("Offer {id} is no longer valid"))?;
            let Some(deal) = &mut deal else {
                deal = Some(Deal {
                    offers: vec![Arc::clone(offer)],
                    agent: offer.agent.clone(),
                    role: offer.role.clone(),
                    all: Bag::new(),
                    rest: offer.resources.clone(),
                });
                continue;
            };
            let first = &deal.offers[0].id;
            if offer.agent != deal.agent {
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {first} uses agent {} and offer {id} uses agent {}",
                    deal.agent, offer.agent
                ));
            }
            if offer.role != deal.role {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {first} uses role {} but another is using role {}",
                    deal.role, offer.role
                ));
            }
            deal.rest += &offer.resources;
            deal.offers.push(Arc::clone(offer));
        }
        deal.ok_or_else(|| "No offers specified".to_owned())
    }

    /// The call as a whole is invalid: its good offers are discarded, its tasks were never launched.
    fn call_off(&mut self, framework: &FrameworkId, call: &Accept, fault: &str) {
        for id in &call.offers {
            let own = self.leader.tables.offers.get(id).is_some_and(|offer| offer.framework == *framework);
            if own {
                self.release_offer(id, None);
            }
        }
        let state = self.told(framework, TaskState::Dropped);
        for operation in &call.operations {
            match &operation.kind {
                OperationKind::Launch(tasks) | OperationKind::LaunchGroup(GroupSpec { tasks, .. }) => {
                    let message = format!("Task launched with invalid offers: {fault}");
                    for task in tasks {
                        self.turn_down(framework, &task.id, &task.agent, state, Why::InvalidOffers, &message);
                    }
                }
                OperationKind::Change(_) | OperationKind::Other(_) => {
                    self.fail_operation(
                        framework,
                        operation.id.as_ref(),
                        &format!("Operation attempted with invalid offers: {fault}"),
                    );
                }
            }
        }
    }

    fn operate(&mut self, framework: &FrameworkId, deal: &mut Deal, operation: Operation) {
        if let Some(name) = activity::operation(&operation.kind) {
            self.tally(framework, name, 1);
        }
        match operation.kind {
            OperationKind::Launch(tasks) if operation.id.is_some() => {
                self.refuse_tasks(
                    framework,
                    &tasks,
                    Why::TaskInvalid,
                    "'id' must not be set on a LAUNCH operation",
                );
            }
            OperationKind::Launch(tasks) => {
                for task in tasks {
                    self.launch(framework, deal, task);
                }
            }
            // There is no task that could tell of it.
            OperationKind::LaunchGroup(group) if group.tasks.is_empty() => {
                self.fail_operation(framework, operation.id.as_ref(), "Task group cannot be empty");
            }
            OperationKind::LaunchGroup(group) if operation.id.is_some() => {
                self.refuse_tasks(
                    framework,
                    &group.tasks,
                    Why::TaskGroupInvalid,
                    "'id' must not be set on a LAUNCH_GROUP operation",
                );
            }
            OperationKind::LaunchGroup(group) => self.launch_group(framework, deal, group),
            OperationKind::Change(change) => self.change(framework, deal, operation.id, &change),
            OperationKind::Other(name) => {
                self.fail_operation(
                    framework,
                    operation.id.as_ref(),
                    &format!("{name} is not supported by this master"),
                );
            }
        }
    }

    fn refuse_tasks(&mut self, framework: &FrameworkId, tasks: &[TaskSpec], reason: Why, message: &str) {
        for task in tasks {
            self.turn_down(framework, &task.id, &task.agent, TaskState::Error, reason, message);
        }
    }

    /// A task that never came to be: the scheduler hears of it, nobody else.
    fn turn_down(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        agent: &AgentId,
        state: TaskState,
        reason: Why,
        message: &str,
    ) {
        let status = self.master_status(task, Some(agent), state, reason, message);
        self.leader.counters.task(state, &status);
        self.event(framework, SchedulerEvent::Update(Arc::new(status)));
    }

    /// Operations without an id have no way to hear about their fate.
    pub(super) fn fail_operation(
        &mut self,
        framework: &FrameworkId,
        id: Option<&OperationId>,
        message: &str,
    ) {
        let Some(id) = id else { return };
        let status = OperationStatus {
            operation_id: Some(v1::OperationId::from(id)),
            state: OperationState::OperationError.into(),
            message: Some(message.to_owned()),
            ..OperationStatus::default()
        };
        self.event(framework, SchedulerEvent::Operation(Arc::new(status)));
    }

    /// Launches one task, or says why not; the others of the call are not concerned.
    fn launch(&mut self, framework: &FrameworkId, deal: &mut Deal, mut spec: TaskSpec) {
        super::validate::fill(&mut spec, framework, &deal.role);
        let Some(record) = self.framework(framework) else { return };
        if let Err(fault) = self.leader.settings.authority.task(&record.info, &spec.info) {
            let (error, why) = (TaskState::Error, Why::TaskUnauthorized);
            return self.turn_down(framework, &spec.id, &spec.agent, error, why, &fault);
        }
        let site = Site { framework: record, agent: &deal.agent, role: &deal.role, rest: &deal.rest };
        // Nothing of the record is held on to but its description: a shared record is copied when it changes.
        let (verdict, info) = (site.check(&spec), Arc::clone(&record.info));
        let launch = match verdict {
            Ok(launch) => launch,
            Err(fault) => {
                return self.turn_down(
                    framework,
                    &spec.id,
                    &spec.agent,
                    TaskState::Error,
                    Why::TaskInvalid,
                    &fault,
                );
            }
        };
        deal.rest.remove(&launch.all);
        let order = AgentOrder::Run { framework: info, task: Arc::clone(&spec.info) };
        self.record_launch(framework, deal, spec, launch);
        self.order(&deal.agent, order);
        self.leader.counters.count("tasks_launched");
    }

    /// Launches all tasks of a group, or says of each why none was.
    fn launch_group(&mut self, framework: &FrameworkId, deal: &mut Deal, mut group: GroupSpec) {
        for spec in &mut group.tasks {
            super::validate::fill(spec, framework, &deal.role);
        }
        let Some(executor) = &mut group.executor else { return };
        super::validate::fill_executor(executor, framework, &deal.role);
        let Some(record) = self.framework(framework) else { return };
        let authority = &self.leader.settings.authority;
        let user = executor.info.command.as_ref().and_then(|command| command.user.as_deref());
        let authorized = authority
            .user(&record.info, user)
            .and_then(|()| group.tasks.iter().try_for_each(|task| authority.task(&record.info, &task.info)));
        if let Err(fault) = authorized {
            return self.refuse_tasks(framework, &group.tasks, Why::TaskGroupUnauthorized, &fault);
        }
        let site = Site { framework: record, agent: &deal.agent, role: &deal.role, rest: &deal.rest };
        let (verdict, info) = (site.check_group(executor, &group.tasks), Arc::clone(&record.info));
        let launches = match verdict {
            Ok(launches) => launches,
            Err(fault) => {
                return self.refuse_tasks(framework, &group.tasks, Why::TaskGroupInvalid, &fault);
            }
        };
        let order = AgentOrder::RunGroup {
            framework: info,
            executor: Arc::clone(&executor.info),
            tasks: group.tasks.iter().map(|spec| Arc::clone(&spec.info)).collect(),
        };
        for (spec, launch) in group.tasks.into_iter().zip(launches) {
            deal.rest.remove(&launch.all);
            self.record_launch(framework, deal, spec, launch);
            self.leader.counters.count("tasks_launched");
        }
        self.order(&deal.agent, order);
    }

    /// Writes a launch into the tables: the task, and its executor if it is the first of it on that agent.
    fn record_launch(&mut self, framework: &FrameworkId, deal: &Deal, spec: TaskSpec, launch: Launch) {
        let task = Arc::new(Task {
            id: spec.id.clone(),
            framework: framework.clone(),
            agent: deal.agent.clone(),
            role: deal.role.clone(),
            executor: spec.executor.as_ref().map(|executor| executor.id.clone()),
            info: spec.info,
            resources: launch.task,
            state: TaskState::Staging,
            forwarded: None,
            statuses: Vec::new(),
        });
        let executor = launch.executor.map(|(id, info, resources)| Executor {
            id,
            framework: framework.clone(),
            agent: deal.agent.clone(),
            role: deal.role.clone(),
            info,
            resources,
        });
        if let Some(agent) = self.agent_mut(&deal.agent) {
            agent.tasks.insert((framework.clone(), spec.id.clone()));
            if let Some(executor) = &executor {
                agent.executors.insert((framework.clone(), executor.id.clone()));
            }
        }
        if let Some(record) = self.framework_mut(framework) {
            record.tasks.insert(spec.id, Arc::clone(&task));
            if let Some(executor) = executor {
                record.executors.insert((deal.agent.clone(), executor.id.clone()), Arc::new(executor));
            }
        }
        self.publish(|_| Some(OperatorEvent::TaskAdded(task)));
    }
}
