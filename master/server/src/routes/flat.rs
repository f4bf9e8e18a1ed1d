//! Metrics under the names that dashboards of the first implementation know (spec mesos-v1, 7.4), in one flat table.
//! Names of what this master does not do are left out: docs/wire/differences.md says which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use master_core::leader::{Activity, Counters};
use master_core::render;
use master_core::snapshot::{Framework, Snapshot};
use model::quantity::Quantity;
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use wire::v1::OperationState;
use wire::v1::task_status::{Reason, Source};

use super::metrics::{host, measures};
use crate::app::{App, Standing};
use crate::driver::Measures;
use crate::large;

/// Counters that are there before what they count has happened, because a graph of what is missing is empty and not
/// zero. Each counts what this master does; other names of the first implementation are left out.
const FROM_THE_START: [&str; 57] = [
    "dropped_messages",
    "invalid_executor_to_framework_messages",
    "invalid_framework_to_executor_messages",
    "invalid_operation_status_update_acknowledgements",
    "invalid_status_update_acknowledgements",
    "invalid_status_updates",
    "messages_decline_offers",
    "messages_executor_to_framework",
    "messages_exited_executor",
    "messages_framework_to_executor",
    "messages_kill_task",
    "messages_launch_tasks",
    "messages_operation_status_update",
    "messages_operation_status_update_acknowledgement",
    "messages_reconcile_operations",
    "messages_reconcile_tasks",
    "messages_register_framework",
    "messages_register_slave",
    "messages_reregister_framework",
    "messages_reregister_slave",
    "messages_resource_request",
    "messages_revive_offers",
    "messages_status_update",
    "messages_status_update_acknowledgement",
    "messages_suppress_offers",
    "messages_unregister_framework",
    "messages_unregister_slave",
    "messages_update_slave",
    "offers_accepted",
    "offers_declined",
    "offers_rescinded",
    "offers_sent",
    "recovery_slave_removals",
    "slave_registrations",
    "slave_removals",
    "slave_removals/reason_unhealthy",
    "slave_removals/reason_unregistered",
    "slave_reregistrations",
    "slave_unreachable_canceled",
    "slave_unreachable_completed",
    "slave_unreachable_scheduled",
    "tasks_dropped",
    "tasks_error",
    "tasks_failed",
    "tasks_finished",
    "tasks_gone",
    "tasks_gone_by_operator",
    "tasks_killed",
    "tasks_lost",
    "valid_executor_to_framework_messages",
    "valid_framework_to_executor_messages",
    "valid_operation_status_update_acknowledgements",
    "valid_status_update_acknowledgements",
    "valid_status_updates",
    "reconciliations_refused",
    "frameworks_uncounted",
    "frameworks_removed_for_room",
];

/// What is counted of one framework.
const OF_A_FRAMEWORK: [(&str, &[&str]); 3] = [
    (
        "calls",
        &[
            "calls/subscribe",
            "calls/teardown",
            "calls/accept",
            "calls/decline",
            "calls/accept_inverse_offers",
            "calls/decline_inverse_offers",
            "calls/revive",
            "calls/suppress",
            "calls/kill",
            "calls/shutdown",
            "calls/acknowledge",
            "calls/acknowledge_operation_status",
            "calls/reconcile",
            "calls/reconcile_operations",
            "calls/message",
            "calls/request",
            "calls/update_framework",
        ],
    ),
    (
        "events",
        &[
            "events/subscribed",
            "events/heartbeat",
            "events/offers",
            "events/rescind",
            "events/inverse_offers",
            "events/rescind_inverse_offer",
            "events/update",
            "events/update_operation_status",
            "events/message",
            "events/failure",
            "events/error",
        ],
    ),
    (
        "operations",
        &[
            "operations/launch",
            "operations/launch_group",
            "operations/reserve",
            "operations/unreserve",
            "operations/create",
            "operations/destroy",
        ],
    ),
];

/// The kinds of operations that are done here, as the wire has them.
const OPERATIONS: [&str; 4] = ["RESERVE", "UNRESERVE", "CREATE", "DESTROY"];

