//! The leader's state in the shapes of the old JSON endpoints (spec mesos-v1, section 7).
//!
//! Lists are written item by item: a tree of the whole state would cost several times its text.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use master_core::render;
use master_core::snapshot::{Agent, Executor, Framework, Offer, Snapshot, Task};
use model::id::AgentId;
use model::resources::{Bag, Form, Quantities, Value as Amount};
use model::role::Role;
use model::task::TaskState;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value, json};
use wire::v1::{self, value};

/// Kinds of resources that are always printed.
const ALWAYS: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

/// States that `/state-summary` counts.
const COUNTED: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

/// A sequence made while it is written.
pub(super) struct Each<F>(pub(super) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Members in order, each made while it is written.
pub(super) struct Members<'a>(pub(super) Vec<(&'static str, Box<dyn erased::Write + 'a>)>);

/// Serializing behind a pointer, for JSON only.
pub(super) mod erased {
    use std::io;

    use serde::Serialize;

    pub(in crate::routes) trait Write {
        fn write(&self, out: &mut dyn io::Write) -> io::Result<()>;
    }

    impl<T: Serialize> Write for T {
        fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
            // Values of ours have text keys and finite numbers: what fails is the output.
            serde_json::to_writer(out, self).map_err(io::Error::from)
        }
    }
}

impl Members<'_> {
    pub(super) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(b"{")?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}\"{name}\":")?;
            value.write(out)?;
        }
        out.write_all(b"}")
    }
}

/// Amounts by name; text where they are no numbers.
pub(super) fn amounts(bag: &Bag) -> Value {
    let mut out: Map<String, Value> = ALWAYS.iter().map(|name| ((*name).to_owned(), json!(0.0))).collect();
    add_amounts(&mut out, bag, |amount| json!(amount.to_string()));
    Value::Object(out)
}

/// `/roles` prints only what there is, and counts what is no number.
fn counted_amounts(bag: &Bag) -> Value {
    let mut out = Map::new();
    add_amounts(&mut out, bag, |amount| match amount {
        Amount::Ranges(ranges) => json!(ranges.count() as f64),
        Amount::Set(set) => json!(set.len() as f64),
        Amount::Scalar(_) | Amount::Whole { .. } => json!(amount.quantity().as_f64()),
    });
    Value::Object(out)
}

/// What may be taken back goes by a name of its own.
fn add_amounts(out: &mut Map<String, Value>, bag: &Bag, text: impl Fn(&Amount) -> Value) {
    for (revocable, suffix) in [(false, ""), (true, "_revocable")] {
        for item in &bag.filter(|item| item.is_revocable() == revocable).by_name() {
            let value = match item.value() {
                Amount::Scalar(quantity) => json!(quantity.as_f64()),
                other => text(other),
            };
            out.insert(format!("{}{suffix}", item.name()), value);
        }
    }
}

/// A message in the v1 dialect, as part of something else.
pub(super) fn v1_shape<M: wire::Message>(message: &M) -> Value {
    serde_json::from_slice(&wire::json::to_vec(message)).unwrap_or_default()
}

fn labels(labels: &v1::Labels) -> Value {
    labels.labels.iter().map(v1_shape).collect()
}

fn status(status: &v1::TaskStatus) -> Value {
    let state = v1::TaskState::try_from(status.state).map_or("", |state| state.as_str_name());
    let mut out = json!({"state": state, "timestamp": status.timestamp.unwrap_or_default()});
    if let Some(all) = &status.labels {
        out["labels"] = labels(all);
    }
    if let Some(container) = &status.container_status {
        let mut shape = v1_shape(container);
        if let Value::Object(shape) = &mut shape {
            shape.retain(|name, _| matches!(name.as_str(), "container_id" | "network_infos"));
        }
        out["container_status"] = shape;
    }
    if let Some(healthy) = status.healthy {
        out["healthy"] = json!(healthy);
    }
    out
}

