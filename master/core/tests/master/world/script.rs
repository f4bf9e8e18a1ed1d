//! The language of transcripts. One command a line, `key=value` arguments after its name; a quoted value may contain
//! blanks.
//!
//! ```text
//! subscribe s1 roles=web caps=PARTITION_AWARE
//! ----
//! r1 200 stream s1
//! ...
//! ```

mod operator;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use master_core::effect::Effect;
use master_core::input::{Input, LinkId, Peer, Role, StreamId};
use master_core::registry::StateCall;
use master_core::settings::Settings;
use master_core::snapshot::Snapshot;
use model::resources::{Bag, Form};
use model::task::TaskState;
use model::time::Span;
use wire::link::to_master::Frame;
use wire::scheduler::Call;
use wire::scheduler::call::{self, Type};
use wire::v1::{self, framework_info::Capability, offer::operation::Type as OperationType};

use super::{World, show};

/// The leadership whose id prefixes all others.
const MASTER: &str = "M";

pub(crate) struct Script {
    world: World,
    settings: Settings,
    /// Pings and heartbeats are left out unless asked for.
    verbose: bool,
}

struct Args<'a> {
    line: &'a str,
    plain: Vec<String>,
    named: BTreeMap<String, String>,
}

impl<'a> Args<'a> {
    fn parse(line: &'a str) -> Self {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ' ' if !quoted => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                }
                _ => word.push(c),
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        let mut plain = Vec::new();
        let mut named = BTreeMap::new();
        for word in words.into_iter().skip(1) {
            match word.split_once('=') {
                Some((name, value)) => {
                    named.insert(name.to_owned(), value.to_owned());
                }
                None => plain.push(word),
            }
        }
        Self { line, plain, named }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    fn has(&self, word: &str) -> bool {
        self.plain.iter().any(|plain| plain == word)
    }

    fn at(&self, place: usize) -> &str {
        self.plain.get(place).unwrap_or_else(|| panic!("`{}` lacks its argument {}", self.line, place + 1))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or_default();
        value.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)
            .map(|value| value.parse().unwrap_or_else(|_| panic!("`{}`: {name} is no number", self.line)))
    }

    fn float(&self, name: &str) -> Option<f64> {
        self.get(name)
            .map(|value| value.parse().unwrap_or_else(|_| panic!("`{}`: {name} is no number", self.line)))
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::of(Settings::default())
    }

    pub(crate) fn of(settings: Settings) -> Self {
        Self { world: World::new(settings.clone()), settings, verbose: false }
    }