/// The ends of operations that are told. One that is unreachable is forgotten at once: its agent tells of it.
const ENDS: [OperationState; 6] = [
    OperationState::OperationFinished,
    OperationState::OperationFailed,
    OperationState::OperationError,
    OperationState::OperationDropped,
    OperationState::OperationUnreachable,
    OperationState::OperationGoneByOperator,
];

const ACTIVE: [TaskState; 4] =
    [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing];

const TERMINAL: [TaskState; 8] = [
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Dropped,
    TaskState::Gone,
    TaskState::GoneByOperator,
];

type Table = BTreeMap<String, f64>;

/// The names that dashboards know. Local: a master that does not lead answers for itself.
pub(super) async fn flat_metrics(app: &Arc<App>) -> Table {
    let leads = matches!(*app.standing.borrow(), Standing::Leading { .. });
    let zero = |name: &str| (format!("master/{name}"), 0.0);
    let mut out: Table = FROM_THE_START.iter().copied().map(zero).collect();
    out.extend(host().into_iter().map(|(name, value)| (format!("system/{name}"), value)));
    out.insert("master/elected".to_owned(), f64::from(u8::from(leads)));
    let uptime = app.clock.now().since(app.about.started);
    out.insert("master/uptime_secs".to_owned(), uptime.as_secs_f64());
    registrar(app, &mut out);
    let Some(measures) = measures(app).await else { return out };
    out.insert(
        "master/event_queue_messages".to_owned(),
        (app.inbox.max_capacity() - app.inbox.capacity()) as f64,
    );
    counted(&mut out, &measures);
    if leads && let Ok(read) = large::read(app, None).await {
        // Looks at every task.
        out = read
            .look(move |snapshot| {
                gauges(&mut out, snapshot);
                allocator(&mut out, snapshot);
                operations(&mut out, snapshot, &measures.counters);
                frameworks(&mut out, snapshot, &measures.counters);
                out
            })
            .await
            .unwrap_or_default();
    }
    out
}

/// `task_failed` in the tables of old names.
fn low(state: TaskState) -> String {
    state.name().to_ascii_lowercase()
}

/// The group and its log.
fn registrar(app: &App, out: &mut Table) {
    let Some(group) = app.group.get() else { return };
    let members = group.members.borrow().iter().count();
    for (name, value) in [
        ("log/ensemble_size", members as f64),
        ("log/recovered", 1.0),
        ("queued_operations", app.metrics.open_proposals() as f64),
    ] {
        out.insert(format!("registrar/{name}"), value);
    }
}

/// What the driver knows.
fn counted(out: &mut Table, measures: &Measures) {
    let counters = &measures.counters;
    for (name, value) in counters.iter() {
        out.insert(format!("master/{name}"), value as f64);
    }
    for (state, source, reason, count) in counters.task_states() {
        count_cause(out, state, source, reason, count as f64);
    }
    for (name, value) in measures.allocations.values() {
        out.insert(format!("allocator/mesos/allocation_run_ms{name}"), value);
    }
    for (name, value) in measures.stores.values() {
        out.insert(format!("registrar/state_store_ms{name}"), value);
    }
    out.insert("allocator/mesos/allocation_runs".to_owned(), counters.allocation_runs() as f64);
    for (role, count) in &measures.refusals {
        out.insert(format!("allocator/mesos/offer_filters/roles/{role}/active"), *count as f64);
    }
    out.insert("master/operator_event_stream_subscribers".to_owned(), measures.operators as f64);
    out.insert("master/frameworks_uncounted".to_owned(), counters.frameworks_uncounted() as f64);
}

fn count_cause(out: &mut Table, state: TaskState, source: Option<i32>, reason: Option<i32>, count: f64) {
    if state.is_terminal() {
        let name = format!("master/tasks_{}", low(state).trim_start_matches("task_"));
        *out.entry(name).or_default() += count;
    }
    let source = source.and_then(|source| Source::try_from(source).ok());
    let reason = reason.and_then(|reason| Reason::try_from(reason).ok());
    if let (Some(source), Some(reason)) = (source, reason) {
        // Old words: an agent is a slave there.
        let cause = format!("{}/{}", source.as_str_name(), reason.as_str_name()).to_ascii_lowercase();
        *out.entry(format!("master/{}/{}", low(state), cause.replace("agent", "slave"))).or_default() +=
            count;
    }
}