/// JSON has no infinity, which is a limit all the same.
fn amount(value: f64) -> Value {
    if value.is_infinite() { json!("Infinity") } else { json!(value) }
}

pub(super) fn task(task: &Task) -> Value {
    let info = &task.info;
    let mut out = json!({
        "id": task.id.as_str(),
        "name": info.name,
        "framework_id": task.framework.as_str(),
        "executor_id": task.executor.as_ref().map_or("", |id| id.as_str()),
        "slave_id": task.agent.as_str(),
        "state": task.state.name(),
        "resources": amounts(&task.resources),
        "role": task.role.as_str(),
        "statuses": task.statuses.iter().map(|one| status(one)).collect::<Vec<_>>(),
    });
    if !info.limits.is_empty() {
        out["limits"] = info.limits.iter().map(|(name, limit)| (name.clone(), amount(limit.value))).collect();
    }
    if let Some(user) = info.command.as_ref().and_then(|command| command.user.as_ref()) {
        out["user"] = json!(user);
    }
    if let Some(all) = &info.labels {
        out["labels"] = labels(all);
    }
    if let Some(discovery) = &info.discovery {
        out["discovery"] = v1_shape(discovery);
    }
    if let Some(container) = &info.container {
        out["container"] = v1_shape(container);
    }
    if let Some(check) = &info.health_check {
        out["health_check"] = v1_shape(check);
    }
    out
}

/// With lists that are there when they are empty.
fn command(info: &v1::CommandInfo) -> Value {
    let uri = |uri: &v1::command_info::Uri| json!({"value": uri.value, "executable": uri.executable.unwrap_or_default()});
    let mut out = json!({
        "shell": info.shell.unwrap_or(true),
        "argv": info.arguments,
        "uris": info.uris.iter().map(uri).collect::<Vec<_>>(),
    });
    if let Some(value) = &info.value {
        out["value"] = json!(value);
    }
    if let Some(environment) = &info.environment {
        out["environment"] = v1_shape(environment);
    }
    out
}

fn executor(executor: &Executor) -> Value {
    let info = &executor.info;
    let mut out = json!({
        "executor_id": executor.id.as_str(),
        "name": info.name.clone().unwrap_or_default(),
        "framework_id": executor.framework.as_str(),
        "command": command(info.command.as_ref().unwrap_or(&v1::CommandInfo::default())),
        "resources": amounts(&executor.resources),
        "role": executor.role.as_str(),
        "slave_id": executor.agent.as_str(),
    });
    if let Some(kind) = info.r#type.and_then(|kind| v1::executor_info::Type::try_from(kind).ok()) {
        out["type"] = json!(kind.as_str_name());
    }
    if let Some(all) = &info.labels {
        out["labels"] = labels(all);
    }
    out
}

fn offer(offer: &Offer) -> Value {
    json!({
        "id": offer.id.as_str(),
        "framework_id": offer.framework.as_str(),
        "allocation_info": {"role": offer.role.as_str()},
        "slave_id": offer.agent.as_str(),
        "resources": amounts(&offer.resources),
    })
}

/// The head of a framework object, up to `recovered`, which the summary shows too.
fn framework_head(framework: &Framework) -> Map<String, Value> {
    let info = &framework.info;
    let capabilities: Vec<&str> = info
        .capabilities
        .iter()
        .filter_map(|one| {
            one.r#type.and_then(|kind| v1::framework_info::capability::Type::try_from(kind).ok())
        })
        .map(|kind| kind.as_str_name())
        .collect();
    let out = json!({
        "id": framework.id.as_str(),
        "name": info.name,
        "used_resources": amounts(&render::framework_usage(framework)),
        "offered_resources": amounts(&render::framework_offered(framework)),
        "capabilities": capabilities,
        "hostname": info.hostname.clone().unwrap_or_default(),
        "webui_url": info.webui_url.clone().unwrap_or_default(),
        "active": framework.connected(),
        "connected": framework.connected(),
        "recovered": framework.recovered,
    });
    match out {
        Value::Object(out) => out,
        _ => Map::new(),
    }
}