    /// Runs every command of a transcript and returns it with what really happened.
    pub(crate) fn replay(mut self, text: &str) -> String {
        let mut out = String::new();
        for block in text.split("\n\n") {
            let commands = block.split("\n----").next().unwrap_or_default().trim_end();
            if commands.trim().is_empty() {
                continue;
            }
            out += commands;
            out.push('\n');
            if commands.lines().all(|line| line.starts_with('#')) {
                out.push('\n');
                continue;
            }
            out += "----\n";
            for line in commands.lines().filter(|line| !line.starts_with('#')) {
                self.run(line, &mut out);
            }
            out.push('\n');
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    /// Runs one command and returns what it brought about.
    pub(crate) fn effects_of(&mut self, line: &str) -> Vec<Effect> {
        let args = Args::parse(line);
        let said = self.command(line.split(' ').next().unwrap_or_default(), &args);
        assert_eq!(said, None, "`{line}` was refused at the edge");
        std::mem::take(&mut self.world.effects)
    }

    /// A call as it stands, on the stream `s1` of the first framework; all it brought about.
    pub(crate) fn call(&mut self, mut call: Call) -> Vec<Effect> {
        call.framework_id = Some(v1::FrameworkId { value: format!("{MASTER}-0000") });
        let stream = StreamId("s1".into());
        let taken = self.world.scheduler(&stream.clone(), Some(stream), call);
        taken.expect("the edge lets it through");
        std::mem::take(&mut self.world.effects)
    }

    /// A subscription as it stands, on a stream of its own; all it brought about.
    pub(crate) fn subscribe_as(&mut self, subscribe: call::Subscribe) -> Vec<Effect> {
        let call =
            Call { r#type: Some(Type::Subscribe.into()), subscribe: Some(subscribe), ..Call::default() };
        let taken = self.world.scheduler(&StreamId("other".into()), None, call);
        taken.expect("the edge lets it through");
        std::mem::take(&mut self.world.effects)
    }

    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        self.world.snapshot()
    }

    fn run(&mut self, line: &str, out: &mut String) {
        let args = Args::parse(line);
        let verb = line.split(' ').next().unwrap_or_default();
        if let Some(text) = self.command(verb, &args) {
            let _ = writeln!(out, "{text}");
        }
        for effect in std::mem::take(&mut self.world.effects) {
            if self.verbose || !show::is_routine(&effect) {
                let _ = writeln!(out, "{}", show::effect(&effect));
            }
        }
    }

    /// Runs one command; what it has to say beside the effects.
    fn command(&mut self, verb: &str, args: &Args<'_>) -> Option<String> {
        match verb {
            "verbose" => self.verbose = args.at(0) == "on",
            "set" => self.set(args),
            "lead" => {
                self.world.domain = args.get("region").map(domain);
                self.world.lead(args.number("term").unwrap_or(1), args.get("id").unwrap_or(MASTER));
            }
            "follow" => self.world.feed(Input::Role(Role::Following { leader: args.at(0).into() })),
            "candidate" => self.world.feed(Input::Role(Role::Candidate)),
            "fail-over" => {
                self.world.fail_over(self.settings.clone());
                self.world.domain = args.get("region").map(domain);
                self.world.lead(args.number("term").unwrap_or(2), args.get("id").unwrap_or("N"));
            }
            "hold" => self.world.hold = true,
            "release" => self.world.release(),
            "limit" => self.world.limit(args.number("frameworks").expect("limit has frameworks")),
            "lose" => self.world.lose_proposals(),
            "refute" => self.world.refute(),
            "tick" => self.world.pass(span(args.at(0))),
            "silence" => {
                self.world.silent.insert(link(args.at(0)));
            }
            "unsilence" => {
                self.world.silent.remove(&link(args.at(0)));
            }
            "stall" => {
                self.world.stalled.insert(StreamId(args.at(0).into()));
            }
            "read" => self.world.read(&StreamId(args.at(0).into())),
            "close" => self.close(args.at(0)),
            "state" => return Some(show::summary(&self.world.snapshot()).join("\n")),
            "hello" => self.hello(args),
            "update" => self.update(args),
            "executor-message" => {
                let message = wire::link::ExecutorMessage {
                    framework_id: self.framework(args).into(),
                    executor_id: executor_id(args.at(1)),
                    data: Bytes::from(args.at(2).to_owned()),
                };
                self.world.frame(link(args.at(0)), Frame::Message(message));
            }
            "executor-exit" => {
                let exit = wire::link::ExecutorExit {
                    framework_id: self.framework(args).into(),
                    executor_id: executor_id(args.at(1)),
                    status: args.get("status").map(|status| status.parse().expect("a wait status")),
                };
                self.world.frame(link(args.at(0)), Frame::ExecutorExit(exit));
            }
            "fenced" => {
                let highest_term = args.number("term").expect("fenced has a term");
                self.world.frame(link(args.at(0)), Frame::Fenced(wire::link::Fenced { highest_term }));
            }
            "resources" => {
                let total = resources(args.get("res").expect("resources has res"));
                self.world.frame(link(args.at(0)), Frame::Resources(wire::link::Resources { total }));
            }
            "goodbye" => {
                let goodbye = wire::link::Goodbye { tasks_killed: args.has("killed") };
                self.world.frame(link(args.at(0)), Frame::Goodbye(goodbye));
            }
            "operated" => self.operated(args),
            "op" => return self.operator(args),
            "kv" => return self.key_value(args),
            _ => return self.scheduler(verb, args),
        }
        None
    }

    fn set(&mut self, args: &Args<'_>) {
        for (name, value) in &args.named {
            match name.as_str() {
                "offer_timeout" => self.settings.offer_timeout = Some(span(value)),
                "agent_timeout" => self.settings.agent_timeout = span(value),
                "recovery_window" => self.settings.recovery_window = span(value),
                "framework_window" => self.settings.framework_window = span(value),
                "unreachable_burst" => self.settings.unreachable_burst = value.parse().expect("a number"),
                "unreachable_every" => self.settings.unreachable_every = span(value),
                "recovery_spare" => self.settings.recovery_spare = value.parse().expect("a number"),
                "forget_after" => self.settings.forget_after = span(value),
                "away_agents" => self.settings.away_agents = value.parse().expect("a number"),
                other => panic!("there is no setting {other}"),
            }
        }
        self.world = World::new(self.settings.clone());
    }

    fn close(&mut self, name: &str) {
        let peer = match name.strip_prefix('a').and_then(|number| number.parse().ok()) {
            Some(number) => Peer::Link(LinkId(number)),
            None => Peer::Stream(StreamId(name.into())),
        };
        self.world.close(peer);
    }

    // --- agents

    fn hello(&mut self, args: &Args<'_>) {
        let name = args.at(0);
        let tasks = args.list("tasks").iter().map(|task| self.held_task(args, task)).collect();
        let executors = args.list("executors").into_iter().map(|executor| {
            let (framework, executor) = executor.split_once('/').expect("framework/executor");
            wire::link::ExecutorRecord {
                framework_id: v1::FrameworkId { value: framework.to_owned() },
                info: executor_info(executor, Some("cpus:0.1;mem:32")),
            }
        });
        let frameworks = args.list("frameworks").into_iter().map(|id| v1::FrameworkInfo {
            user: "root".to_owned(),
            name: "found".to_owned(),
            id: Some(v1::FrameworkId { value: id }),
            failover_timeout: Some(100.0),
            ..v1::FrameworkInfo::default()
        });
        let hello = wire::link::Hello {
            agent_id: args.get("id").map(|id| v1::AgentId { value: id.to_owned() }),
            info: v1::AgentInfo {
                hostname: args.get("host").unwrap_or(name).to_owned(),
                port: Some(5051),
                resources: resources(args.get("res").unwrap_or("cpus:4;mem:4096;ports:[31000-31009]")),
                domain: args.get("region").map(domain),
                ..v1::AgentInfo::default()
            },
            version: "0.1.0".to_owned(),
            highest_term: args.number("term").unwrap_or(0),
            checkpointed_resources: args.get("total").map(reserved).unwrap_or_default(),
            tasks,
            executors: executors.collect(),
            frameworks: frameworks.collect(),
            boot_id: args.get("boot").map(str::to_owned),
            session: args.get("session").map(str::to_owned),
            earlier_sessions: args.list("earlier"),
            operations: args
                .list("operations")
                .iter()
                .map(|one| {
                    let (number, state) = one.split_once(':').expect("number:STATE");
                    self.operation_report(args, number, state)
                })
                .collect(),
        };
        self.world.frame_from(args.get("ip").unwrap_or("127.0.0.1"), link(name), Frame::Hello(hello));
    }

    /// `framework/task:STATE`, with the resources every task of a hello has.
    fn held_task(&self, args: &Args<'_>, text: &str) -> wire::link::TaskRecord {
        let (framework, rest) = text.split_once('/').expect("framework/task:STATE");
        let (id, latest) = rest.split_once(':').expect("framework/task:STATE");
        let agent = args.get("id").unwrap_or_default();
        wire::link::TaskRecord {
            framework_id: v1::FrameworkId { value: framework.to_owned() },
            info: task_info(id, agent, "cpus:1;mem:32"),
            latest_state: state(latest).into(),
            forwarded: None,
            executor_id: None,
        }
    }

    /// `update a1 t1 RUNNING uuid=7`, of the framework `fw`.
    fn update(&mut self, args: &Args<'_>) {
        let state = state(args.at(2));
        let latest = args.get("latest").map_or(state, self::state);
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: args.at(1).to_owned() },
            state: state.into(),
            message: args.get("message").map(str::to_owned),
            source: Some(v1::task_status::Source::Executor.into()),
            uuid: args.number("uuid").map(uuid),
            healthy: args.get("healthy").map(|healthy| healthy == "true"),
            container_status: args.get("container").map(|name| v1::ContainerStatus {
                container_id: Some(v1::ContainerId { value: name.to_owned(), ..v1::ContainerId::default() }),
                ..v1::ContainerStatus::default()
            }),
            ..v1::TaskStatus::default()
        };
        let report = wire::link::StatusReport {
            framework_id: self.framework(args).into(),
            status,
            latest_state: latest.into(),
        };
        self.world.frame(link(args.at(0)), Frame::Status(report));
    }