fn each(bag: &Bag) -> [f64; 4] {
    [bag.cpus(), bag.mem(), bag.disk(), bag.gpus()].map(Quantity::as_f64)
}

const KINDS: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

fn total(snapshot: &Snapshot) -> Bag {
    snapshot.tables.agents.values().map(|agent| agent.total.clone()).sum()
}

fn gauges(out: &mut Table, snapshot: &Snapshot) {
    let mut set = |name: String, value: f64| out.insert(format!("master/{name}"), value);
    let tables = &snapshot.tables;
    let total = total(snapshot);
    let used: Bag = tables.frameworks.values().map(|framework| render::framework_usage(framework)).sum();
    for (name, (total, used)) in KINDS.into_iter().zip(each(&total).into_iter().zip(each(&used))) {
        set(format!("{name}_total"), total);
        set(format!("{name}_used"), used);
        set(format!("{name}_percent"), if total > 0.0 { used / total } else { 0.0 });
    }
    let revocable = |bag: &Bag| -> Bag { bag.iter().filter(|item| item.is_revocable()).cloned().collect() };
    let (total, used) = (each(&revocable(&total)), each(&revocable(&used)));
    for (name, (total, used)) in KINDS.into_iter().zip(total.into_iter().zip(used)) {
        set(format!("{name}_revocable_total"), total);
        set(format!("{name}_revocable_used"), used);
        set(format!("{name}_revocable_percent"), if total > 0.0 { used / total } else { 0.0 });
    }
    set("slaves_unreachable".into(), snapshot.unreachable_agents() as f64);
    let connected = tables.agents.values().filter(|agent| agent.link.is_some()).count();
    let active = tables.agents.values().filter(|agent| agent.link.is_some() && !agent.deactivated).count();
    set("slaves_connected".into(), connected as f64);
    set("slaves_disconnected".into(), (tables.agents.len() - connected) as f64);
    set("slaves_active".into(), active as f64);
    set("slaves_inactive".into(), (tables.agents.len() - active) as f64);
    let subscribed = tables.frameworks.values().filter(|framework| framework.connected()).count();
    for name in ["connected", "active"] {
        set(format!("frameworks_{name}"), subscribed as f64);
    }
    for name in ["disconnected", "inactive"] {
        set(format!("frameworks_{name}"), (tables.frameworks.len() - subscribed) as f64);
    }
    set("outstanding_offers".into(), tables.offers.len() as f64);
    let unreachable: usize = tables.frameworks.values().map(|framework| framework.unreachable.len()).sum();
    set("tasks_unreachable".into(), unreachable as f64);
    for state in ACTIVE {
        let tasks = tables.frameworks.values().flat_map(|framework| framework.tasks.values());
        let count = tasks.filter(|task| task.state == state).count();
        set(format!("tasks_{}", low(state).trim_start_matches("task_")), count as f64);
    }
}

/// How the cluster is shared out.
fn allocator(out: &mut Table, snapshot: &Snapshot) {
    let all = total(snapshot);
    let mut given = Bag::new();
    let mut by_role: BTreeMap<Role, Bag> = BTreeMap::new();
    for framework in snapshot.tables.frameworks.values() {
        let held = &render::framework_usage(framework) + &render::framework_offered(framework);
        for item in &held {
            if let Some(role) = item.allocated_to() {
                by_role.entry(role.clone()).or_default().insert(item.clone());
            }
        }
        given += &held;
        for role in &framework.profile.roles {
            by_role.entry(role.clone()).or_default();
        }
    }
    let (all, given) = (each(&all), each(&given));
    for ((name, total), given) in KINDS.into_iter().zip(all).zip(given) {
        // Of what there is none, nothing is said.
        if total > 0.0 || name != "gpus" {
            out.insert(format!("allocator/mesos/resources/{name}/total"), total);
            out.insert(format!("allocator/mesos/resources/{name}/offered_or_allocated"), given);
        }
    }
    for (role, held) in by_role {
        let parts = each(&held).into_iter().zip(all).filter(|(_, total)| *total > 0.0);
        let dominant = parts.map(|(held, total)| held / total).fold(0.0, f64::max);
        out.insert(format!("allocator/mesos/roles/{role}/shares/dominant"), dominant);
    }
    for (role, amounts) in render::consumption(snapshot) {
        for (kind, quantity) in amounts.iter() {
            let name = format!("allocator/mesos/quota/roles/{role}/resources/{kind}/consumed");
            out.insert(name, quantity.as_f64());
        }
    }
}