/// A framework with its tasks, of which there may be half a million: they are made one by one while they are written.
pub(super) struct Whole<'a>(pub(super) &'a Framework);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(framework) = self;
        let info = &framework.info;
        let mut out = serializer.serialize_map(None)?;
        for (name, value) in framework_head(framework) {
            out.serialize_entry(&name, &value)?;
        }
        out.serialize_entry("user", &info.user)?;
        out.serialize_entry("failover_timeout", &info.failover_timeout.unwrap_or_default())?;
        out.serialize_entry("checkpoint", &info.checkpoint.unwrap_or_default())?;
        out.serialize_entry("registered_time", &framework.registered_at.as_secs_f64())?;
        let unregistered = framework.unregistered_at.map_or(0.0, |at| at.as_secs_f64());
        out.serialize_entry("unregistered_time", &unregistered)?;
        if framework.reregistered_at != framework.registered_at {
            out.serialize_entry("reregistered_time", &framework.reregistered_at.as_secs_f64())?;
        }
        if let Some(principal) = &info.principal {
            out.serialize_entry("principal", principal)?;
        }
        let held = &render::framework_usage(framework) + &render::framework_offered(framework);
        out.serialize_entry("resources", &amounts(&held))?;
        let roles: Vec<&str> = framework.profile.roles.iter().map(|role| role.as_str()).collect();
        if framework.profile.capabilities.multi_role {
            out.serialize_entry("roles", &roles)?;
        } else {
            out.serialize_entry("role", roles.first().unwrap_or(&"*"))?;
        }
        out.serialize_entry("tasks", &Each(|| framework.tasks.values().map(|one| task(one))))?;
        let unreachable = Each(|| framework.unreachable.values().map(|one| task(one)));
        out.serialize_entry("unreachable_tasks", &unreachable)?;
        out.serialize_entry("completed_tasks", &Each(|| framework.completed.iter().map(|one| task(one))))?;
        out.serialize_entry("offers", &Each(|| framework.offers.values().map(|one| offer(one))))?;
        out.serialize_entry("executors", &Each(|| framework.executors.values().map(|one| executor(one))))?;
        if let Some(all) = &info.labels {
            out.serialize_entry("labels", &labels(all))?;
        }
        out.serialize_entry("offer_constraints", &v1_shape(&framework.constraints.given))?;
        out.end()
    }
}

fn attributes(all: &[v1::Attribute]) -> Value {
    let ranges = |ranges: &value::Ranges| {
        let each: Vec<String> =
            ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
        json!(format!("[{}]", each.join(", ")))
    };
    let one = |attribute: &v1::Attribute| {
        let value = attribute.scalar.as_ref().map(|scalar| json!(scalar.value));
        let value = value.or_else(|| attribute.text.as_ref().map(|text| json!(text.value)));
        let value = value.or_else(|| attribute.ranges.as_ref().map(ranges));
        let value =
            value.or_else(|| attribute.set.as_ref().map(|set| json!(format!("{{{}}}", set.item.join(", ")))));
        (attribute.name.clone(), value.unwrap_or_default())
    };
    Value::Object(all.iter().map(one).collect())
}

fn by_role(bag: &Bag, shape: impl Fn(&Bag) -> Value) -> Value {
    let mut roles: BTreeMap<String, Bag> = BTreeMap::new();
    for item in &bag.reserved() {
        if let Some(role) = item.reserved_to() {
            roles.entry(role.to_string()).or_default().insert(item.clone());
        }
    }
    Value::Object(roles.into_iter().map(|(role, bag)| (role, shape(&bag))).collect())
}

