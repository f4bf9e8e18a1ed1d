//! What a framework's principal may do: its roles, and the users its tasks run as.

use std::sync::Arc;

use master_core::authority::{Authority, Scope};
use master_core::effect::{Effect, SchedulerEvent};
use master_core::settings::Settings;
use wire::scheduler::call::{Subscribe, Type};
use wire::v1::offer::Operation;
use wire::v1::offer::operation::{LaunchGroup, Type as OperationType};
use wire::v1::{self, FrameworkInfo, TaskInfo};

use crate::refusals::{accept, launch, updates, verdict};
use crate::world::script::{Script, executor_info, task_info};

/// `tenant` may be in `tenant` and all within it, and run as `nobody`; of everybody else nothing is said.
fn script() -> Script {
    let scope = Scope {
        roles: Some(["tenant", "tenant/*"].map(|text| text.parse().expect("a scope")).into()),
        users: Some(["nobody".to_owned()].into()),
    };
    let authority: Authority = [("tenant".to_owned(), scope)].into_iter().collect();
    let mut script = Script::of(Settings { authority: Arc::new(authority), ..Settings::default() });
    script.effects_of("lead");
    script
}

fn subscribe(principal: Option<&str>, roles: &[&str]) -> Subscribe {
    Subscribe {
        framework_info: FrameworkInfo {
            user: "nobody".to_owned(),
            name: "test".to_owned(),
            roles: roles.iter().map(ToString::to_string).collect(),
            principal: principal.map(str::to_owned),
            capabilities: vec![v1::framework_info::Capability {
                r#type: Some(v1::framework_info::capability::Type::MultiRole.into()),
            }],
            ..FrameworkInfo::default()
        },
        ..Subscribe::default()
    }
}

/// The text of the ERROR event that a subscription ends with, if it does.
fn refused(principal: Option<&str>, roles: &[&str]) -> Option<String> {
    let effects = script().subscribe_as(subscribe(principal, roles));
    effects.iter().find_map(|effect| match effect {
        Effect::Event { event: SchedulerEvent::Error(text), .. } => Some(text.clone()),
        _ => None,
    })
}

#[test]
fn a_principal_subscribes_in_its_roles_alone() {
    assert_eq!(refused(Some("tenant"), &["tenant", "tenant/blue"]), None);
    assert_eq!(refused(Some("other"), &["tenant", "*"]), None);
    assert_eq!(refused(None, &["tenant"]), None);
    assert_eq!(
        refused(Some("tenant"), &["tenant", "eng", "tenants"]).as_deref(),
        Some("Not authorized to use roles 'eng', 'tenants'")
    );
}

#[test]
fn an_update_of_a_framework_gives_it_no_foreign_role() {
    let mut script = script();
    script.effects_of("subscribe s1 principal=tenant user=nobody roles=tenant caps=MULTI_ROLE");
    let mut update = subscribe(Some("tenant"), &["tenant", "eng"]).framework_info;
    update.id = Some(v1::FrameworkId { value: "M-0000".to_owned() });
    let effects = script.call(wire::scheduler::Call {
        r#type: Some(Type::UpdateFramework.into()),
        update_framework: Some(wire::scheduler::call::UpdateFramework {
            framework_info: update,
            ..Default::default()
        }),
        ..Default::default()
    });
    let answers: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer { result: Err(refusal), .. } => Some((refusal.status(), refusal.to_string())),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [(403, "Not authorized to use roles 'eng'".to_owned())]);
}

/// A script in which `tenant` has an offer `M-O0` of the agent `M-S0`.
fn offered() -> Script {
    let mut script = script();
    script.effects_of("subscribe s1 principal=tenant user=nobody roles=tenant caps=MULTI_ROLE");
    script.effects_of("hello a1 res=cpus:4;mem:4096;disk:1000");
    script
}

fn task(id: &str, user: Option<&str>) -> TaskInfo {
    let mut task = task_info(id, "M-S0", "cpus:1;mem:64");
    if let Some(command) = &mut task.command {
        command.user = user.map(str::to_owned);
    }
    task
}

#[test]
fn tasks_run_as_the_users_of_their_principal_alone() {
    let launched = |task: TaskInfo| offered().call(accept(&["M-O0"], vec![launch(vec![task])]));
    for user in [None, Some(""), Some("nobody")] {
        assert_eq!(updates(&launched(task("t", user))), [], "{user:?}");
    }
    let root =
        ("TASK_ERROR", "REASON_TASK_UNAUTHORIZED", "Not authorized to launch as user 'root'".to_owned());
    assert_eq!(verdict(&launched(task("t", Some("root")))), root);
    let mut custom = task("t", None);
    custom.command = None;
    let mut executor = executor_info("e", Some("cpus:0.1;mem:32"));
    if let Some(command) = &mut executor.command {
        command.user = Some("root".to_owned());
    }
    custom.executor = Some(executor);
    assert_eq!(verdict(&launched(custom)), root);
}

#[test]
fn a_group_is_launched_as_a_whole_or_not_at_all() {
    let group = |users: [Option<&str>; 2]| {
        let mut executor = executor_info("group", Some("cpus:0.1;mem:32;disk:10"));
        executor.command = None;
        executor.r#type = Some(v1::executor_info::Type::Default.into());
        let tasks = vec![task("a", users[0]), task("b", users[1])];
        let operation = Operation {
            r#type: Some(OperationType::LaunchGroup.into()),
            launch_group: Some(LaunchGroup { executor, task_group: v1::TaskGroupInfo { tasks } }),
            ..Operation::default()
        };
        updates(&offered().call(accept(&["M-O0"], vec![operation])))
    };
    assert_eq!(group([None, Some("nobody")]), []);
    let told = group([None, Some("root")]);
    let told: Vec<_> =
        told.iter().map(|status| (&*status.task_id.value, status.reason().as_str_name())).collect();
    assert_eq!(told, [("a", "REASON_TASK_GROUP_UNAUTHORIZED"), ("b", "REASON_TASK_GROUP_UNAUTHORIZED")]);
}
