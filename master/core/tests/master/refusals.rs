//! What is refused, rule by rule, and in which words (spec mesos-v1, section 11). Each row is good but for one thing.

use master_core::effect::{Effect, SchedulerEvent};
use wire::scheduler::Call;
use wire::scheduler::call::{self, Type};
use wire::v1::offer::Operation;
use wire::v1::offer::operation::{Launch, LaunchGroup, Type as OperationType};
use wire::v1::{
    self, CheckInfo, ContainerInfo, ExecutorInfo, FrameworkInfo, HealthCheck, OperationState, TaskInfo,
    TaskState, TaskStatus, environment::Variable,
};

use crate::world::script::{Script, change, executor_info, reserved, resources, task_info};

const MACHINE: &str = "cpus:4;mem:4096;disk:1000;gpus:2;ports:[31000-31009]";

/// One framework with an offer `M-O0` of a whole agent `M-S0`.
fn script(arguments: &str) -> Script {
    let mut script = Script::new();
    script.effects_of("lead");
    script.effects_of(&format!("subscribe s1 {arguments}"));
    script.effects_of(&format!("hello a1 res={MACHINE}"));
    script
}

pub(crate) fn accept(offers: &[&str], operations: Vec<Operation>) -> Call {
    Call {
        r#type: Some(Type::Accept.into()),
        accept: Some(call::Accept {
            offer_ids: offers.iter().map(|id| v1::OfferId { value: (*id).to_owned() }).collect(),
            operations,
            filters: None,
        }),
        ..Call::default()
    }
}

pub(crate) fn launch(tasks: Vec<TaskInfo>) -> Operation {
    Operation {
        r#type: Some(OperationType::Launch.into()),
        launch: Some(Launch { task_infos: tasks }),
        ..Operation::default()
    }
}

pub(crate) fn updates(effects: &[Effect]) -> Vec<TaskStatus> {
    let update = |effect: &Effect| match effect {
        Effect::Event { event: SchedulerEvent::Update(status), .. } => Some((**status).clone()),
        _ => None,
    };
    effects.iter().filter_map(update).collect()
}

/// State, reason and message of the one update a call brought about.
pub(crate) fn verdict(effects: &[Effect]) -> (&'static str, &'static str, String) {
    let updates = updates(effects);
    let [status] = &updates[..] else { panic!("{} updates", updates.len()) };
    let state = TaskState::try_from(status.state).expect("a state");
    (state.as_str_name(), status.reason().as_str_name(), status.message.clone().unwrap_or_default())
}

fn good_task() -> TaskInfo {
    task_info("t", "M-S0", "cpus:1;mem:64")
}

/// What a launch of a task that is good but for `spoil` is told.
fn told(spoil: impl Fn(&mut TaskInfo)) -> (&'static str, &'static str, String) {
    let mut script = script("caps=GPU_RESOURCES,REVOCABLE_RESOURCES");
    let mut task = good_task();
    spoil(&mut task);
    verdict(&script.call(accept(&["M-O0"], vec![launch(vec![task])])))
}