fn agent_object(snapshot: &Snapshot, agent: &Agent) -> Map<String, Value> {
    let (used, offered) =
        (render::agent_usage(&snapshot.tables, agent), render::agent_offered(&snapshot.tables, agent));
    let port = agent.info.port.unwrap_or(5051);
    let out = json!({
        "id": agent.id.as_str(),
        "hostname": agent.info.hostname,
        "port": port,
        "attributes": attributes(&agent.info.attributes),
        "pid": format!("slave(1)@{}:{port}", agent.ip),
        "registered_time": agent.registered_at.as_secs_f64(),
        "resources": amounts(&agent.total),
        "used_resources": amounts(&used),
        "offered_resources": amounts(&offered),
        "reserved_resources": by_role(&agent.total, amounts),
        "unreserved_resources": amounts(&agent.total.unreserved()),
        "active": agent.link.is_some() && !agent.deactivated,
        "deactivated": agent.deactivated,
        "version": &*agent.version,
        "capabilities": render::AGENT_CAPABILITIES.map(|can| can.as_str_name()),
    });
    let Value::Object(mut out) = out else { return Map::new() };
    if let Some(at) = agent.reregistered_at {
        out.insert("reregistered_time".to_owned(), json!(at.as_secs_f64()));
    }
    if let Some(domain) = &agent.info.domain {
        out.insert("domain".to_owned(), v1_shape(domain));
    }
    if let (Some(info), Some(drain)) = (render::drain_info(agent), agent.drain) {
        out.insert("drain_info".to_owned(), v1_shape(&info));
        let since = drain.since.as_millis() / 1_000;
        out.insert("estimated_drain_start_time_seconds".to_owned(), json!(since));
    }
    out
}

pub(super) fn agent(snapshot: &Snapshot, agent: &Agent) -> Value {
    Value::Object(agent_object(snapshot, agent))
}

/// With the whole resources beside the flat ones, as `/slaves` has it.
pub(super) fn agent_in_full(snapshot: &Snapshot, agent: &Agent) -> Value {
    let full = |bag: &Bag| -> Value { bag.to_wire(Form::Before).iter().map(v1_shape).collect() };
    let mut out = agent_object(snapshot, agent);
    out.insert("reserved_resources_full".to_owned(), by_role(&agent.total, full));
    out.insert("unreserved_resources_full".to_owned(), full(&agent.total.unreserved()));
    out.insert("used_resources_full".to_owned(), full(&render::agent_usage(&snapshot.tables, agent)));
    out.insert("offered_resources_full".to_owned(), full(&render::agent_offered(&snapshot.tables, agent)));
    Value::Object(out)
}

pub(super) fn recovered(snapshot: &Snapshot) -> Value {
    let known = snapshot.tables.recovered.iter().filter_map(|id| snapshot.registry.agent(id));
    known
        .map(|fact| json!({"id": fact.info.id.as_ref().map(|id| &id.value), "hostname": fact.info.hostname}))
        .collect()
}

/// How many tasks are in each state that is counted.
#[derive(Default)]
struct Counts(BTreeMap<TaskState, u64>);

impl Counts {
    fn of<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        let mut counts = Self::default();
        for task in tasks {
            *counts.0.entry(task.state).or_default() += 1;
        }
        counts
    }

    fn put(&self, out: &mut Map<String, Value>) {
        for state in COUNTED {
            out.insert(state.name().to_owned(), json!(self.0.get(&state).copied().unwrap_or_default()));
        }
    }
}

/// Every task that is remembered, whatever became of it.
fn all_tasks(framework: &Framework) -> impl Iterator<Item = &Task> {
    let all = framework.tasks.values().chain(framework.unreachable.values());
    all.chain(framework.completed.iter()).map(|task| &**task)
}

pub(super) fn framework_summary(framework: &Framework) -> Value {
    let mut out = framework_head(framework);
    Counts::of(all_tasks(framework)).put(&mut out);
    let agents: BTreeSet<&str> = all_tasks(framework).map(|task| task.agent.as_str()).collect();
    out.insert("slave_ids".to_owned(), json!(agents));
    Value::Object(out)
}