    /// `operated a1 7 FINISHED uuid=1`: how the operation of that number ended.
    fn operated(&mut self, args: &Args<'_>) {
        let frame = Frame::Operation(self.operation_report(args, args.at(1), args.at(2)));
        self.world.frame(link(args.at(0)), frame);
    }

    fn operation_report(&self, args: &Args<'_>, number: &str, state: &str) -> wire::link::OperationReport {
        let term = args.number("op-term").unwrap_or(1);
        let mut name = term.to_be_bytes().to_vec();
        name.extend(number.parse::<u64>().expect("the number of an operation").to_be_bytes());
        wire::link::OperationReport {
            framework_id: (!args.has("operator")).then(|| self.framework(args).into()),
            status: v1::OperationStatus {
                operation_id: args.get("op-id").map(|id| v1::OperationId { value: id.to_owned() }),
                state: v1::OperationState::from_str_name(&format!("OPERATION_{state}"))
                    .unwrap_or_else(|| panic!("there is no state {state}"))
                    .into(),
                message: args.get("message").map(str::to_owned),
                uuid: args.number("uuid").map(|number| v1::Uuid { value: uuid(number) }),
                ..v1::OperationStatus::default()
            },
            operation_uuid: name.into(),
            operation: None,
        }
    }

    // --- schedulers

