//! What the agent does with reservations and volumes, step by step, as text.

mod bench;

use std::sync::Arc;

use agent_core::{ExitStatus, Input, Order, Record, Uuid, Volume};
use bench::{Bench, FRAMEWORK, Script, pod, scalar, task};
use expect_test::expect;
use proptest::prelude::*;
use wire::v1;
use wire::v1::offer::Operation;
use wire::v1::offer::operation::{Create, Destroy, Reserve, Type, Unreserve};

fn reserved(name: &str, value: f64) -> v1::Resource {
    let layer = v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some("eng".into()),
        ..Default::default()
    };
    v1::Resource { reservations: vec![layer], ..scalar(name, value) }
}

fn volume(id: &str, path: &str) -> v1::Resource {
    let disk = v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence { id: id.into(), principal: None }),
        volume: Some(v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: path.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    v1::Resource { disk: Some(disk), ..reserved("disk", 10.0) }
}

fn named(kind: Type) -> Operation {
    let id = Some(v1::OperationId { value: kind.as_str_name().to_lowercase() });
    Operation { r#type: Some(kind as i32), id, ..Default::default() }
}

fn reserve(resources: Vec<v1::Resource>) -> Operation {
    Operation { reserve: Some(Reserve { resources, ..Default::default() }), ..named(Type::Reserve) }
}

fn unreserve(resources: Vec<v1::Resource>) -> Operation {
    Operation { unreserve: Some(Unreserve { resources }), ..named(Type::Unreserve) }
}

fn create(volumes: Vec<v1::Resource>) -> Operation {
    Operation { create: Some(Create { volumes }), ..named(Type::Create) }
}

fn destroy(volumes: Vec<v1::Resource>) -> Operation {
    Operation { destroy: Some(Destroy { volumes }), ..named(Type::Destroy) }
}

/// A task that has a volume.
fn user(id: &str) -> v1::TaskInfo {
    v1::TaskInfo { resources: vec![scalar("cpus", 0.5), volume("data", "data")], ..task(id) }
}

/// An agent that has reserved disk space and made the volume `data` of it, all acknowledged.
fn with_volume() -> Bench {
    let mut bench = Bench::registered();
    bench.operate(1, reserve(vec![reserved("disk", 20.0)]));
    bench.operate(2, create(vec![volume("data", "data")]));
    for number in [1, 2] {
        bench.order(Order::AcknowledgeOperation { uuid: Uuid([number; 16]) });
    }
    bench
}

#[test]
fn a_volume_from_its_reservation_to_its_destruction() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("reserve", bench.operate(1, reserve(vec![reserved("disk", 20.0)])));
    script.step("create", bench.operate(2, create(vec![volume("data", "data")])));
    script.step("the same order again", bench.operate(2, create(vec![volume("data", "data")])));
    script.step("nobody acknowledges", bench.wake());
    for number in [1, 2] {
        let order = Order::AcknowledgeOperation { uuid: Uuid([number; 16]) };
        script.step("acknowledged", bench.order(order));
    }
    bench.running(user("writer"));
    script.step("destroy too early", bench.operate(3, destroy(vec![volume("data", "data")])));
    bench.exits("writer", ExitStatus::Code(0));
    script.step("restart", bench.restart("boot-1"));
    bench.input(Input::Recovered);
    script.step("registered", bench.connect(&[FRAMEWORK]));
    script.step("destroy", bench.operate(4, destroy(vec![volume("data", "data")])));
    script.step("restart", bench.restart("boot-1"));
    bench.input(Input::Recovered);
    bench.connect(&[FRAMEWORK]);
    script.step("create too early", bench.operate(5, create(vec![volume("data", "data")])));
    let gone = Volume { role: "eng".parse().expect("a role"), id: "data".into() };
    script.step("its data are gone", bench.input(Input::VolumeRemoved(gone)));
    script.step("create again", bench.operate(6, create(vec![volume("data", "elsewhere")])));
    script.check(expect![[r#"
        reserve
          write operation 1 reserve RESERVE OPERATION_FINISHED, changed is [disk(reservations: [(DYNAMIC,eng)]):20]
          send on link 1: operation 1 reserve RESERVE OPERATION_FINISHED
        create
          write operation 2 create CREATE OPERATION_FINISHED, changed is [disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10]
          make volume data of eng
          send on link 1: operation 2 create CREATE OPERATION_FINISHED
        the same order again
          send on link 1: operation 2 create CREATE OPERATION_FINISHED
        nobody acknowledges
          after 10s
          send on link 1: operation 1 reserve RESERVE OPERATION_FINISHED
        acknowledged
          write operation 1 acknowledged
        acknowledged
          write operation 2 acknowledged
        destroy too early
          write operation 3 destroy DESTROY OPERATION_FAILED "Volume 'data' of role 'eng' is used by task 'writer'"
          send on link 1: operation 3 destroy DESTROY OPERATION_FAILED "Volume 'data' of role 'eng' is used by task 'writer'"
        restart
          write registered as agent-1, 2 sessions
          look for containers [writer]
        registered
          send on link 1: hello of agent-1, term 1, tasks [writer TASK_FINISHED], 1 operations, reserved [disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10]
          write registered as agent-1, 1 sessions
          send on link 1: writer TASK_FINISHED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_FINISHED
          send on link 1: operation 3 destroy DESTROY OPERATION_FAILED "Volume 'data' of role 'eng' is used by task 'writer'"
        destroy
          write operation 4 destroy DESTROY OPERATION_FINISHED, changed is [disk(reservations: [(DYNAMIC,eng)]):20]
          remove volume data of eng
          send on link 1: operation 4 destroy DESTROY OPERATION_FINISHED
        restart
          write registered as agent-1, 2 sessions
          remove volume data of eng
          look for containers [writer]
        create too early
          write operation 5 create CREATE OPERATION_FAILED "Volume 'data' of role 'eng' is being removed: try again"
          send on link 1: operation 5 create CREATE OPERATION_FAILED "Volume 'data' of role 'eng' is being removed: try again"
        its data are gone
          write volume data removed
        create again
          write operation 6 create CREATE OPERATION_FINISHED, changed is [disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:elsewhere]:10]
          make volume data of eng
          send on link 1: operation 6 create CREATE OPERATION_FINISHED
    "#]]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut bench = with_volume();
    let mut script = Script::default();
    script.step("more than there is", bench.operate(3, reserve(vec![reserved("disk", 5000.0)])));
    script.step("a volume that is there", bench.operate(4, create(vec![volume("data", "other")])));
    script.step("a volume that is not", bench.operate(5, destroy(vec![volume("nothing", "data")])));
    script.step("space of a volume", bench.operate(6, unreserve(vec![reserved("disk", 20.0)])));
    for path in ["/data", "a/../../data", "", "."] {
        script.step(&format!("a volume at {path:?}"), bench.operate(7, create(vec![volume("bad", path)])));
        bench.order(Order::AcknowledgeOperation { uuid: Uuid([7; 16]) });
    }
    let grow = Operation { r#type: Some(Type::GrowVolume as i32), ..Default::default() };
    script.step("an operation that is not there", bench.operate(8, grow));
    script.step("no resources", bench.operate(9, named(Type::Reserve)));
    script.check(expect![[r#"
        more than there is
          write operation 3 reserve RESERVE OPERATION_FAILED "cpus:4; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:4096; ports:[31000-31100] does not contain disk:5000"
          send on link 1: operation 3 reserve RESERVE OPERATION_FAILED "cpus:4; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:4096; ports:[31000-31100] does not contain disk:5000"
        a volume that is there
          write operation 4 create CREATE OPERATION_FAILED "Role 'eng' has a volume 'data' on this agent already"
          send on link 1: operation 4 create CREATE OPERATION_FAILED "Role 'eng' has a volume 'data' on this agent already"
        a volume that is not
          write operation 5 destroy DESTROY OPERATION_FAILED "cpus:4; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:4096; ports:[31000-31100] does not contain disk(reservations: [(DYNAMIC,eng)])[nothing:data]:10"
          send on link 1: operation 5 destroy DESTROY OPERATION_FAILED "cpus:4; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:4096; ports:[31000-31100] does not contain disk(reservations: [(DYNAMIC,eng)])[nothing:data]:10"
        space of a volume
          write operation 6 unreserve UNRESERVE OPERATION_FAILED "cpus:4; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:4096; ports:[31000-31100] does not contain disk(reservations: [(DYNAMIC,eng)]):20"
          send on link 1: operation 6 unreserve UNRESERVE OPERATION_FAILED "cpus:4; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:4096; ports:[31000-31100] does not contain disk(reservations: [(DYNAMIC,eng)]):20"
        a volume at "/data"
          write operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must be relative to the sandbox, is '/data'"
          send on link 1: operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must be relative to the sandbox, is '/data'"
        a volume at "a/../../data"
          write operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must not contain '..' or a NUL character, is 'a/../../data'"
          send on link 1: operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must not contain '..' or a NUL character, is 'a/../../data'"
        a volume at ""
          write operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must name a directory of its own, is ''"
          send on link 1: operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must name a directory of its own, is ''"
        a volume at "."
          write operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must name a directory of its own, is '.'"
          send on link 1: operation 7 create CREATE OPERATION_ERROR "'disk.volume.container_path' must name a directory of its own, is '.'"
        an operation that is not there
          write operation 8 without id GROW_VOLUME OPERATION_ERROR "This agent does not perform GROW_VOLUME"
          send on link 1: operation 8 without id GROW_VOLUME OPERATION_ERROR "This agent does not perform GROW_VOLUME"
        no resources
          write operation 9 reserve RESERVE OPERATION_ERROR "The operation names no resources"
          send on link 1: operation 9 reserve RESERVE OPERATION_ERROR "The operation names no resources"
    "#]]);
}

#[test]
fn tasks_get_what_their_role_has_and_no_more() {
    let mut bench = with_volume();
    let mut script = Script::default();
    script.step("a task with the volume", bench.launch(user("a")));
    script.step("another at the same time", bench.launch(user("b")));
    let mut stranger = task("c");
    stranger.resources = vec![scalar("disk", 2048.0)];
    script.step("one that asks for what is reserved", bench.launch(stranger));
    script.step("a group with the volume", bench.launch_group(&pod(), vec![user("d")]));
    assert_eq!(bench.agent.view().used.disk().as_f64(), 10.0);
    script.check(expect![[r#"
        a task with the volume
          write framework fw
          write task a
          write update a TASK_STARTING
          send on link 1: a TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch a, volume data at data
        another at the same time
          write task b
          write update b TASK_DROPPED
          send on link 1: b TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task needs cpus:0.5; disk(reservations: [(DYNAMIC,eng)])[data:data]:10, but the agent has no more than cpus:3.5; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
        one that asks for what is reserved
          write task c
          write update c TASK_DROPPED
          send on link 1: c TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task needs disk:2048, but the agent has no more than cpus:3.5; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
        a group with the volume
          write task d
          write update d TASK_DROPPED
          send on link 1: d TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:0.6; disk(reservations: [(DYNAMIC,eng)])[data:data]:10; mem:32, but the agent has no more than cpus:3.5; disk:2028; disk(reservations: [(DYNAMIC,eng)]):10; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: executor pod exited, None
    "#]]);
}

#[test]
fn a_shared_volume_is_used_by_many() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let shared = v1::Resource { shared: Some(v1::resource::SharedInfo {}), ..volume("data", "data") };
    bench.operate(1, reserve(vec![reserved("disk", 10.0)]));
    bench.operate(2, create(vec![shared.clone()]));
    for id in ["a", "b"] {
        let resources = vec![scalar("cpus", 0.5), shared.clone()];
        bench.running(v1::TaskInfo { resources, ..task(id) });
    }
    assert_eq!(bench.agent.view().used.to_string(), "cpus:1");
    script.step("destroy", bench.operate(3, destroy(vec![shared.clone()])));
    for id in ["a", "b"] {
        bench.exits(id, ExitStatus::Code(0));
    }
    script.step("destroy, unused", bench.operate(4, destroy(vec![shared.clone()])));
    let unknown = v1::TaskInfo { resources: vec![shared], ..task("late") };
    script.step("a task too late", bench.launch(unknown));
    script.check(expect![[r#"
        destroy
          write operation 3 destroy DESTROY OPERATION_FAILED "Volume 'data' of role 'eng' is used by task 'a'"
          send on link 1: operation 3 destroy DESTROY OPERATION_FAILED "Volume 'data' of role 'eng' is used by task 'a'"
        destroy, unused
          write operation 4 destroy DESTROY OPERATION_FINISHED, changed is [disk(reservations: [(DYNAMIC,eng)]):10]
          remove volume data of eng
          send on link 1: operation 4 destroy DESTROY OPERATION_FINISHED
        a task too late
          write task late
          write update late TASK_DROPPED
          send on link 1: late TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task needs disk(reservations: [(DYNAMIC,eng)])[data:data]<SHARED>:10, but the agent has no more than cpus:4; disk:2038; disk(reservations: [(DYNAMIC,eng)]):10; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
    "#]]);
}

#[test]
fn tasks_of_a_group_share_directories() {
    let mut bench = with_volume();
    let mut script = Script::default();
    let mut executor = (*pod()).clone();
    executor.resources.push(volume("data", "data"));
    let sharing = |id: &str, path: &str| {
        let sandbox_path = v1::volume::source::SandboxPath {
            r#type: Some(v1::volume::source::sandbox_path::Type::Parent as i32),
            path: path.into(),
        };
        let source = v1::volume::Source {
            r#type: Some(v1::volume::source::Type::SandboxPath as i32),
            sandbox_path: Some(sandbox_path),
            ..Default::default()
        };
        let volume = v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: "common".into(),
            source: Some(source),
            ..Default::default()
        };
        let container = v1::ContainerInfo {
            r#type: v1::container_info::Type::Mesos as i32,
            volumes: vec![volume],
            ..Default::default()
        };
        v1::TaskInfo { container: Some(container), ..task(id) }
    };
    let executor = Arc::new(executor);
    script.step("a group", bench.launch_group(&executor, vec![sharing("a", "data"), sharing("b", "own")]));
    script.step("outwards", bench.launch_group(&executor, vec![sharing("c", "../data")]));
    script.step("without a group", bench.launch(sharing("d", "data")));
    script.check(expect![[r#"
        a group
          write framework fw
          write executor pod
          write task a
          write task b
          write update a TASK_STARTING
          write update b TASK_STARTING
          show in fw/pod: data
          send on link 1: a TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch a, volume data at common
          send on link 1: b TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch b, own of its executor at common
        outwards
          write task c
          write update c TASK_ERROR
          send on link 1: c TASK_ERROR SOURCE_AGENT REASON_TASK_GROUP_INVALID "Task 'c' is invalid: 'container.volumes.source.sandbox_path.path' must not contain '..' or a NUL character, is '../data'", latest TASK_ERROR
        without a group
          write task d
          write update d TASK_ERROR
          send on link 1: d TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "This agent cannot run containers with volumes other than persistent ones and those that a group shares: describe the task with 'command' alone", latest TASK_ERROR
    "#]]);
}

#[test]
fn an_agent_that_has_become_too_small_does_not_start() {
    let bench = with_volume();
    let records: Vec<Record> = bench.agent.snapshot();
    let small = agent_core::Settings {
        total: model::resources::Bag::parse("cpus:4;disk:10").expect("resources"),
        ..bench::settings("boot-1", 7)
    };
    let error = agent_core::Agent::recover(small, records).expect_err("too small");
    expect!["the agent's resources are now cpus:4; disk:10, but disk(reservations: [(DYNAMIC,eng)]):10; disk(reservations: [(DYNAMIC,eng)])[data:data]:10 are reserved or volumes: give it at least so much, or undo these first"].assert_eq(&error.to_string());
}

/// Something the world does to an agent.
#[derive(Debug, Clone)]
enum Step {
    /// One of the four kinds of operations on one of four amounts or volumes.
    Operate(u8, u8),
    Removed(u8),
    Acknowledge(u8),
    Sync,
    /// The process dies; what was not synced is gone.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4_u8, 0..4_u8).prop_map(|(kind, which)| Step::Operate(kind, which)),
        2 => (0..4_u8).prop_map(Step::Removed),
        2 => any::<u8>().prop_map(Step::Acknowledge),
        4 => Just(Step::Sync),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..80)
}

fn any_operation(kind: u8, which: u8) -> Operation {
    let amount = vec![reserved("disk", 10.0 * f64::from(which + 1))];
    let volumes = vec![volume(&format!("v{which}"), "data")];
    match kind {
        0 => reserve(amount),
        1 => unreserve(amount),
        2 => create(volumes),
        _ => destroy(volumes),
    }
}

proptest! {
    /// What was reported is what a restarted agent has, and no amount ever comes or goes.
    #[test]
    fn what_was_reported_survives_every_crash(steps in steps()) {
        let mut bench = Bench::registered();
        bench.fast_disk = false;
        let amount = bench.agent.view().total.disk();
        let mut stored = bench.agent.view().total;
        for (number, step) in steps.into_iter().enumerate() {
            let number = u8::try_from(number).expect("few steps");
            match step {
                Step::Operate(kind, which) => {
                    let log = bench.operate(number, any_operation(kind, which));
                    prop_assert!(!log.contains("send"), "said before it was stored: {log}");
                }
                Step::Removed(which) => {
                    let id = format!("v{which}").as_str().into();
                    let role = "eng".parse().expect("a role");
                    bench.input(Input::VolumeRemoved(Volume { role, id }));
                }
                Step::Acknowledge(number) => {
                    bench.order(Order::AcknowledgeOperation { uuid: Uuid([number % 80; 16]) });
                }
                Step::Sync => {
                    bench.sync();
                    stored = bench.agent.view().total;
                }
                Step::Crash => {
                    bench.restart("boot-1");
                    bench.input(Input::Recovered);
                    bench.sync();
                    bench.connect(&[]);
                    prop_assert_eq!(&bench.agent.view().total, &stored);
                }
            }
            prop_assert_eq!(bench.agent.view().total.disk(), amount);
        }
    }
}
