//! Effects as lines a person reads.

use std::fmt::Write as _;

use master_core::alloc::Tally;
use master_core::effect::{AgentOrder, Effect, Explanation, OperatorEvent, Reply, SchedulerEvent};
use master_core::input::Peer;
use master_core::registry::{AgentCommand, Command, FrameworkCommand, Unavailability};
use master_core::snapshot::{Offer, Snapshot};
use model::task::TaskState;
use wire::v1::offer::operation::Type as Kind;
use wire::v1::task_status::{Reason, Source};
use wire::v1::{OperationState, OperationStatus, TaskStatus};

/// Whether an effect is one of those that happen all the time.
pub(crate) fn is_routine(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Order { order: AgentOrder::Ping { .. }, .. }
            | Effect::Event { event: SchedulerEvent::Heartbeat, .. }
            | Effect::Notice { event: OperatorEvent::Heartbeat, .. }
            | Effect::Watch { record: wire::state::WatchRecord::Progress { .. }, .. }
    )
}

pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Propose { command, .. } => format!("propose {}", self::command(command)),
        Effect::Barrier(_) => "barrier".to_owned(),
        Effect::Answer { request, result } => match result {
            Ok(Reply::Accepted) => format!("r{} 202", request.0),
            Ok(Reply::Done) => format!("r{} 200", request.0),
            Ok(Reply::Stream(stream)) => format!("r{} 200 stream {stream}", request.0),
            Ok(Reply::Snapshot(_)) => format!("r{} 200 snapshot", request.0),
            Ok(Reply::Explanation(explanation)) => {
                format!("r{} 200 {}", request.0, explanation_text(explanation))
            }
            Ok(Reply::State(answer)) => format!("r{} 200 {}", request.0, json(answer)),
            Err(refusal) => format!("r{} {} {refusal}", request.0, refusal.status()),
        },
        Effect::Event { stream, event } => format!("{stream} <- {}", scheduler_event(event)),
        Effect::Notice { stream, event } => format!("{stream} <- {}", operator_event(event)),
        Effect::Watch { stream, record } => format!("{stream} <- {}", json(record)),
        Effect::Mark { stream } => format!("{stream} marked"),
        Effect::Order { link, term, order } => format!("a{} <- [{}] {}", link.0, term.0, self::order(order)),
        Effect::Close { peer: Peer::Stream(stream), reason } => format!("close {stream}: {reason:?}"),
        Effect::Close { peer: Peer::Link(link), reason } => format!("close a{}: {reason:?}", link.0),
        Effect::StepDown { seen } => format!("step down: term {seen} was seen"),
        Effect::Observe(observation) => format!("log {observation:?}"),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("shapes of the API are JSON")
}

fn command(command: &Command) -> String {
    match command {
        Command::Framework(FrameworkCommand::Admit(framework)) => {
            format!("admit framework {} ({})", framework.id, framework.info.name)
        }
        Command::Framework(FrameworkCommand::Remove { id, .. }) => format!("remove framework {id}"),
        Command::Agent(AgentCommand::Admit { id, info, .. }) => {
            format!("admit agent {id} ({})", info.hostname)
        }
        Command::Agent(AgentCommand::Mark { id, away, .. }) => format!("mark agent {id} {away:?}"),
        Command::Agent(other) => format!("{other:?}"),
        Command::Weight(weights) => format!("{weights:?}"),
        Command::Lease(lease) => format!("{lease:?}"),
        Command::Txn(txn) => format!("txn in {}", txn.namespace),
        other => format!("{other:?}"),
    }
}

fn offer(offer: &Offer) -> String {
    let away = offer.unavailability.map(|unavailability| format!(" {}", away(unavailability)));
    format!(
        "{} {} role={} {}{}",
        short(offer.id.as_str()),
        offer.agent,
        offer.role,
        offer.resources,
        away.unwrap_or_default()
    )
}

fn away(unavailability: Unavailability) -> String {
    let Unavailability { start, duration } = unavailability;
    duration
        .map_or_else(|| format!("away from {start}"), |duration| format!("away from {start} for {duration}"))
}

/// Ids of offers without the leadership's part.
fn short(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(_, end)| end)
}

fn scheduler_event(event: &SchedulerEvent) -> String {
    match event {
        SchedulerEvent::Subscribed { framework, heartbeat, .. } => {
            format!("SUBSCRIBED {framework} heartbeat={heartbeat}")
        }
        SchedulerEvent::Heartbeat => "HEARTBEAT".to_owned(),
        SchedulerEvent::Offers(offers) => {
            let list: Vec<String> = offers.iter().map(|one| offer(one)).collect();
            format!("OFFERS {}", list.join(" | "))
        }
        SchedulerEvent::Rescind(id) => format!("RESCIND {}", short(id.as_str())),
        SchedulerEvent::InverseOffers(offers) => {
            let one = |offer: &std::sync::Arc<master_core::snapshot::InverseOffer>| {
                format!("{} {} {}", short(offer.id.as_str()), offer.agent, away(offer.unavailability))
            };
            let list: Vec<String> = offers.iter().map(one).collect();
            format!("INVERSE_OFFERS {}", list.join(" | "))
        }
        SchedulerEvent::RescindInverse(id) => format!("RESCIND_INVERSE_OFFER {}", short(id.as_str())),
        SchedulerEvent::Update(status) => format!("UPDATE {}", self::status(status)),
        SchedulerEvent::Operation(status) => format!("UPDATE_OPERATION_STATUS {}", operation(status)),
        SchedulerEvent::Message { agent, executor, data } => {
            format!("MESSAGE {agent} {executor} {:?}", String::from_utf8_lossy(data))
        }
        SchedulerEvent::Failure { agent, executor: None } => format!("FAILURE {agent}"),
        SchedulerEvent::Failure { agent, executor: Some((executor, status)) } => {
            format!("FAILURE {agent} executor={executor} status={status}")
        }
        SchedulerEvent::Error(text) => format!("ERROR {text}"),
    }
}