    /// The framework a command is about: `fw=`, else that of the stream it comes from, else the first.
    fn framework(&self, args: &Args<'_>) -> model::id::FrameworkId {
        if let Some(id) = args.get("fw") {
            return id.into();
        }
        let stream = args.plain.first().map(|name| StreamId(name.as_str().into()));
        let known = stream.and_then(|stream| self.world.frameworks.get(&stream).cloned());
        known.unwrap_or_else(|| format!("{MASTER}-0000").as_str().into())
    }

    fn scheduler(&mut self, verb: &str, args: &Args<'_>) -> Option<String> {
        let stream = StreamId(args.at(0).into());
        let mut call = match verb {
            "subscribe" => self.subscribe(args),
            "update-framework" => Call {
                r#type: Some(Type::UpdateFramework.into()),
                update_framework: Some(call::UpdateFramework {
                    framework_info: framework_info(args, Some(self.framework(args).to_string())),
                    suppressed_roles: args.list("suppressed"),
                    offer_constraints: None,
                }),
                ..Call::default()
            },
            "accept" => self.accept(args),
            "decline" => Call {
                r#type: Some(Type::Decline.into()),
                decline: Some(call::Decline { offer_ids: offers(args), filters: filters(args) }),
                ..Call::default()
            },
            "accept-inverse" => Call {
                r#type: Some(Type::AcceptInverseOffers.into()),
                accept_inverse_offers: Some(call::AcceptInverseOffers {
                    inverse_offer_ids: offers(args),
                    filters: filters(args),
                }),
                ..Call::default()
            },
            "decline-inverse" => Call {
                r#type: Some(Type::DeclineInverseOffers.into()),
                decline_inverse_offers: Some(call::DeclineInverseOffers {
                    inverse_offer_ids: offers(args),
                    filters: filters(args),
                }),
                ..Call::default()
            },
            "revive" => Call {
                r#type: Some(Type::Revive.into()),
                revive: args.get("roles").map(|_| call::Revive { roles: args.list("roles") }),
                ..Call::default()
            },
            "suppress" => Call {
                r#type: Some(Type::Suppress.into()),
                suppress: args.get("roles").map(|_| call::Suppress { roles: args.list("roles") }),
                ..Call::default()
            },
            "kill" => Call {
                r#type: Some(Type::Kill.into()),
                kill: Some(call::Kill {
                    task_id: v1::TaskId { value: args.at(1).to_owned() },
                    agent_id: agent_id(args),
                    kill_policy: args.number("grace").map(|seconds| v1::KillPolicy {
                        grace_period: Some(Span::from_secs(seconds).into()),
                    }),
                }),
                ..Call::default()
            },
            "shutdown" => Call {
                r#type: Some(Type::Shutdown.into()),
                shutdown: Some(call::Shutdown {
                    executor_id: executor_id(args.at(1)),
                    agent_id: agent_id(args).expect("shutdown has an agent"),
                }),
                ..Call::default()
            },
            "ack" => Call {
                r#type: Some(Type::Acknowledge.into()),
                acknowledge: Some(call::Acknowledge {
                    agent_id: agent_id(args).expect("ack has an agent"),
                    task_id: v1::TaskId { value: args.at(1).to_owned() },
                    uuid: args.number("uuid").map(uuid).unwrap_or_default(),
                }),
                ..Call::default()
            },
            "reconcile" => {
                let tasks = args.plain[1..].iter().map(|task| {
                    let (task, agent) =
                        task.split_once('@').map_or((task.as_str(), None), |(t, a)| (t, Some(a)));
                    call::reconcile::Task {
                        task_id: v1::TaskId { value: task.to_owned() },
                        agent_id: agent.map(|agent| v1::AgentId { value: agent.to_owned() }),
                    }
                });
                Call {
                    r#type: Some(Type::Reconcile.into()),
                    reconcile: Some(call::Reconcile { tasks: tasks.collect() }),
                    ..Call::default()
                }
            }
            "reconcile-operations" => {
                let operations = args.plain[1..].iter().map(|id| call::reconcile_operations::Operation {
                    operation_id: v1::OperationId { value: id.clone() },
                    agent_id: agent_id(args),
                    resource_provider_id: None,
                });
                Call {
                    r#type: Some(Type::ReconcileOperations.into()),
                    reconcile_operations: Some(call::ReconcileOperations {
                        operations: operations.collect(),
                    }),
                    ..Call::default()
                }
            }
            "ack-operation" => Call {
                r#type: Some(Type::AcknowledgeOperationStatus.into()),
                acknowledge_operation_status: Some(call::AcknowledgeOperationStatus {
                    agent_id: agent_id(args),
                    resource_provider_id: None,
                    uuid: args.number("uuid").map(uuid).unwrap_or_default(),
                    operation_id: v1::OperationId { value: args.at(1).to_owned() },
                }),
                ..Call::default()
            },
            "message" => Call {
                r#type: Some(Type::Message.into()),
                message: Some(call::Message {
                    agent_id: agent_id(args).expect("message has an agent"),
                    executor_id: executor_id(args.at(1)),
                    data: Bytes::from(args.at(2).to_owned()),
                }),
                ..Call::default()
            },
            "teardown" => Call { r#type: Some(Type::Teardown.into()), ..Call::default() },
            "request" => Call {
                r#type: Some(Type::Request.into()),
                request: Some(call::Request::default()),
                ..Call::default()
            },
            "unknown-call" => Call { r#type: Some(Type::Unknown.into()), ..Call::default() },
            // A call of a type with nothing of what belongs to it.
            "bare" => Call {
                r#type: args.get("type").and_then(Type::from_str_name).map(Into::into),
                ..Call::default()
            },
            other => panic!("there is no command `{other}`"),
        };
        if verb != "subscribe" && !args.has("anonymous") {
            call.framework_id = Some(self.framework(args).into());
        }
        // The header a scheduler sends: its stream's id, unless the script says otherwise.
        let header = match (verb, args.get("header")) {
            (_, Some("none")) | ("subscribe", None) => None,
            (_, Some(other)) => Some(StreamId(other.into())),
            (_, None) => Some(stream.clone()),
        };
        match self.world.scheduler(&stream, header, call) {
            Ok(_) => None,
            Err(refusal) => Some(format!("edge {} {refusal}", refusal.status())),
        }
    }

    fn subscribe(&self, args: &Args<'_>) -> Call {
        let id = args.get("id").map(str::to_owned);
        Call {
            framework_id: args.get("outer").map(|id| v1::FrameworkId { value: id.to_owned() }),
            r#type: Some(Type::Subscribe.into()),
            subscribe: Some(call::Subscribe {
                framework_info: framework_info(args, id),
                suppressed_roles: args.list("suppressed"),
                offer_constraints: None,
            }),
            ..Call::default()
        }
    }

    /// `accept s1 O0,O1 t1:cpus:1;mem:32 t2:cpus:1`: each further word is a task.
    fn accept(&self, args: &Args<'_>) -> Call {
        let agent = args.get("agent").map_or_else(|| format!("{MASTER}-S0"), str::to_owned);
        let tasks: Vec<v1::TaskInfo> = args.plain[2..]
            .iter()
            .filter(|word| !matches!(word.as_str(), "group" | "anonymous"))
            .map(|word| {
                let (id, resources) = word.split_once(':').unwrap_or((word, ""));
                let mut info = task_info(id, &agent, resources);
                adorn(&mut info, args);
                info
            })
            .collect();
        let mut operations = Vec::new();
        if !tasks.is_empty() || args.has("group") {
            let mut operation = v1::offer::Operation {
                id: args.get("op-id").map(|id| v1::OperationId { value: id.to_owned() }),
                ..v1::offer::Operation::default()
            };
            if args.has("group") {
                operation.r#type = Some(OperationType::LaunchGroup.into());
                operation.launch_group = Some(v1::offer::operation::LaunchGroup {
                    executor: group_executor(args),
                    task_group: v1::TaskGroupInfo { tasks },
                });
            } else {
                operation.r#type = Some(OperationType::Launch.into());
                operation.launch = Some(v1::offer::operation::Launch { task_infos: tasks });
            }
            operations.push(operation);
        }
        // What operations make is there for the tasks of the same call.
        let targets: Vec<&str> = args.get("target").map(|all| all.split('|').collect()).unwrap_or_default();
        for (place, kind) in args.list("operation").iter().enumerate() {
            let target = targets.get(place).map(|text| reserved(text)).unwrap_or_default();
            let mut operation = change(kind, &target);
            let id = args.list("ids").get(place).cloned().or_else(|| args.get("op-id").map(str::to_owned));
            operation.id = id.map(|value| v1::OperationId { value });
            operations.insert(place, operation);
        }
        Call {
            r#type: Some(Type::Accept.into()),
            accept: Some(call::Accept { offer_ids: offers(args), operations, filters: filters(args) }),
            ..Call::default()
        }
    }

    // --- the key-value API

    /// `kv w1 <the call as JSON>`.
    fn key_value(&mut self, args: &Args<'_>) -> Option<String> {
        let stream = StreamId(args.at(0).into());
        let body =
            args.line.split_once('{').map(|(_, rest)| format!("{{{rest}")).expect("kv has a JSON body");
        let call = match wire::state::Call::from_slice(body.as_bytes()) {
            Ok(call) => call,
            Err(error) => return Some(format!("edge {error}")),
        };
        match StateCall::from_wire(call) {
            Ok(call) => {
                self.world.state(&stream, call);
                None
            }
            Err(refusal) => Some(format!("edge {refusal}")),
        }
    }
}

fn span(text: &str) -> Span {
    match text.strip_suffix("ms") {
        Some(millis) => Span::from_millis(millis.parse().expect("milliseconds")),
        None => Span::from_secs_f64(text.strip_suffix('s').unwrap_or(text).parse().expect("seconds"))
            .expect("a span"),
    }
}

fn link(name: &str) -> u64 {
    name.strip_prefix('a')
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("`{name}` is no link"))
}

fn state(name: &str) -> TaskState {
    TaskState::from_name(&format!("TASK_{name}")).unwrap_or_else(|| panic!("there is no state {name}"))
}

/// Sixteen bytes that end in a number.
pub(crate) fn uuid(number: u64) -> Bytes {
    let mut bytes = vec![0; 8];
    bytes.extend(number.to_be_bytes());
    Bytes::from(bytes)
}

pub(crate) fn resources(text: &str) -> Vec<v1::Resource> {
    Bag::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_wire(Form::Stack)
}

/// As `resources`, where `cpus[a/b+c]:1` is reserved dynamically, first to `a/b`, then to `c`; `disk[a#v]:9` is the
/// volume `v`.
pub(crate) fn reserved(text: &str) -> Vec<v1::Resource> {
    let mut all = Vec::new();
    for entry in text.split(';') {
        let Some((name, rest)) = entry.split_once('[').filter(|(name, _)| !name.contains(':')) else {
            all.extend(resources(entry));
            continue;
        };
        let (stack, amount) = rest.split_once("]:").expect("name[roles]:amount");
        let (roles, volume) = stack.split_once('#').map_or((stack, None), |(roles, id)| (roles, Some(id)));
        for mut resource in resources(&format!("{name}:{amount}")) {
            resource.reservations = roles
                .split('+')
                .map(|layer| {
                    let (role, principal) = layer
                        .split_once('@')
                        .map_or((layer, None), |(role, who)| (role, Some(who.to_owned())));
                    v1::resource::ReservationInfo {
                        r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
                        role: Some(role.to_owned()),
                        principal,
                        labels: None,
                    }
                })
                .collect();
            resource.disk = volume.map(|id| v1::resource::DiskInfo {
                persistence: Some(v1::resource::disk_info::Persistence {
                    id: id.to_owned(),
                    principal: None,
                }),
                volume: Some(v1::Volume {
                    container_path: "data".to_owned(),
                    mode: v1::volume::Mode::Rw.into(),
                    ..v1::Volume::default()
                }),
                source: None,
            });
            all.push(resource);
        }
    }
    all
}

fn target(args: &Args<'_>) -> Vec<v1::Resource> {
    args.get("target").map(reserved).unwrap_or_default()
}

pub(crate) fn change(kind: &str, resources: &[v1::Resource]) -> v1::offer::Operation {
    use v1::offer::operation::{Create, Destroy, Reserve, Unreserve};
    let resources = resources.to_vec();
    let mut operation = v1::offer::Operation {
        r#type: OperationType::from_str_name(kind).map(Into::into),
        ..v1::offer::Operation::default()
    };
    match kind {
        "RESERVE" => operation.reserve = Some(Reserve { resources, source: Vec::new() }),
        "UNRESERVE" => operation.unreserve = Some(Unreserve { resources }),
        "CREATE" => operation.create = Some(Create { volumes: resources }),
        "DESTROY" => operation.destroy = Some(Destroy { volumes: resources }),
        _ => {}
    }
    operation
}

fn executor_id(id: &str) -> v1::ExecutorId {
    v1::ExecutorId { value: id.to_owned() }
}

fn agent_id(args: &Args<'_>) -> Option<v1::AgentId> {
    args.get("agent").map(|id| v1::AgentId { value: id.to_owned() })
}

fn offers(args: &Args<'_>) -> Vec<v1::OfferId> {
    let id = |id: &str| v1::OfferId { value: format!("{}-{id}", args.get("leader").unwrap_or(MASTER)) };
    args.plain
        .get(1)
        .map(|ids| ids.split(',').filter(|one| *one != "-").map(id).collect())
        .unwrap_or_default()
}

fn filters(args: &Args<'_>) -> Option<v1::Filters> {
    args.float("refuse").map(|seconds| v1::Filters { refuse_seconds: Some(seconds) })
}

fn framework_info(args: &Args<'_>, id: Option<String>) -> v1::FrameworkInfo {
    let capabilities = args.list("caps").into_iter().map(|name| Capability {
        r#type: v1::framework_info::capability::Type::from_str_name(&name).map(Into::into),
    });
    v1::FrameworkInfo {
        user: args.get("user").unwrap_or("root").to_owned(),
        name: args.get("name").unwrap_or("test").to_owned(),
        id: id.map(|value| v1::FrameworkId { value }),
        failover_timeout: args.float("timeout"),
        checkpoint: args.get("checkpoint").map(|checkpoint| checkpoint == "true"),
        role: args.get("role").map(str::to_owned),
        roles: args.list("roles"),
        principal: args.get("principal").map(str::to_owned),
        capabilities: capabilities.collect(),
        offer_filters: args.get("least").map(least).into_iter().collect(),
        ..v1::FrameworkInfo::default()
    }
}

/// `role:name:amount`: what an offer to that role must hold at least.
fn least(text: &str) -> (String, v1::OfferFilters) {
    let (role, rest) = text.split_once(':').expect("role:name:amount");
    let (name, amount) = rest.split_once(':').expect("role:name:amount");
    let value = amount.parse().expect("an amount");
    let set = v1::offer_filters::ResourceQuantities {
        quantities: [(name.to_owned(), v1::value::Scalar { value })].into(),
    };
    let least = v1::offer_filters::MinAllocatableResources { quantities: vec![set] };
    (role.to_owned(), v1::OfferFilters { min_allocatable_resources: Some(least) })
}

pub(crate) fn task_info(id: &str, agent: &str, text: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: id.to_owned(),
        task_id: v1::TaskId { value: id.to_owned() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        resources: if text.is_empty() { Vec::new() } else { reserved(text) },
        command: Some(v1::CommandInfo { value: Some("sleep 1000".to_owned()), ..v1::CommandInfo::default() }),
        ..v1::TaskInfo::default()
    }
}

pub(crate) fn executor_info(id: &str, text: Option<&str>) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        executor_id: executor_id(id),
        command: Some(v1::CommandInfo { value: Some("./executor".to_owned()), ..v1::CommandInfo::default() }),
        resources: text.map(resources).unwrap_or_default(),
        ..v1::ExecutorInfo::default()
    }
}