fn operations(out: &mut Table, snapshot: &Snapshot, counters: &Counters) {
    let mut counts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for kind in OPERATIONS {
        for state in ENDS.into_iter().chain([OperationState::OperationPending]) {
            counts.insert((kind, state.as_str_name()), 0.0);
        }
    }
    for (kind, state, count) in counters.operations() {
        *counts.entry((kind, state.as_str_name())).or_default() += count as f64;
    }
    let pending = snapshot.tables.operations.values();
    for record in pending.filter(|record| record.state == OperationState::OperationPending) {
        let kind = record.info.r#type.and_then(|kind| wire::v1::offer::operation::Type::try_from(kind).ok());
        if let Some(kind) = kind {
            let state = OperationState::OperationPending.as_str_name();
            *counts.entry((kind.as_str_name(), state)).or_default() += 1.0;
        }
    }
    for ((kind, state), count) in counts {
        let (kind, state) = (kind.to_ascii_lowercase(), state.to_ascii_lowercase());
        let state = state.trim_start_matches("operation_");
        out.insert(format!("master/operations/{kind}/{state}"), count);
        for name in [format!("{kind}/total"), state.to_owned(), "total".to_owned()] {
            *out.entry(format!("master/operations/{name}")).or_default() += count;
        }
    }
}

fn frameworks(out: &mut Table, snapshot: &Snapshot, counters: &Counters) {
    for (id, activity) in counters.frameworks() {
        // Dashboards take a name apart at its slashes.
        let prefix = format!("master/frameworks/{}/{id}", activity.name.replace('/', "%2F"));
        framework(out, &prefix, activity, snapshot.tables.frameworks.get(id).map(|framework| &**framework));
    }
}

/// Of one that has ended only what was counted.
fn framework(out: &mut Table, prefix: &str, activity: &Activity, framework: Option<&Framework>) {
    let mut set = |name: &str, value: f64| out.insert(format!("{prefix}/{name}"), value);
    for (sum, names) in OF_A_FRAMEWORK {
        for name in names {
            set(name, activity.count(name) as f64);
        }
        set(sum, names.iter().map(|name| activity.count(name)).sum::<u64>() as f64);
    }
    for name in ["offers/sent", "offers/accepted", "offers/declined", "offers/rescinded"] {
        set(name, activity.count(name) as f64);
    }
    for state in TERMINAL {
        set(&format!("tasks/terminal/{}", low(state)), activity.ended(state) as f64);
    }
    set("subscribed", f64::from(u8::from(framework.is_some_and(Framework::connected))));
    let count = |state: TaskState| {
        let tasks = framework.into_iter().flat_map(|framework| framework.tasks.values());
        tasks.filter(|task| task.state == state).count()
    };
    for state in ACTIVE {
        set(&format!("tasks/active/{}", low(state)), count(state) as f64);
    }
    let unreachable = framework.map_or(0, |framework| framework.unreachable.len());
    set("tasks/active/task_unreachable", unreachable as f64);
    let none = BTreeSet::new();
    for role in framework.map_or(&none, |framework| &framework.profile.roles) {
        let suppressed = framework.is_some_and(|framework| framework.suppressed.contains(role));
        set(&format!("roles/{role}/suppressed"), f64::from(u8::from(suppressed)));
    }
}