/// What `/state-summary` says of each agent's tasks, past ones too. Found in one walk over all tasks: agents know their
/// live ones alone.
#[derive(Default)]
pub(super) struct Histories<'a>(BTreeMap<&'a AgentId, (Counts, BTreeSet<&'a str>)>);

impl<'a> Histories<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut all = Self::default();
        for framework in snapshot.tables.frameworks.values() {
            for task in all_tasks(framework) {
                let (counts, frameworks) = all.0.entry(&task.agent).or_default();
                *counts.0.entry(task.state).or_default() += 1;
                frameworks.insert(framework.id.as_str());
            }
        }
        all
    }
}

pub(super) fn agent_summary(snapshot: &Snapshot, histories: &Histories<'_>, agent: &Agent) -> Value {
    let mut out = agent_object(snapshot, agent);
    let none = Default::default();
    let (counts, frameworks) = histories.0.get(&agent.id).unwrap_or(&none);
    counts.put(&mut out);
    out.insert("framework_ids".to_owned(), json!(frameworks));
    Value::Object(out)
}

/// Roles that somebody is in, or that have something reserved, a weight or a quota.
pub(super) fn roles(snapshot: &Snapshot) -> Value {
    #[derive(Default)]
    struct Use {
        used: Bag,
        offered: Bag,
        reserved: Bag,
        frameworks: Vec<String>,
    }
    let mut roles: BTreeMap<String, Use> = BTreeMap::new();
    for weight in snapshot.registry.weights() {
        roles.entry(weight.role.to_string()).or_default();
    }
    for quota in snapshot.registry.quotas() {
        roles.entry(quota.role.to_string()).or_default();
    }
    for framework in snapshot.tables.frameworks.values() {
        for role in &framework.profile.roles {
            roles.entry(role.to_string()).or_default().frameworks.push(framework.id.to_string());
        }
        for item in &render::framework_usage(framework) {
            let role = item.allocated_to().map_or_else(|| "*".to_owned(), ToString::to_string);
            roles.entry(role).or_default().used.insert(item.clone());
        }
        for item in &render::framework_offered(framework) {
            let role = item.allocated_to().map_or_else(|| "*".to_owned(), ToString::to_string);
            roles.entry(role).or_default().offered.insert(item.clone());
        }
    }
    for agent in snapshot.tables.agents.values() {
        for item in &agent.total.reserved() {
            if let Some(role) = item.reserved_to() {
                roles.entry(role.to_string()).or_default().reserved.insert(item.clone());
            }
        }
    }
    let consumed = render::consumption(snapshot);
    let named = |amounts: &Quantities| -> Value {
        amounts
            .iter()
            .map(|(name, amount)| (name.to_string(), json!(amount.as_f64())))
            .collect::<Map<_, _>>()
            .into()
    };
    let none = Quantities::new();
    let thousandths = |role: &str| snapshot.registry.weight(role) as f64 / 1000.0;
    roles
        .into_iter()
        .map(|(name, role)| {
            let allocated = counted_amounts(&role.used);
            let quota = snapshot.registry.quota(&name);
            let consumed = name.parse().ok().and_then(|role: Role| consumed.get(&role)).unwrap_or(&none);
            json!({
                "name": name,
                "weight": thousandths(&name),
                "quota": {
                    "role": name,
                    "guarantee": named(quota.map_or(&none, |quota| &quota.guarantees)),
                    "limit": named(quota.map_or(&none, |quota| &quota.limits)),
                    "consumed": named(consumed),
                },
                "resources": counted_amounts(&(&role.used + &role.offered)),
                "allocated": allocated,
                "offered": counted_amounts(&role.offered),
                "reserved": counted_amounts(&role.reserved),
                "frameworks": role.frameworks,
            })
        })
        .collect()
}