/// The executor of a group: the default one, unless `group-type` or `group-command` say otherwise.
fn group_executor(args: &Args<'_>) -> v1::ExecutorInfo {
    let mut executor =
        executor_info("group", Some(args.get("group-res").unwrap_or("cpus:0.1;mem:32;disk:10")));
    if args.get("group-command").is_none() {
        executor.command = None;
    }
    executor.r#type = match args.get("group-type").unwrap_or("DEFAULT") {
        "none" => None,
        kind => v1::executor_info::Type::from_str_name(kind).map(Into::into),
    };
    executor
}

/// What a script may add to its tasks, good and bad.
fn adorn(info: &mut v1::TaskInfo, args: &Args<'_>) {
    if let Some(id) = args.get("executor") {
        info.command = None;
        let mut executor = executor_info(id, Some(args.get("executor-res").unwrap_or("cpus:0.1;mem:32")));
        executor.name = args.get("executor-name").map(str::to_owned);
        if args.get("executor-command") == Some("none") {
            executor.command = None;
        }
        info.executor = Some(executor);
    }
    if args.get("command") == Some("none") {
        info.command = None;
    }
    if let Some(cpus) = args.float("raw-cpus") {
        info.resources = vec![v1::Resource {
            name: "cpus".to_owned(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value: cpus }),
            ..v1::Resource::default()
        }];
    }
    if let Some(role) = args.get("allocated") {
        for resource in &mut info.resources {
            resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some(role.to_owned()) });
        }
    }
    if let Some(path) = args.get("health-path") {
        info.health_check = Some(v1::HealthCheck {
            http: Some(v1::health_check::HttpCheckInfo {
                port: 80,
                path: Some(path.to_owned()),
                ..v1::health_check::HttpCheckInfo::default()
            }),
            delay_seconds: args.float("health-delay"),
            ..v1::HealthCheck::default()
        });
    }
    if let Some(grace) = args.float("grace") {
        let nanoseconds = (grace * 1e9) as i64;
        info.kill_policy = Some(v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds }) });
    }
    if let Some(limit) = args.float("cpu-limit") {
        info.limits.insert("cpus".to_owned(), v1::value::Scalar { value: limit });
    }
}

/// A zone of the region.
fn domain(region: &str) -> v1::DomainInfo {
    v1::DomainInfo {
        fault_domain: Some(v1::domain_info::FaultDomain {
            region: v1::domain_info::fault_domain::RegionInfo { name: region.to_owned() },
            zone: v1::domain_info::fault_domain::ZoneInfo { name: "z".to_owned() },
        }),
    }
}
