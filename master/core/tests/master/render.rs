//! What clients read: the leader's records in the JSON of the v1 API, whose shapes section 4.5 and 6.2 of the
//! specification give.

use std::sync::Arc;

use expect_test::{Expect, expect};
use master_core::effect::{AgentOrder, AgentRefusal, Effect, OperatorEvent, SchedulerEvent};
use master_core::input::Term;
use master_core::render::{self, Large};
use model::time::{Span, Time};
use wire::{Codec, json};

use crate::world::script::Script;

/// Runs commands and returns what they brought about.
fn play(commands: &str) -> (Script, Vec<Effect>) {
    let mut script = Script::new();
    let mut effects = Vec::new();
    for line in commands.lines() {
        effects.extend(script.effects_of(line.trim()));
    }
    (script, effects)
}

fn check(text: Vec<u8>, expected: &Expect) {
    expected.assert_eq(&String::from_utf8(text).expect("JSON is text"));
}

/// The newest event of schedulers for which `wanted` holds.
fn event(effects: &[Effect], wanted: impl Fn(&SchedulerEvent) -> bool) -> SchedulerEvent {
    let events = effects.iter().rev().filter_map(|effect| match effect {
        Effect::Event { event, .. } => Some(event),
        _ => None,
    });
    events.clone().find(|event| wanted(event)).expect("the event was sent").clone()
}

fn offers(commands: &str, expected: &Expect) {
    let (_, effects) = play(commands);
    let event = event(&effects, |event| matches!(event, SchedulerEvent::Offers(_)));
    check(json::to_vec(&render::scheduler_event(&event)), expected);
}

#[test]
fn subscribed_names_the_master() {
    let (_, effects) = play("lead\nsubscribe s1");
    let event = event(&effects, |event| matches!(event, SchedulerEvent::Subscribed { .. }));
    check(
        json::to_vec(&render::scheduler_event(&event)),
        &expect![[
            r#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"M-0000"},"heartbeat_interval_seconds":15.0,"master_info":{"id":"M","ip":16777343,"port":5050,"hostname":"localhost"}}}"#
        ]],
    );
    check(
        json::to_vec(&render::scheduler_event(&SchedulerEvent::Heartbeat)),
        &expect![[r#"{"type":"HEARTBEAT"}"#]],
    );
}

#[test]
fn offers_have_the_form_each_framework_can_read() {
    offers(
        "lead\nhello a1 res=cpus:4;ports:[31000-31001]\nsubscribe s1 roles=web caps=MULTI_ROLE,RESERVATION_REFINEMENT",
        &expect![[
            r#"{"type":"OFFERS","offers":{"offers":[{"id":{"value":"M-O0"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"allocation_info":{"role":"web"}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31001}]},"allocation_info":{"role":"web"}}],"allocation_info":{"role":"web"}}]}}"#
        ]],
    );
    offers(
        "lead\nhello a1 res=cpus:4\nsubscribe s1 roles=web caps=MULTI_ROLE",
        &expect![[
            r#"{"type":"OFFERS","offers":{"offers":[{"id":{"value":"M-O0"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*","allocation_info":{"role":"web"}}],"allocation_info":{"role":"web"}}]}}"#
        ]],
    );
    offers(
        "lead\nhello a1 res=cpus:4\nsubscribe s1",
        &expect![[
            r#"{"type":"OFFERS","offers":{"offers":[{"id":{"value":"M-O0"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*"}]}]}}"#
        ]],
    );
    offers(
        "lead\nhello a1 res=cpus(web):1;mem(other):100;cpus:2\nsubscribe s1 role=web",
        &expect![[
            r#"{"type":"OFFERS","offers":{"offers":[{"id":{"value":"M-O0"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":2.0},"role":"*"},{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"role":"web"}]}]}}"#
        ]],
    );
}

#[test]
fn events_have_their_payload_under_their_name() {
    let agent = "M-S0".into();
    let all = [
        SchedulerEvent::Rescind("M-O1".into()),
        SchedulerEvent::Failure { agent, executor: None },
        SchedulerEvent::Failure { agent: "M-S0".into(), executor: Some(("ex".into(), 256)) },
        SchedulerEvent::Message { agent: "M-S0".into(), executor: "ex".into(), data: "to scheduler".into() },
        SchedulerEvent::Error("Framework failed over".to_owned()),
    ];
    let mut text = Vec::new();
    for event in all {
        text.extend(json::to_vec(&render::scheduler_event(&event)));
        text.push(b'\n');
    }
    check(
        text,
        &expect![[r#"
        {"type":"RESCIND","rescind":{"offer_id":{"value":"M-O1"}}}
        {"type":"FAILURE","failure":{"agent_id":{"value":"M-S0"}}}
        {"type":"FAILURE","failure":{"agent_id":{"value":"M-S0"},"executor_id":{"value":"ex"},"status":256}}
        {"type":"MESSAGE","message":{"agent_id":{"value":"M-S0"},"executor_id":{"value":"ex"},"data":"dG8gc2NoZWR1bGVy"}}
        {"type":"ERROR","error":{"message":"Framework failed over"}}
    "#]],
    );
}

#[test]
fn reconciliation_has_no_uuid() {
    let (_, effects) = play(
        "lead\nhello a1\nsubscribe s1\naccept s1 O0 t1:cpus:1\nupdate a1 t1 RUNNING uuid=1 healthy=true\nreconcile s1",
    );
    let event = event(&effects, |event| matches!(event, SchedulerEvent::Update(_)));
    check(
        json::to_vec(&render::scheduler_event(&event)),
        &expect![[
            r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"t1"},"state":"TASK_RUNNING","message":"Reconciliation: Latest task state","source":"SOURCE_MASTER","reason":"REASON_RECONCILIATION","agent_id":{"value":"M-S0"},"timestamp":1700000000.0,"healthy":true}}}"#
        ]],
    );
}