pub(crate) fn status(status: &TaskStatus) -> String {
    let state = TaskState::try_from(status.state).expect("the master sends states there are");
    let mut line = format!("{} {state}", status.task_id.value);
    if let Some(agent) = &status.agent_id {
        let _ = write!(line, " on {}", agent.value);
    }
    if let Some(executor) = &status.executor_id {
        let _ = write!(line, " executor={}", executor.value);
    }
    if let Some(source) = status.source.and_then(|source| Source::try_from(source).ok()) {
        let _ = write!(line, " {}", source.as_str_name());
    }
    if let Some(reason) = status.reason.and_then(|reason| Reason::try_from(reason).ok()) {
        let _ = write!(line, " {}", reason.as_str_name());
    }
    if let Some(uuid) = &status.uuid {
        let _ = write!(line, " uuid={}", uuid.last().copied().unwrap_or_default());
    }
    if status.unreachable_time.is_some() {
        line += " unreachable_time";
    }
    if let Some(healthy) = status.healthy {
        let _ = write!(line, " healthy={healthy}");
    }
    let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
    if let Some(container) = container {
        let _ = write!(line, " container={}", container.value);
    }
    if let Some(message) = &status.message {
        let _ = write!(line, " {message:?}");
    }
    line
}

fn operation(status: &OperationStatus) -> String {
    let state = OperationState::try_from(status.state).expect("the master sends states there are");
    let id = status.operation_id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
    let agent = status.agent_id.as_ref().map(|id| format!(" on {}", id.value)).unwrap_or_default();
    let uuid = status.uuid.as_ref().and_then(|uuid| uuid.value.last());
    let uuid = uuid.map(|uuid| format!(" uuid={uuid}")).unwrap_or_default();
    format!("{id} {}{agent}{uuid} {:?}", state.as_str_name(), status.message.as_deref().unwrap_or_default())
}

fn operator_event(event: &OperatorEvent) -> String {
    match event {
        OperatorEvent::Subscribed { snapshot, heartbeat } => {
            format!("SUBSCRIBED heartbeat={heartbeat} {}", summary(snapshot).join("; "))
        }
        OperatorEvent::Heartbeat => "HEARTBEAT".to_owned(),
        OperatorEvent::TaskAdded(task) => format!("TASK_ADDED {} {} on {}", task.id, task.state, task.agent),
        OperatorEvent::TaskUpdated { task, status } => {
            format!("TASK_UPDATED {} now {}: {}", task.id, task.state, self::status(status))
        }
        OperatorEvent::AgentAdded(agent) => format!("AGENT_ADDED {}", agent.id),
        OperatorEvent::AgentRemoved(agent) => format!("AGENT_REMOVED {agent}"),
        OperatorEvent::FrameworkAdded(framework) => {
            format!("FRAMEWORK_ADDED {} connected={}", framework.id, framework.connected())
        }
        OperatorEvent::FrameworkUpdated(framework) => {
            format!("FRAMEWORK_UPDATED {} connected={}", framework.id, framework.connected())
        }
        OperatorEvent::FrameworkRemoved(info) => {
            format!("FRAMEWORK_REMOVED {}", info.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default())
        }
    }
}