/// What spoils a good call, and what is said of it.
type Row<F> = (F, &'static str);
type SpoilGroup = fn(&mut TaskInfo, &mut ExecutorInfo);
type SpoilFramework = fn(&mut call::Subscribe);
type Spoil = fn(&mut TaskInfo);

fn each_is_refused(rows: &[(Spoil, &str)]) {
    for (spoil, message) in rows {
        assert_eq!(told(spoil), ("TASK_ERROR", "REASON_TASK_INVALID", (*message).to_owned()));
    }
}

#[test]
fn the_rows_are_good_but_for_one_thing() {
    let mut script = script("caps=GPU_RESOURCES,REVOCABLE_RESOURCES");
    let mut task = good_task();
    task.container = Some(container(|_| {}));
    task.check = Some(check(v1::check_info::Type::Command, |check| {
        check.command = Some(v1::check_info::Command { command: shell("true") });
    }));
    task.health_check = Some(http_health(|_| {}));
    with_environment(&mut task, variable(|variable| variable.value = Some("1".to_owned())));
    let effects = script.call(accept(&["M-O0"], vec![launch(vec![task])]));
    assert_eq!(updates(&effects), []);
    assert_eq!(script.snapshot().tables.frameworks.values().map(|one| one.tasks.len()).sum::<usize>(), 1);
}

fn shell(value: &str) -> v1::CommandInfo {
    v1::CommandInfo { value: Some(value.to_owned()), ..v1::CommandInfo::default() }
}

fn check(kind: v1::check_info::Type, adorn: impl Fn(&mut CheckInfo)) -> CheckInfo {
    let mut check = CheckInfo { r#type: Some(kind.into()), ..CheckInfo::default() };
    adorn(&mut check);
    check
}

fn health(kind: v1::health_check::Type, adorn: impl Fn(&mut HealthCheck)) -> HealthCheck {
    let mut check = HealthCheck { r#type: Some(kind.into()), ..HealthCheck::default() };
    adorn(&mut check);
    check
}

fn http_health(adorn: impl Fn(&mut v1::health_check::HttpCheckInfo)) -> HealthCheck {
    let mut http = v1::health_check::HttpCheckInfo {
        port: 80,
        scheme: Some("https".to_owned()),
        path: Some("/".to_owned()),
        ..v1::health_check::HttpCheckInfo::default()
    };
    adorn(&mut http);
    health(v1::health_check::Type::Http, |check| check.http = Some(http.clone()))
}

#[test]
fn checks_name_their_kind_and_have_what_it_needs() {
    use v1::check_info::{Command, Http, Type as Kind};
    each_is_refused(&[
        (
            |task| task.check = Some(CheckInfo::default()),
            "Task uses invalid check: CheckInfo must specify 'type'",
        ),
        (
            |task| task.check = Some(check(Kind::Unknown, |_| {})),
            "Task uses invalid check: 'UNKNOWN' is not a valid check type",
        ),
        (
            |task| task.check = Some(check(Kind::Command, |_| {})),
            "Task uses invalid check: Expecting 'command' to be set for COMMAND check",
        ),
        (
            |task| {
                task.check = Some(check(Kind::Command, |check| {
                    check.command = Some(Command { command: v1::CommandInfo::default() });
                }));
            },
            "Task uses invalid check: Command must specify 'value'",
        ),
        (
            |task| task.check = Some(check(Kind::Http, |_| {})),
            "Task uses invalid check: Expecting 'http' to be set for HTTP check",
        ),
        (
            |task| {
                task.check = Some(check(Kind::Http, |check| {
                    check.http = Some(Http { port: 80, path: Some("health".to_owned()) });
                }));
            },
            "Task uses invalid check: The path of HTTP check must start with '/'",
        ),
        (
            |task| task.check = Some(check(Kind::Tcp, |_| {})),
            "Task uses invalid check: Expecting 'tcp' to be set for TCP check",
        ),
        (
            |task| {
                task.check = Some(check(Kind::Tcp, |check| {
                    check.tcp = Some(v1::check_info::Tcp { port: 80 });
                    check.interval_seconds = Some(-1.0);
                }));
            },
            "Task uses invalid check: Expecting 'interval_seconds' to be non-negative",
        ),
    ]);
}

#[test]
fn health_checks_name_their_kind_and_have_what_it_needs() {
    use v1::health_check::Type as Kind;
    each_is_refused(&[
        (
            |task| task.health_check = Some(HealthCheck::default()),
            "Task uses invalid health check: HealthCheck must specify 'type'",
        ),
        (
            |task| task.health_check = Some(health(Kind::Unknown, |_| {})),
            "Task uses invalid health check: 'UNKNOWN' is not a valid health check type",
        ),
        (
            |task| task.health_check = Some(health(Kind::Command, |_| {})),
            "Task uses invalid health check: Expecting 'command' to be set for COMMAND health check",
        ),
        (
            |task| {
                task.health_check =
                    Some(health(Kind::Command, |check| check.command = Some(v1::CommandInfo::default())));
            },
            "Task uses invalid health check: Command must specify 'value'",
        ),
        (
            |task| task.health_check = Some(health(Kind::Http, |_| {})),
            "Task uses invalid health check: Expecting 'http' to be set for HTTP health check",
        ),
        (
            |task| task.health_check = Some(http_health(|http| http.scheme = Some("ftp".to_owned()))),
            "Task uses invalid health check: Unsupported HTTP health check scheme: 'ftp'",
        ),
        (
            |task| task.health_check = Some(http_health(|http| http.path = Some("health".to_owned()))),
            "Task uses invalid health check: The path of HTTP health check must start with '/'",
        ),
        (
            |task| task.health_check = Some(health(Kind::Tcp, |_| {})),
            "Task uses invalid health check: Expecting 'tcp' to be set for TCP health check",
        ),
        (
            |task| {
                let mut check = http_health(|_| {});
                check.grace_period_seconds = Some(f64::NAN);
                task.health_check = Some(check);
            },
            "Task uses invalid health check: Expecting 'grace_period_seconds' to be non-negative",
        ),
    ]);
}

fn variable(adorn: impl Fn(&mut Variable)) -> Variable {
    let mut variable = Variable { name: "A".to_owned(), ..Variable::default() };
    adorn(&mut variable);
    variable
}

fn with_environment(task: &mut TaskInfo, variable: Variable) {
    let command = task.command.get_or_insert_default();
    command.environment = Some(v1::Environment { variables: vec![variable] });
}

fn secret() -> Option<v1::Secret> {
    Some(v1::Secret { r#type: Some(v1::secret::Type::Value.into()), ..v1::Secret::default() })
}

#[test]
fn variables_have_a_value_or_a_secret_as_their_kind_says() {
    use v1::environment::variable::Type as Kind;
    each_is_refused(&[
        (
            |task| with_environment(task, variable(|_| {})),
            "Environment variable 'A' of type 'VALUE' must have a value set",
        ),
        (
            |task| {
                with_environment(
                    task,
                    variable(|variable| {
                        variable.value = Some(String::new());
                        variable.secret = secret();
                    }),
                );
            },
            "Environment variable 'A' of type 'VALUE' must not have a secret set",
        ),
        (
            |task| {
                with_environment(
                    task,
                    variable(|variable| {
                        variable.r#type = Some(Kind::Secret.into());
                        variable.value = Some("1".to_owned());
                    }),
                );
            },
            "Environment variable 'A' of type 'SECRET' must have a secret set",
        ),
        (
            |task| {
                with_environment(
                    task,
                    variable(|variable| {
                        variable.r#type = Some(Kind::Secret.into());
                        variable.value = Some("1".to_owned());
                        variable.secret = secret();
                    }),
                );
            },
            "Environment variable 'A' of type 'SECRET' must not have a value set",
        ),
        (
            |task| with_environment(task, variable(|variable| variable.r#type = Some(Kind::Unknown.into()))),
            "Environment variable 'A' of type 'UNKNOWN' is not allowed",
        ),
    ]);
}

/// With one volume from the host.
fn container(adorn: impl Fn(&mut ContainerInfo)) -> ContainerInfo {
    let mut container = ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        volumes: vec![v1::Volume {
            container_path: "data".to_owned(),
            mode: v1::volume::Mode::Rw.into(),
            host_path: Some("/srv".to_owned()),
            ..v1::Volume::default()
        }],
        ..ContainerInfo::default()
    };
    adorn(&mut container);
    container
}

fn docker(container: &mut ContainerInfo) {
    container.r#type = v1::container_info::Type::Docker.into();
}

#[test]
fn containers_say_where_volumes_come_from_and_what_docker_needs() {
    each_is_refused(&[
        (
            |task| task.container = Some(container(|container| container.volumes[0].host_path = None)),
            "Volume 'data' must have exactly one of 'host_path', 'image' and 'source' set",
        ),
        (
            |task| {
                task.container = Some(container(|container| {
                    container.volumes[0].source = Some(v1::volume::Source::default());
                }));
            },
            "Volume 'data' must have exactly one of 'host_path', 'image' and 'source' set",
        ),
        (
            |task| task.container = Some(container(docker)),
            "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo",
        ),
        (
            |task| {
                task.container = Some(container(|container| {
                    docker(container);
                    container.docker = Some(v1::container_info::DockerInfo {
                        image: "alpine".to_owned(),
                        parameters: vec![v1::Parameter { key: "name".to_owned(), value: "mine".to_owned() }],
                        ..v1::container_info::DockerInfo::default()
                    });
                }));
            },
            "Parameter in DockerInfo must not be 'name'",
        ),
    ]);
}

fn limit(task: &mut TaskInfo, name: &str, value: f64) {
    task.limits.insert(name.to_owned(), v1::value::Scalar { value });
}

fn duration(nanoseconds: i64) -> Option<v1::DurationInfo> {
    Some(v1::DurationInfo { nanoseconds })
}

#[test]
fn times_amounts_and_limits_are_within_reason() {
    each_is_refused(&[
        (|task| task.max_completion_time = duration(-1), "Task's 'max_completion_time' must be non-negative"),
        (
            |task| task.kill_policy = Some(v1::KillPolicy { grace_period: duration(-1) }),
            "Task's 'kill_policy.grace_period' must be non-negative",
        ),
        (|task| limit(task, "disk", 5.0), "Task limits may only be set on 'cpus' and 'mem', not on 'disk'"),
        (
            |task| limit(task, "mem", 63.0),
            "Task's limit of 'mem' is 63 and must not be less than its request of 64",
        ),
        (
            |task| limit(task, "cpus", f64::NAN),
            "Task's limit of 'cpus' is NaN and must not be less than its request of 1",
        ),
        (
            |task| {
                let mut revocable = resources("cpus:1");
                revocable[0].revocable = Some(v1::resource::RevocableInfo::default());
                task.resources.extend(revocable);
            },
            "Task (with its executor) uses both revocable and non-revocable 'cpus'",
        ),
        (
            |task| {
                task.resources = resources("gpus:1");
                task.resources[0].scalar = Some(v1::value::Scalar { value: 0.5 });
            },
            "Resource 'gpus(allocated: *):0.5' is invalid: 'gpus' must be a whole number",
        ),
        (
            |task| task.agent_id.value = "M-S7".to_owned(),
            "Task uses invalid agent M-S7 while agent M-S0 is expected",
        ),
    ]);
}

fn with_executor(task: &mut TaskInfo, adorn: impl Fn(&mut ExecutorInfo)) {
    let mut executor = executor_info("e", Some("cpus:0.1;mem:32"));
    adorn(&mut executor);
    task.command = None;
    task.executor = Some(executor);
}

#[test]
fn executors_are_of_their_framework_and_apart_from_their_task() {
    use v1::executor_info::Type as Kind;
    each_is_refused(&[
        (
            |task| {
                with_executor(task, |executor| {
                    executor.framework_id = Some(v1::FrameworkId { value: "other".to_owned() });
                });
            },
            "ExecutorInfo has an invalid FrameworkID (Actual: other vs Expected: M-0000)",
        ),
        (
            |task| with_executor(task, |executor| executor.shutdown_grace_period = duration(-1)),
            "ExecutorInfo's 'shutdown_grace_period' must be non-negative",
        ),
        (
            |task| with_executor(task, |executor| executor.r#type = Some(Kind::Default.into())),
            "'ExecutorInfo.type' must be 'CUSTOM' in a LAUNCH operation",
        ),
        (
            |task| with_executor(task, |executor| executor.command = None),
            "'ExecutorInfo.command' must be set for 'CUSTOM' executor",
        ),
        (
            |task| {
                with_executor(task, |executor| executor.resources = resources("ports:[31000-31000]"));
                task.resources = resources("cpus:1;ports:[31000-31001]");
            },
            "Task and its executor both use some of 'ports'",
        ),
        (
            |task| {
                with_executor(task, |executor| {
                    for resource in &mut executor.resources {
                        resource.revocable = Some(v1::resource::RevocableInfo::default());
                    }
                });
            },
            "Task (with its executor) uses both revocable and non-revocable 'cpus'",
        ),
    ]);
}

#[test]
fn the_id_of_an_unreachable_task_is_taken() {
    let mut script = script("caps=PARTITION_AWARE,GPU_RESOURCES");
    let first = script.call(accept(&["M-O0"], vec![launch(vec![good_task()])]));
    assert_eq!(updates(&first), []);
    script.effects_of("silence a1");
    let lost = script.effects_of("tick 30s");
    assert_eq!(verdict(&lost).0, "TASK_UNREACHABLE");
    let offered = script.effects_of("hello a2");
    let offer = offered.iter().find_map(|effect| match effect {
        Effect::Event { event: SchedulerEvent::Offers(offers), .. } => Some(offers[0].id.to_string()),
        _ => None,
    });
    let offer = offer.expect("the other agent is offered");
    let again = task_info("t", "M-S1", "cpus:1;mem:64");
    let effects = script.call(accept(&[&offer], vec![launch(vec![again])]));
    let expected = "Task has duplicate ID: t".to_owned();
    assert_eq!(verdict(&effects), ("TASK_ERROR", "REASON_TASK_INVALID", expected));
}

/// The task with limits of its own, in its group.
fn apart(task: &mut TaskInfo) -> &mut TaskInfo {
    let linux = v1::LinuxInfo { share_cgroups: Some(false), ..v1::LinuxInfo::default() };
    task.container = Some(container(|one| one.linux_info = Some(linux.clone())));
    task
}

#[test]
fn a_group_shares_its_executors_container_and_network() {
    let group = |spoil: fn(&mut TaskInfo, &mut ExecutorInfo)| {
        let mut script = script("caps=GPU_RESOURCES");
        let mut executor = executor_info("group", Some("cpus:0.1;mem:32;disk:10"));
        executor.command = None;
        executor.r#type = Some(v1::executor_info::Type::Default.into());
        let mut task = good_task();
        spoil(&mut task, &mut executor);
        let operation = Operation {
            r#type: Some(OperationType::LaunchGroup.into()),
            launch_group: Some(LaunchGroup { executor, task_group: v1::TaskGroupInfo { tasks: vec![task] } }),
            ..Operation::default()
        };
        script.call(accept(&["M-O0"], vec![operation]))
    };
    assert_eq!(updates(&group(|_, _| {})), [], "the rows are good but for one thing");
    let rows: [Row<SpoilGroup>; 8] = [
        (
            |_, executor| executor.container = Some(container(docker)),
            "Docker ContainerInfo is not supported on the executor of a task group",
        ),
        (
            |task, _| {
                task.container = Some(container(|container| {
                    docker(container);
                    container.docker = Some(v1::container_info::DockerInfo::default());
                }));
            },
            "Docker ContainerInfo is not supported on task 't' of a task group",
        ),
        (
            |task, _| {
                task.container = Some(container(|one| one.network_infos = vec![v1::NetworkInfo::default()]));
                task.health_check = Some(http_health(|_| {}));
            },
            "HTTP and TCP checks of task 't' need 'network_infos' to be set on the executor, not on the task",
        ),
        (
            |task, _| {
                task.container = Some(container(|one| one.network_infos = vec![v1::NetworkInfo::default()]));
                task.check = Some(check(v1::check_info::Type::Tcp, |check| {
                    check.tcp = Some(v1::check_info::Tcp { port: 80 });
                }));
            },
            "HTTP and TCP checks of task 't' need 'network_infos' to be set on the executor, not on the task",
        ),
        (
            |task, _| limit(task, "cpus", 2.0),
            "Task 't' of a group may only set 'limits' with 'linux_info.share_cgroups' false",
        ),
        (
            |task, _| limit(apart(task), "disk", 5.0),
            "Task 't' is invalid: Task limits may only be set on 'cpus' and 'mem', not on 'disk'",
        ),
        (
            |task, _| limit(apart(task), "mem", 63.0),
            "Task 't' is invalid: Task's limit of 'mem' is 63 and must not be less than its request of 64",
        ),
        (
            |task, _| limit(apart(task), "cpus", f64::NAN),
            "Task 't' is invalid: Task's limit of 'cpus' is NaN and must not be less than its request of 1",
        ),
    ];
    assert_eq!(updates(&group(|task, _| limit(apart(task), "mem", 64.0))), [], "as much as it asks for");
    for (spoil, message) in rows {
        let expected = ("TASK_ERROR", "REASON_TASK_GROUP_INVALID", message.to_owned());
        assert_eq!(verdict(&group(spoil)), expected);
    }
}

/// The text of the ERROR event that a subscription ends with.
fn subscription_error(spoil: fn(&mut call::Subscribe)) -> String {
    let mut script = Script::new();
    script.effects_of("lead");
    let mut subscribe = call::Subscribe {
        framework_info: FrameworkInfo {
            user: "root".to_owned(),
            name: "test".to_owned(),
            roles: vec!["web".to_owned()],
            capabilities: vec![v1::framework_info::Capability {
                r#type: Some(v1::framework_info::capability::Type::MultiRole.into()),
            }],
            ..FrameworkInfo::default()
        },
        ..call::Subscribe::default()
    };
    spoil(&mut subscribe);
    let effects = script.subscribe_as(subscribe);
    let error = effects.iter().find_map(|effect| match effect {
        Effect::Event { event: SchedulerEvent::Error(text), .. } => Some(text.clone()),
        _ => None,
    });
    error.unwrap_or_default()
}

fn filter(subscribe: &mut call::Subscribe, role: &str, amount: f64) {
    let set = v1::offer_filters::ResourceQuantities {
        quantities: [("cpus".to_owned(), v1::value::Scalar { value: amount })].into(),
    };
    let filters = v1::OfferFilters {
        min_allocatable_resources: Some(v1::offer_filters::MinAllocatableResources { quantities: vec![set] }),
    };
    subscribe.framework_info.offer_filters.insert(role.to_owned(), filters);
}

#[test]
fn frameworks_describe_themselves_within_the_rules() {
    let rows: [Row<SpoilFramework>; 9] = [
        (|_| {}, ""),
        (
            |subscribe| subscribe.framework_info.roles = (0..=1_024).map(|n| format!("r{n}")).collect(),
            "'FrameworkInfo.roles' has more than 1024 items",
        ),
        (
            |subscribe| subscribe.framework_info.roles = vec!["r".repeat(1_025)],
            "'FrameworkInfo.roles' contains invalid role: Role names cannot be longer than 1024 bytes, this one has 1025",
        ),
        (|subscribe| filter(subscribe, "web", 1.0), ""),
        (
            |subscribe| filter(subscribe, "db", 1.0),
            "'FrameworkInfo.offer_filters' names role 'db', which is not among its roles",
        ),
        (
            |subscribe| filter(subscribe, "web", f64::NAN),
            "'FrameworkInfo.offer_filters' of role 'web': 'cpus' must be a number, not NaN",
        ),
        (
            |subscribe| subscribe.framework_info.roles = vec![String::new()],
            "'FrameworkInfo.roles' contains invalid role: Role names cannot be the empty string",
        ),
        (
            |subscribe| subscribe.framework_info.roles = vec!["a b".to_owned()],
            "'FrameworkInfo.roles' contains invalid role: Role 'a b' cannot contain backspace or whitespace",
        ),
        (
            |subscribe| subscribe.suppressed_roles = vec!["db".to_owned()],
            "Suppressed role 'db' is not contained in the set of roles",
        ),
    ];
    for (spoil, text) in rows {
        assert_eq!(subscription_error(spoil), text);
    }
}

#[test]
fn an_update_is_of_the_framework_that_calls() {
    let mut info =
        FrameworkInfo { user: "root".to_owned(), name: "test".to_owned(), ..FrameworkInfo::default() };
    info.id = Some(v1::FrameworkId { value: "other".to_owned() });
    let call = Call {
        r#type: Some(Type::UpdateFramework.into()),
        framework_id: Some(v1::FrameworkId { value: "M-0000".to_owned() }),
        update_framework: Some(call::UpdateFramework {
            framework_info: info,
            ..call::UpdateFramework::default()
        }),
        ..Call::default()
    };
    let refusal = master_core::call::SchedulerCall::decode(call).expect_err("refused at the edge");
    assert_eq!(
        (refusal.status(), refusal.to_string().as_str()),
        (
            400,
            "Failed to validate scheduler::Call: 'framework_id' differs from 'update_framework.framework_info.id'"
        )
    );
}

#[test]
fn offers_of_one_call_are_of_one_agent_and_one_role() {
    let mut two_agents = script("caps=GPU_RESOURCES");
    two_agents.effects_of("hello a2");
    let effects = two_agents.call(accept(&["M-O0", "M-O1"], vec![launch(vec![good_task()])]));
    let message = "Task launched with invalid offers: Aggregated offers must belong to one single agent. Offer M-O0 uses agent M-S0 and offer M-O1 uses agent M-S1";
    assert_eq!(verdict(&effects), ("TASK_LOST", "REASON_INVALID_OFFERS", message.to_owned()));

    // What is left of an offer of one role goes to the other; what ends later to the one that has less.
    let mut two_roles = script("caps=GPU_RESOURCES,MULTI_ROLE,PARTITION_AWARE roles=a,b");
    two_roles.effects_of("accept s1 O0 u:cpus:1;mem:64 refuse=0");
    two_roles.effects_of("tick 2s");
    two_roles.effects_of("update a1 u FINISHED uuid=1");
    let offers: Vec<String> = two_roles.snapshot().tables.offers.keys().map(ToString::to_string).collect();
    let [first, second] = &offers[..] else { panic!("{offers:?}") };
    let effects = two_roles.call(accept(&[first, second], vec![launch(vec![good_task()])]));
    let message = format!(
        "Task launched with invalid offers: Aggregated offers must be allocated to the same role. Offer {first} uses role b but another is using role a"
    );
    assert_eq!(verdict(&effects), ("TASK_DROPPED", "REASON_INVALID_OFFERS", message));
}

/// State and message of each operation's status.
fn operations(effects: &[Effect]) -> Vec<(&'static str, String)> {
    let status = |effect: &Effect| match effect {
        Effect::Event { event: SchedulerEvent::Operation(status), .. } => {
            let state = OperationState::try_from(status.state).expect("a state");
            Some((state.as_str_name(), status.message.clone().unwrap_or_default()))
        }
        _ => None,
    };
    effects.iter().filter_map(status).collect()
}

fn named(mut operation: Operation, id: &str) -> Operation {
    operation.id = Some(v1::OperationId { value: id.to_owned() });
    operation
}

#[test]
fn operations_keep_to_the_capabilities_and_say_enough() {
    const WEB: &str = "caps=GPU_RESOURCES role=web";
    const REFINING: &str = "caps=GPU_RESOURCES,RESERVATION_REFINEMENT role=web";
    let sourced = || {
        let mut operation = change("RESERVE", &reserved("cpus[web]:1"));
        operation.reserve.as_mut().expect("of this kind").source = resources("cpus:1");
        operation
    };
    let volume = |spoil: fn(&mut v1::Resource)| {
        let mut volume = reserved("disk[web#v]:10");
        spoil(&mut volume[0]);
        vec![change("RESERVE", &reserved("disk[web]:10")), named(change("CREATE", &volume), "x")]
    };
    let rows = [
        (
            WEB,
            vec![named(change("RESERVE", &reserved("cpus[web]:1")), "a/b")],
            "'Operation.id': 'a/b' contains invalid characters",
        ),
        (WEB, vec![named(sourced(), "x")], "'reserve.source' must not be set by frameworks"),
        (
            WEB,
            vec![
                change("RESERVE", &reserved("cpus[web]:1")),
                named(change("RESERVE", &reserved("cpus[web+web/a]:1")), "x"),
            ],
            "'cpus(reservations: [(DYNAMIC,web), (DYNAMIC,web/a)]):1' is to be reserved to role 'web/a', but was offered to role 'web'",
        ),
        (
            WEB,
            volume(|volume| volume.shared = Some(v1::resource::SharedInfo::default())),
            "A shared volume may only be created by a framework with the SHARED_RESOURCES capability",
        ),
        (
            REFINING,
            volume(|volume| volume.disk.as_mut().expect("a volume").volume = None),
            "Resource 'disk(reservations: [(DYNAMIC,web)])[v]:10' is invalid: 'disk.volume' must be set on a persistent volume",
        ),
        (
            WEB,
            vec![
                named(change("RESERVE", &reserved("cpus[web]:1")), "x"),
                named(change("RESERVE", &reserved("cpus[web]:1")), "x"),
            ],
            "'Operation.id' is that of an operation not yet acknowledged",
        ),
        (
            WEB,
            vec![named(change("RESERVE", &reserved("cpus[web]:100")), "x")],
            "cpus:4; disk:1000; gpus:2; mem:4096; ports:[31000-31009] does not contain cpus:100",
        ),
    ];
    for (arguments, operations, message) in rows {
        let mut script = script(arguments);
        let effects = script.call(accept(&["M-O0"], operations));
        assert_eq!(self::operations(&effects), [("OPERATION_ERROR", message.to_owned())]);
    }
}

#[test]
fn only_a_framework_that_knows_refinement_refines() {
    for (capability, refused) in [("", true), (",RESERVATION_REFINEMENT", false)] {
        let mut script = Script::new();
        script.effects_of("lead");
        script.effects_of(&format!("subscribe s1 caps=MULTI_ROLE{capability} roles=web/a"));
        script.effects_of("hello a1 res=cpus(web):4;mem(web):1024");
        let refine = named(change("RESERVE", &reserved("cpus[web+web/a]:1")), "x");
        // The lower layer is the agent's own.
        let mut refine = refine;
        for resource in &mut refine.reserve.as_mut().expect("of this kind").resources {
            resource.reservations[0].r#type = Some(v1::resource::reservation_info::Type::Static.into());
        }
        let effects = script.call(accept(&["M-O0"], vec![refine]));
        let expected: &[(&str, String)] = &[(
            "OPERATION_ERROR",
            "A reservation may only be refined by a framework with the RESERVATION_REFINEMENT capability"
                .to_owned(),
        )];
        assert_eq!(operations(&effects), if refused { expected } else { &[] }, "{capability}");
    }
}