const BUSY: &str = "lead
    hello a1
    subscribe s1 roles=web caps=MULTI_ROLE timeout=10
    accept s1 O0 t1:cpus:1;mem:32 refuse=0
    update a1 t1 RUNNING uuid=1
    tick 1s
    op weight role=web weight=2.5";

#[test]
fn answers_to_operators() {
    let (mut script, _) = play(BUSY);
    let snapshot = script.snapshot();
    let started = Time::from_secs(1_699_999_999);
    check(
        json::to_vec(&render::get_master(&snapshot, started)),
        &expect![[
            r#"{"type":"GET_MASTER","get_master":{"master_info":{"id":"M","ip":16777343,"port":5050,"hostname":"localhost"},"start_time":1699999999.0,"elected_time":1700000000.0}}"#
        ]],
    );
    check(
        json::to_vec(&render::get_agents(&snapshot)),
        &expect![[
            r#"{"type":"GET_AGENTS","get_agents":{"agents":[{"agent_info":{"hostname":"a1","port":5051,"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0}},{"name":"mem","type":"SCALAR","scalar":{"value":4096.0}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]}}],"id":{"value":"M-S0"}},"active":true,"deactivated":false,"version":"0.1.0","pid":"slave(1)@127.0.0.1:5051","registered_time":{"nanoseconds":1700000000000000000},"total_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*"},{"name":"mem","type":"SCALAR","scalar":{"value":4096.0},"role":"*"},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]},"role":"*"}],"allocated_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"role":"*","allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"role":"*","allocation_info":{"role":"web"}}],"offered_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":3.0},"role":"*","allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":4064.0},"role":"*","allocation_info":{"role":"web"}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]},"role":"*","allocation_info":{"role":"web"}}],"capabilities":[{"type":"MULTI_ROLE"},{"type":"HIERARCHICAL_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"AGENT_OPERATION_FEEDBACK"},{"type":"AGENT_DRAINING"},{"type":"TASK_RESOURCE_LIMITS"}]}],"recovered_agents":[]}}"#
        ]],
    );
    check(
        json::to_vec(&render::get_frameworks(&snapshot)),
        &expect![[
            r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[{"framework_info":{"user":"root","name":"test","id":{"value":"M-0000"},"failover_timeout":10.0,"checkpoint":false,"roles":["web"],"capabilities":[{"type":"MULTI_ROLE"}]},"active":true,"connected":true,"recovered":false,"registered_time":{"nanoseconds":1700000000000000000},"reregistered_time":{"nanoseconds":1700000000000000000},"offers":[{"id":{"value":"M-O2"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":3.0},"role":"*","allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":4064.0},"role":"*","allocation_info":{"role":"web"}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]},"role":"*","allocation_info":{"role":"web"}}],"allocation_info":{"role":"web"}}],"allocated_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"role":"*","allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"role":"*","allocation_info":{"role":"web"}}],"offered_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":3.0},"role":"*","allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":4064.0},"role":"*","allocation_info":{"role":"web"}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]},"role":"*","allocation_info":{"role":"web"}}],"offer_constraints":{}}],"completed_frameworks":[]}}"#
        ]],
    );
    check(
        json::to_vec(&render::get_tasks(&snapshot)),
        &expect![[
            r#"{"type":"GET_TASKS","get_tasks":{"tasks":[{"name":"t1","task_id":{"value":"t1"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"state":"TASK_RUNNING","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"allocation_info":{"role":"web"}}],"statuses":[{"task_id":{"value":"t1"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","agent_id":{"value":"M-S0"},"uuid":"AAAAAAAAAAAAAAAAAAAAAQ=="}],"status_update_state":"TASK_RUNNING","status_update_uuid":"AAAAAAAAAAAAAAAAAAAAAQ=="}],"unreachable_tasks":[],"completed_tasks":[]}}"#
        ]],
    );
    check(
        json::to_vec(&render::get_executors(&snapshot)),
        &expect![[r#"{"type":"GET_EXECUTORS","get_executors":{"executors":[]}}"#]],
    );
    check(
        json::to_vec(&render::get_roles(&snapshot)),
        &expect![[
            r#"{"type":"GET_ROLES","get_roles":{"roles":[{"name":"web","weight":2.5,"frameworks":[{"value":"M-0000"}],"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0}},{"name":"mem","type":"SCALAR","scalar":{"value":4096.0}}]}]}}"#
        ]],
    );
    check(
        json::to_vec(&render::get_weights(&snapshot)),
        &expect![[r#"{"type":"GET_WEIGHTS","get_weights":{"weight_infos":[{"weight":2.5,"role":"web"}]}}"#]],
    );
    check(
        json::to_vec(&render::get_operations(&snapshot)),
        &expect![[r#"{"type":"GET_OPERATIONS","get_operations":{}}"#]],
    );
}

#[test]
fn an_idle_master_answers_with_empty_lists() {
    let (mut script, _) = play("lead");
    let snapshot = script.snapshot();
    check(
        json::to_vec(&render::get_state(&snapshot)),
        &expect![[
            r#"{"type":"GET_STATE","get_state":{"get_tasks":{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]},"get_executors":{"executors":[]},"get_frameworks":{"frameworks":[],"completed_frameworks":[]},"get_agents":{"agents":[],"recovered_agents":[]}}}"#
        ]],
    );
    check(json::to_vec(&render::get_weights(&snapshot)), &expect![[r#"{"type":"GET_WEIGHTS"}"#]]);
}

const LEAVING: &str = "lead
    hello a1 res=cpus:2
    subscribe s1 roles=web caps=MULTI_ROLE
    op schedule a1/127.0.0.1,b@1000+60 c@2000";

#[test]
fn maintenance_is_told_as_it_was_planned() {
    let (mut script, effects) = play(LEAVING);
    let offer = event(&effects, |event| matches!(event, SchedulerEvent::Offers(_)));
    let inverse = event(&effects, |event| matches!(event, SchedulerEvent::InverseOffers(_)));
    let rescind = SchedulerEvent::RescindInverse("M-O2".into());
    let mut text = Vec::new();
    for event in [offer, inverse, rescind] {
        text.extend(json::to_vec(&render::scheduler_event(&event)));
        text.push(b'\n');
    }
    check(
        text,
        &expect![[r#"
        {"type":"OFFERS","offers":{"offers":[{"id":{"value":"M-O1"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":2.0},"role":"*","allocation_info":{"role":"web"}}],"unavailability":{"start":{"nanoseconds":1000},"duration":{"nanoseconds":60}},"allocation_info":{"role":"web"}}]}}
        {"type":"INVERSE_OFFERS","inverse_offers":{"inverse_offers":[{"id":{"value":"M-O2"},"url":{"scheme":"http","address":{"hostname":"a1","ip":"127.0.0.1","port":5051},"path":"/slave(1)"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"unavailability":{"start":{"nanoseconds":1000},"duration":{"nanoseconds":60}}}]}}
        {"type":"RESCIND_INVERSE_OFFER","rescind_inverse_offer":{"inverse_offer_id":{"value":"M-O2"}}}
    "#]],
    );
    let snapshot = script.snapshot();
    check(
        json::to_vec(&render::get_maintenance_schedule(&snapshot)),
        &expect![[
            r#"{"type":"GET_MAINTENANCE_SCHEDULE","get_maintenance_schedule":{"schedule":{"windows":[{"machine_ids":[{"hostname":"a1","ip":"127.0.0.1"},{"hostname":"b"}],"unavailability":{"start":{"nanoseconds":1000},"duration":{"nanoseconds":60}}},{"machine_ids":[{"hostname":"c"}],"unavailability":{"start":{"nanoseconds":2000}}}]}}}"#
        ]],
    );
    script.effects_of("accept-inverse s1 O2");
    script.effects_of("op down b");
    let snapshot = script.snapshot();
    check(
        json::to_vec(&render::get_maintenance_status(&snapshot)),
        &expect![[
            r#"{"type":"GET_MAINTENANCE_STATUS","get_maintenance_status":{"status":{"draining_machines":[{"id":{"hostname":"a1","ip":"127.0.0.1"},"statuses":[{"status":"ACCEPT","framework_id":{"value":"M-0000"},"timestamp":{"nanoseconds":1700000000000000000}}]},{"id":{"hostname":"c"}}],"down_machines":[{"hostname":"b"}]}}}"#
        ]],
    );
    script.effects_of("op up b");
    script.effects_of("op schedule");
    let snapshot = script.snapshot();
    let (schedule, status) =
        (render::get_maintenance_schedule(&snapshot), render::get_maintenance_status(&snapshot));
    check(
        [json::to_vec(&schedule), json::to_vec(&status)].join(&b'\n'),
        &expect![[r#"
        {"type":"GET_MAINTENANCE_SCHEDULE","get_maintenance_schedule":{"schedule":{}}}
        {"type":"GET_MAINTENANCE_STATUS","get_maintenance_status":{"status":{}}}"#]],
    );
}

#[test]
fn the_snapshot_of_a_stream_leaves_most_of_the_history_out() {
    let (mut script, _) = play("lead\nhello a1\nsubscribe s1 timeout=10");
    for round in 0..1_200 {
        script.effects_of(&format!("accept s1 O{round} t{round}:cpus:4 refuse=0"));
        script.effects_of(&format!("update a1 t{round} FINISHED uuid={round}"));
        script.effects_of(&format!("ack s1 t{round} agent=M-S0 uuid={round}"));
        script.effects_of("tick 200ms");
    }
    let snapshot = script.snapshot();
    let kept = render::get_tasks(&snapshot).get_tasks.expect("tasks").completed_tasks.len();
    assert_eq!(kept, model::limits::COMPLETED_TASKS);
    let record = render::subscribed(&snapshot, Span::from_secs(15), Codec::Json);
    assert!(record.len() < 4 << 20, "one client gives up on records over 4 MiB, this has {}", record.len());
}

#[test]
fn events_of_operators() {
    let commands = format!("lead\nop subscribe o1\n{}", BUSY.replace("lead", "")).replace("\n\n", "\n");
    let (_, effects) = play(&format!("{commands}\n    close s1\n    tick 11s"));
    let mut text = String::new();
    for effect in &effects {
        let Effect::Notice { event, .. } = effect else { continue };
        if matches!(event, OperatorEvent::Heartbeat) {
            continue;
        }
        text += &String::from_utf8(json::to_vec(&render::operator_event(event))).expect("JSON is text");
        text.push('\n');
    }
    expect![[r#"
        {"type":"SUBSCRIBED","subscribed":{"get_state":{"get_tasks":{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]},"get_executors":{"executors":[]},"get_frameworks":{"frameworks":[],"completed_frameworks":[]},"get_agents":{"agents":[],"recovered_agents":[]}},"heartbeat_interval_seconds":15.0}}
        {"type":"AGENT_ADDED","agent_added":{"agent":{"agent_info":{"hostname":"a1","port":5051,"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0}},{"name":"mem","type":"SCALAR","scalar":{"value":4096.0}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]}}],"id":{"value":"M-S0"}},"active":true,"deactivated":false,"version":"0.1.0","pid":"slave(1)@127.0.0.1:5051","registered_time":{"nanoseconds":1700000000000000000},"total_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*"},{"name":"mem","type":"SCALAR","scalar":{"value":4096.0},"role":"*"},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31009}]},"role":"*"}],"capabilities":[{"type":"MULTI_ROLE"},{"type":"HIERARCHICAL_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"AGENT_OPERATION_FEEDBACK"},{"type":"AGENT_DRAINING"},{"type":"TASK_RESOURCE_LIMITS"}]}}}
        {"type":"FRAMEWORK_ADDED","framework_added":{"framework":{"framework_info":{"user":"root","name":"test","id":{"value":"M-0000"},"failover_timeout":10.0,"checkpoint":false,"roles":["web"],"capabilities":[{"type":"MULTI_ROLE"}]},"active":true,"connected":true,"recovered":false,"registered_time":{"nanoseconds":1700000000000000000},"reregistered_time":{"nanoseconds":1700000000000000000},"offer_constraints":{}}}}
        {"type":"TASK_ADDED","task_added":{"task":{"name":"t1","task_id":{"value":"t1"},"framework_id":{"value":"M-0000"},"agent_id":{"value":"M-S0"},"state":"TASK_STAGING","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"allocation_info":{"role":"web"}}]}}}
        {"type":"TASK_UPDATED","task_updated":{"framework_id":{"value":"M-0000"},"status":{"task_id":{"value":"t1"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","agent_id":{"value":"M-S0"},"uuid":"AAAAAAAAAAAAAAAAAAAAAQ=="},"state":"TASK_RUNNING"}}
        {"type":"FRAMEWORK_UPDATED","framework_updated":{"framework":{"framework_info":{"user":"root","name":"test","id":{"value":"M-0000"},"failover_timeout":10.0,"checkpoint":false,"roles":["web"],"capabilities":[{"type":"MULTI_ROLE"}]},"active":false,"connected":false,"recovered":false,"registered_time":{"nanoseconds":1700000000000000000},"reregistered_time":{"nanoseconds":1700000000000000000},"allocated_resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"role":"*","allocation_info":{"role":"web"}},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"role":"*","allocation_info":{"role":"web"}}],"offer_constraints":{}}}}
        {"type":"TASK_UPDATED","task_updated":{"framework_id":{"value":"M-0000"},"status":{"task_id":{"value":"t1"},"state":"TASK_KILLED","message":"Framework M-0000 removed","source":"SOURCE_MASTER","reason":"REASON_FRAMEWORK_REMOVED","agent_id":{"value":"M-S0"},"timestamp":1700000011.0},"state":"TASK_KILLED"}}
        {"type":"FRAMEWORK_REMOVED","framework_removed":{"framework_info":{"user":"root","name":"test","id":{"value":"M-0000"},"failover_timeout":10.0,"checkpoint":false,"roles":["web"],"capabilities":[{"type":"MULTI_ROLE"}]}}}
    "#]].assert_eq(&text);
}

/// Tasks of the larger of two clusters: more records than one protobuf message holds.
const MANY: usize = 1_500;

/// What is written piece by piece is, to a reader, the message that holds the whole.
#[test]
fn large_answers_are_what_the_whole_message_is() {
    let small = play(BUSY).0.snapshot();
    let (mut script, _) = play("lead\nhello a1 res=cpus:4000\nsubscribe s1 timeout=10");
    let tasks: String = (0..MANY).map(|n| format!(" t{n}:cpus:1")).collect();
    script.effects_of(&format!("accept s1 O0{tasks} refuse=0"));
    let large = script.snapshot();
    assert_eq!(render::get_tasks(&large).get_tasks.expect("tasks").tasks.len(), MANY);
    for snapshot in [small, large] {
        for (what, whole) in [
            (Large::State, render::get_state(&snapshot)),
            (Large::Tasks, render::get_tasks(&snapshot)),
            (Large::Executors, render::get_executors(&snapshot)),
            (Large::Frameworks, render::get_frameworks(&snapshot)),
            (Large::Agents, render::get_agents(&snapshot)),
        ] {
            let written = |codec| {
                let mut out = Vec::new();
                what.write(&snapshot, codec, &mut out).expect("memory takes it");
                out
            };
            assert!(written(Codec::Json) == json::to_vec(&whole), "{what:?}");
            let read: wire::master::Response =
                Codec::Protobuf.decode(&written(Codec::Protobuf)).expect("one message to a reader");
            assert!(read == whole, "{what:?}");
        }
        let heartbeat = Span::from_secs(15);
        let event = OperatorEvent::Subscribed { snapshot: snapshot.clone(), heartbeat };
        let whole = render::operator_event(&event);
        assert!(render::subscribed(&snapshot, heartbeat, Codec::Json) == json::to_vec(&whole));
        let written = render::subscribed(&snapshot, heartbeat, Codec::Protobuf);
        let read: wire::master::Event = Codec::Protobuf.decode(&written).expect("one message to a reader");
        assert!(read == whole);
    }
}

/// A reader that is gone costs no more than the piece it did not take.
#[test]
fn nothing_is_made_for_a_reader_that_is_gone() {
    struct Gone(usize);
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            self.0 += 1;
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (mut script, _) = play("lead\nhello a1 res=cpus:4000\nsubscribe s1 timeout=10");
    let tasks: String = (0..MANY).map(|n| format!(" t{n}:cpus:1")).collect();
    script.effects_of(&format!("accept s1 O0{tasks} refuse=0"));
    let snapshot = script.snapshot();
    for codec in [Codec::Json, Codec::Protobuf] {
        let mut gone = Gone(0);
        assert!(Large::State.write(&snapshot, codec, &mut gone).is_err());
        assert_eq!(gone.0, 1, "{codec:?}");
    }
}

#[test]
fn frames_carry_the_term() {
    let frame = render::order(Term(7), &AgentOrder::Ping { sequence: 3 });
    assert_eq!(frame.term, 7);
    let refusals = [
        AgentRefusal::NotLeader { leader: Some(Arc::from("m2:5050")) },
        AgentRefusal::Gone("M-S0".into()),
        AgentRefusal::Duplicate { agent: "M-S0".into(), at: "host:5051 (10.0.0.1)".to_owned() },
        AgentRefusal::Superseded { agent: "M-S0".into(), at: "host:5051 (10.0.0.1)".to_owned() },
        AgentRefusal::Held {
            agent: "M-S0".into(),
            at: "host:5051 (10.0.0.1)".to_owned(),
            retry_after: Span::from_secs(1),
        },
        AgentRefusal::Elsewhere {
            agent: "M-S0".into(),
            at: "host:5051 (10.0.0.1)".to_owned(),
            retry_after: Span::from_secs(1),
        },
        AgentRefusal::Busy { retry_after: Span::from_secs(1) },
        AgentRefusal::Invalid("two hellos".to_owned()),
    ];
    let mut text = String::new();
    for refusal in refusals {
        let frame = render::order(Term(7), &AgentOrder::Refused(refusal));
        let Some(wire::link::to_agent::Frame::Refused(refused)) = frame.frame else {
            panic!("not a refusal")
        };
        text += &format!(
            "{} {:?} leader={:?} retry_after={:?}\n",
            refused.reason().as_str_name(),
            refused.message.as_deref().unwrap_or_default(),
            refused.leader,
            refused.retry_after
        );
    }
    expect![[r#"
        NOT_LEADER "this master does not lead" leader=Some("m2:5050") retry_after=None
        GONE "agent M-S0 was marked gone: its id may never return" leader=None retry_after=None
        DUPLICATE "agent M-S0 runs at host:5051 (10.0.0.1) and has just answered from there: this data directory is a copy of its" leader=None retry_after=None
        GONE "agent M-S0 has gone on without this process, at host:5051 (10.0.0.1): this data directory is a copy, or was set back to an earlier state" leader=None retry_after=None
        BUSY "agent M-S0 has a link from host:5051 (10.0.0.1): whether it still lives is being found out" leader=None retry_after=Some(1000)
        BUSY "agent M-S0 is known at host:5051 (10.0.0.1) and may come back there. If this data directory is a copy, start with an empty one; if it was moved, it is let in when nothing has come from there for 10 minutes" leader=None retry_after=Some(1000)
        BUSY "too many agents register at once" leader=None retry_after=Some(1000)
        INVALID "two hellos" leader=None retry_after=None
    "#]].assert_eq(&text);
}