fn order(order: &AgentOrder) -> String {
    let ids =
        |ids: &[model::id::FrameworkId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match order {
        AgentOrder::Welcome { agent, removed, connected, ping_interval, link_timeout } => format!(
            "Welcome {agent} ping={ping_interval} timeout={link_timeout} removed=[{}] connected=[{}]",
            ids(removed),
            ids(connected)
        ),
        AgentOrder::Refused(refusal) => format!("Refused: {refusal}"),
        AgentOrder::Ping { sequence } => format!("Ping {sequence}"),
        AgentOrder::Run { framework, task } => {
            let owner = framework.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
            format!("Run {} of {owner}", task.task_id.value)
        }
        AgentOrder::RunGroup { framework, executor, tasks } => {
            let owner = framework.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
            let tasks: Vec<&str> = tasks.iter().map(|task| task.task_id.value.as_str()).collect();
            format!("RunGroup {} of {owner} in {}", tasks.join(","), executor.executor_id.value)
        }
        AgentOrder::Kill { framework, task, policy } => {
            let grace = policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
            let grace =
                grace.map(|grace| format!(" grace={}ms", grace.nanoseconds / 1_000_000)).unwrap_or_default();
            format!("Kill {task} of {framework}{grace}")
        }
        AgentOrder::Acknowledge { framework, task, uuid } => {
            format!("Acknowledge {task} of {framework} uuid={}", uuid.last().copied().unwrap_or_default())
        }
        AgentOrder::Framework { info, resend } => format!("Framework {} resend={resend}", info.name),
        AgentOrder::Drain(None) => "Drain no more".to_owned(),
        AgentOrder::Drain(Some(drain)) => {
            format!("Drain since {:?} mark_gone={}", drain.since, drain.mark_gone)
        }
        AgentOrder::ShutdownFramework(framework) => format!("ShutdownFramework {framework}"),
        AgentOrder::ShutdownExecutor { framework, executor } => {
            format!("ShutdownExecutor {executor} of {framework}")
        }
        AgentOrder::Message { framework, executor, data } => {
            format!("Message {executor} of {framework} {:?}", String::from_utf8_lossy(data))
        }
        AgentOrder::Operate { framework, uuid, operation } => {
            let kind = operation.r#type.and_then(|kind| Kind::try_from(kind).ok());
            let owner = framework.as_ref().map_or("the operator", model::id::FrameworkId::as_str);
            let uuid = uuid.last().copied().unwrap_or_default();
            format!(
                "Operate {} of {owner} uuid={uuid}",
                kind.map(|kind| kind.as_str_name()).unwrap_or_default()
            )
        }
        AgentOrder::AcknowledgeOperation { uuid } => {
            format!("AcknowledgeOperation uuid={}", uuid.last().copied().unwrap_or_default())
        }
        AgentOrder::Shutdown { message } => format!("Shutdown {message:?}"),
    }
}

/// What was counted, and the sentence that says why.
fn explanation_text(explanation: &Explanation) -> String {
    let counts = |tally: &Tally| {
        let Tally { offered, used, refused, withdrawn, .. } = tally;
        format!("offered={offered} used={used} refused={refused} withdrawn={withdrawn}")
    };
    let all = explanation
        .all
        .iter()
        .map(|(framework, role, tally)| format!("{framework} role={role} {}", counts(tally)));
    let one = explanation.one.iter().flat_map(|one| &one.accounts).map(|account| {
        let why = account.view.as_ref().map_or_else(String::new, |view| view.why.sentence());
        let agent = account.agent.map_or_else(String::new, |why| format!(" (the agent: {})", why.word()));
        format!("role={} {}: {why}{agent}", account.role, counts(&account.tally))
    });
    all.chain(one).collect::<Vec<_>>().join(" | ")
}

/// The tables in a few lines.
pub(crate) fn summary(snapshot: &Snapshot) -> Vec<String> {
    let tables = &snapshot.tables;
    let mut lines = Vec::new();
    for framework in tables.frameworks.values() {
        let tasks = |tasks: Vec<String>| tasks.join(",");
        lines.push(format!(
            "framework {} connected={} recovered={} tasks=[{}] unreachable=[{}] completed=[{}] executors={} offers={}",
            framework.id,
            framework.connected(),
            framework.recovered,
            tasks(framework.tasks.values().map(|task| format!("{}:{}", task.id, task.state)).collect()),
            tasks(framework.unreachable.values().map(|task| format!("{}:{}", task.id, task.state)).collect()),
            tasks(framework.completed.iter().map(|task| format!("{}:{}", task.id, task.state)).collect()),
            framework.executors.len(),
            framework.offers.len(),
        ));
    }
    for agent in tables.agents.values() {
        lines.push(format!(
            "agent {}{} linked={} deactivated={}{} used=({}) offered=({})",
            agent.id,
            if agent.reregistered_at.is_some() { " returned" } else { "" },
            agent.link.is_some(),
            agent.deactivated,
            master_core::render::drain_info(agent)
                .map(|info| format!(" {}", info.state().as_str_name()))
                .unwrap_or_default(),
            master_core::render::agent_usage(tables, agent).unallocate(),
            master_core::render::agent_offered(tables, agent).unallocate(),
        ));
    }
    for scheduled in snapshot.registry.scheduled_machines() {
        let state = if scheduled.down { "down" } else { "draining" };
        lines.push(format!("machine {} {state} {}", scheduled.machine, away(scheduled.unavailability)));
    }
    for ((agent, framework), answer) in &tables.inverse_answers {
        let said = if answer.accepted { "accepted" } else { "declined" };
        lines.push(format!("{framework} has {said} to leave {agent}"));
    }
    if !tables.recovered.is_empty() {
        lines.push(format!(
            "recovered {}",
            tables.recovered.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        ));
    }
    for framework in &tables.completed {
        lines.push(format!(
            "completed {} tasks=[{}]",
            framework.id,
            framework
                .completed
                .iter()
                .map(|task| format!("{}:{}", task.id, task.state))
                .collect::<Vec<_>>()
                .join(",")
        ));
    }
    lines
}
