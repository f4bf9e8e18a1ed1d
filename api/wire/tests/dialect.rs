//! The traps of the wire, one test each: what clients in use send and rely on.

use std::fmt::Write;

use bytes::Bytes;
use expect_test::{Expect, expect};
use prost::Message as _;
use wire::{Codec, Message, agent, executor, json, master, protobuf, recordio, scheduler, v1};

fn print<M: Message>(message: &M) -> String {
    String::from_utf8(json::to_vec(message)).unwrap()
}

fn read<M: Message>(text: &str) -> M {
    json::from_slice(text.as_bytes()).unwrap()
}

/// What a message says after being read and printed again, or why it is refused.
fn echo<M: Message>(text: &str, expected: &Expect) {
    let answer = match json::from_slice::<M>(text.as_bytes()) {
        Ok(message) => print(&message),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&answer);
}

fn task_id(value: &str) -> v1::TaskId {
    v1::TaskId { value: value.to_owned() }
}

// --- what is printed ------------------------------------------------------------------------------------------

#[test]
fn offers_are_nested_twice() {
    let event = scheduler::Event {
        r#type: Some(scheduler::event::Type::Offers as i32),
        offers: Some(scheduler::event::Offers { offers: Vec::new() }),
        ..Default::default()
    };
    expect![[r#"{"type":"OFFERS","offers":{}}"#]].assert_eq(&print(&event));
}

#[test]
fn fields_stand_in_declared_order() {
    let text = r#"{"type":"OFFERS","offers":{"offers":[{"domain":{"fault_domain":{"zone":{"name":"z"},"region":{"name":"r"}}},
        "allocation_info":{"role":"a"},"executor_ids":[{"value":"e"}],
        "resources":[{"disk":{"volume":{"container_path":"d","mode":"RW"},"persistence":{"id":"v"}},
            "reservations":[{"principal":"p","role":"a","type":"DYNAMIC"}],"allocation_info":{"role":"a"},
            "scalar":{"value":64},"type":"SCALAR","name":"disk"}],
        "url":{"path":"/agent","address":{"port":5051,"ip":"10.0.0.7","hostname":"a1"},"scheme":"http"},
        "attributes":[{"type":"TEXT","text":{"value":"r1"},"name":"rack"}],
        "hostname":"a1","agent_id":{"value":"S0"},"framework_id":{"value":"F"},"id":{"value":"O"}}]}}"#;
    echo::<scheduler::Event>(
        text,
        &expect![[
            r#"{"type":"OFFERS","offers":{"offers":[{"id":{"value":"O"},"framework_id":{"value":"F"},"agent_id":{"value":"S0"},"hostname":"a1","url":{"scheme":"http","address":{"hostname":"a1","ip":"10.0.0.7","port":5051},"path":"/agent"},"domain":{"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}},"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"allocation_info":{"role":"a"},"reservations":[{"type":"DYNAMIC","role":"a","principal":"p"}],"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"d"}}}],"attributes":[{"name":"rack","type":"TEXT","text":{"value":"r1"}}],"executor_ids":[{"value":"e"}],"allocation_info":{"role":"a"}}]}}"#
        ]],
    );
}

#[test]
fn declared_defaults_are_printed_unless_deprecated() {
    echo::<v1::FrameworkInfo>(
        r#"{"user":"u","name":"n"}"#,
        &expect![[r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#]],
    );
    echo::<v1::FrameworkInfo>(
        r#"{"user":"u","name":"n","role":"*"}"#,
        &expect![[r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false,"role":"*"}"#]],
    );
    echo::<v1::Resource>(
        r#"{"name":"cpus","type":"SCALAR"}"#,
        &expect![[r#"{"name":"cpus","type":"SCALAR"}"#]],
    );
    echo::<v1::CommandInfo>(
        r#"{"uris":[{"value":"u"}]}"#,
        &expect![[r#"{"uris":[{"value":"u","extract":true}],"shell":true}"#]],
    );
    echo::<v1::Environment>(
        r#"{"variables":[{"name":"A","value":"b"}]}"#,
        &expect![[r#"{"variables":[{"name":"A","type":"VALUE","value":"b"}]}"#]],
    );
    echo::<v1::Filters>("{}", &expect![[r#"{"refuse_seconds":5.0}"#]]);
    echo::<v1::HealthCheck>(
        r#"{"http":{"port":80}}"#,
        &expect![[
            r#"{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0,"consecutive_failures":3,"grace_period_seconds":10.0,"http":{"protocol":"IPv4","port":80}}"#
        ]],
    );
    echo::<v1::AgentInfo>(r#"{"hostname":"h"}"#, &expect![[r#"{"hostname":"h","port":5051}"#]]);
    echo::<v1::NetworkInfo>(
        r#"{"ip_addresses":[{}]}"#,
        &expect![[r#"{"ip_addresses":[{"protocol":"IPv4"}]}"#]],
    );
}

#[test]
fn empty_lists_are_left_out_but_for_the_top_ones_of_state_answers() {
    echo::<scheduler::Call>(
        r#"{"type":"RECONCILE","reconcile":{"tasks":[]}}"#,
        &expect![[r#"{"type":"RECONCILE","reconcile":{}}"#]],
    );
    echo::<master::Response>(
        r#"{"type":"GET_STATE","get_state":{"get_tasks":{},"get_executors":{},"get_frameworks":{},"get_agents":{}}}"#,
        &expect![[
            r#"{"type":"GET_STATE","get_state":{"get_tasks":{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]},"get_executors":{"executors":[]},"get_frameworks":{"frameworks":[],"completed_frameworks":[]},"get_agents":{"agents":[],"recovered_agents":[]}}}"#
        ]],
    );
    echo::<agent::Response>(
        r#"{"type":"GET_STATE","get_state":{"get_tasks":{},"get_executors":{},"get_frameworks":{}}}"#,
        &expect![[
            r#"{"type":"GET_STATE","get_state":{"get_tasks":{"pending_tasks":[],"queued_tasks":[],"launched_tasks":[],"terminated_tasks":[],"completed_tasks":[]},"get_executors":{"executors":[],"completed_executors":[]},"get_frameworks":{"frameworks":[],"completed_frameworks":[]}}}"#
        ]],
    );
    echo::<master::Response>(
        r#"{"type":"GET_OPERATIONS","get_operations":{}}"#,
        &expect![[r#"{"type":"GET_OPERATIONS","get_operations":{}}"#]],
    );
    echo::<master::Response>(r#"{"type":"GET_WEIGHTS"}"#, &expect![[r#"{"type":"GET_WEIGHTS"}"#]]);
    echo::<master::Response>(
        r#"{"type":"GET_QUOTA","get_quota":{"status":{}}}"#,
        &expect![[r#"{"type":"GET_QUOTA","get_quota":{"status":{}}}"#]],
    );
    echo::<master::Response>(
        r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[{"framework_info":{"user":"u","name":"n"},
            "active":true,"connected":true,"recovered":false,"offer_constraints":{}}]}}"#,
        &expect![[
            r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[{"framework_info":{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false},"active":true,"connected":true,"recovered":false,"offer_constraints":{}}],"completed_frameworks":[]}}"#
        ]],
    );
}

#[test]
fn doubles_have_a_fraction_or_an_exponent() {
    for (value, text) in [
        (15.0, "15.0"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (0.060_000_000_000_000_01, "0.06000000000000001"),
        (1_795_214_069.728_878_8, "1795214069.7288787"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (f64::INFINITY, r#""Infinity""#),
        (f64::NEG_INFINITY, r#""-Infinity""#),
        (f64::NAN, "null"),
    ] {
        let printed = print(&v1::value::Scalar { value });
        assert_eq!(printed, format!(r#"{{"value":{text}}}"#));
        if !value.is_nan() {
            assert_eq!(read::<v1::value::Scalar>(&printed).value.to_bits(), value.to_bits());
        }
    }
}

#[test]
fn whole_numbers_are_never_strings() {
    echo::<v1::TimeInfo>(
        r#"{"nanoseconds":1795214198594209792}"#,
        &expect![[r#"{"nanoseconds":1795214198594209792}"#]],
    );
    echo::<v1::value::Range>(
        r#"{"begin":0,"end":18446744073709551615}"#,
        &expect![[r#"{"begin":0,"end":18446744073709551615}"#]],
    );
}

#[test]
fn everything_beyond_ascii_is_escaped() {
    let label = v1::Label { key: "é\u{2028}🦀".to_owned(), value: Some("\"\\\n\u{1}\u{7f}".to_owned()) };
    let printed = print(&label);
    expect![[r#"{"key":"\u00e9\u2028\ud83e\udd80","value":"\"\\\n\u0001\u007f"}"#]].assert_eq(&printed);
    assert_eq!(read::<v1::Label>(&printed), label);
}

#[test]
fn a_uuid_is_base64_in_a_task_status_and_an_object_in_an_operation_status() {
    let status = v1::TaskStatus {
        task_id: task_id("t"),
        state: v1::TaskState::TaskRunning as i32,
        uuid: Some(Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1])),
        ..Default::default()
    };
    expect![[r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","uuid":"3q2+7wAAQACAAAAAAAAAAQ=="}"#]]
        .assert_eq(&print(&status));
    let status = v1::OperationStatus {
        state: v1::OperationState::OperationFinished as i32,
        uuid: Some(v1::Uuid { value: Bytes::from_static(&[1; 16]) }),
        ..Default::default()
    };
    expect![[r#"{"state":"OPERATION_FINISHED","uuid":{"value":"AQEBAQEBAQEBAQEBAQEBAQ=="}}"#]]
        .assert_eq(&print(&status));
}

#[test]
fn names_say_agent_and_are_whole() {
    let status = v1::TaskStatus {
        task_id: task_id("t"),
        state: v1::TaskState::TaskLost as i32,
        source: Some(v1::task_status::Source::Agent as i32),
        reason: Some(v1::task_status::Reason::AgentRemoved as i32),
        ..Default::default()
    };
    expect![[r#"{"task_id":{"value":"t"},"state":"TASK_LOST","source":"SOURCE_AGENT","reason":"REASON_AGENT_REMOVED"}"#]].assert_eq(&print(&status));
}

#[test]
fn errors_and_failures_are_where_clients_look() {
    let error = scheduler::Event {
        r#type: Some(scheduler::event::Type::Error as i32),
        error: Some(scheduler::event::Error { message: "Framework failed over".to_owned() }),
        ..Default::default()
    };
    expect![[r#"{"type":"ERROR","error":{"message":"Framework failed over"}}"#]].assert_eq(&print(&error));
    let failure = scheduler::Event {
        r#type: Some(scheduler::event::Type::Failure as i32),
        failure: Some(scheduler::event::Failure {
            agent_id: Some(v1::AgentId { value: "S0".to_owned() }),
            executor_id: Some(v1::ExecutorId { value: "e".to_owned() }),
            status: Some(0),
        }),
        ..Default::default()
    };
    expect![[
        r#"{"type":"FAILURE","failure":{"agent_id":{"value":"S0"},"executor_id":{"value":"e"},"status":0}}"#
    ]]
    .assert_eq(&print(&failure));
}

#[test]
fn an_enum_number_without_a_name_is_not_printed() {
    let event = scheduler::Event { r#type: Some(4711), ..Default::default() };
    assert_eq!(print(&event), "{}");
    let info = v1::CapabilityInfo { capabilities: vec![1000, 4711, 1001] };
    expect![[r#"{"capabilities":["CHOWN","DAC_OVERRIDE"]}"#]].assert_eq(&print(&info));
}

#[test]
fn a_record_is_one_buffer_on_one_line() {
    let event =
        scheduler::Event { r#type: Some(scheduler::event::Type::Heartbeat as i32), ..Default::default() };
    assert_eq!(Codec::Json.encode_record(&event), &b"20\n{\"type\":\"HEARTBEAT\"}"[..]);
    assert_eq!(Codec::Protobuf.encode_record(&event), &b"2\n\x08\x08"[..]);
    let label = v1::Label { key: "a\nb\r\u{85}\u{2029}".to_owned(), value: None };
    let mut framed = Codec::Json.encode_record(&label);
    let record = recordio::Decoder::new(1000).decode(&mut framed).unwrap().unwrap();
    assert!(!record.iter().any(|byte| matches!(byte, b'\n' | b'\r') || !byte.is_ascii()));
}

// --- what is accepted -----------------------------------------------------------------------------------------

#[test]
fn nulls_unknown_members_and_empty_lists_are_harmless() {
    echo::<scheduler::Call>(
        r#"{"type":"SUBSCRIBE","framework_id":null,"subscribe":{"credentials":{"a":[1,{"b":null}]},"framework_info":
            {"user":"u","name":"n","id":null,"roles":[],"labels":null,"capabilities":[null,{"type":"MULTI_ROLE"}]}}}"#,
        &expect![[
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false,"capabilities":[{"type":"MULTI_ROLE"}]}}}"#
        ]],
    );
}

#[test]
fn a_null_where_a_field_is_required_counts_as_missing() {
    echo::<v1::TaskId>(
        r#"{"value":null}"#,
        &expect!["Failed to convert JSON into TaskID protobuf: Missing required fields: value"],
    );
}

#[test]
fn numbers_and_booleans_may_stand_in_strings() {
    echo::<v1::FrameworkInfo>(
        r#"{"user":"u","name":"n","failover_timeout":"10","checkpoint":"true"}"#,
        &expect![[r#"{"user":"u","name":"n","failover_timeout":10.0,"checkpoint":true}"#]],
    );
    echo::<v1::value::Scalar>(r#"{"value":"Infinity"}"#, &expect![[r#"{"value":"Infinity"}"#]]);
    echo::<v1::value::Range>(
        r#"{"begin":"31000","end":3.2e4}"#,
        &expect![[r#"{"begin":31000,"end":32000}"#]],
    );
    echo::<v1::value::Scalar>(
        r#"{"value":"ten"}"#,
        &expect![
            "Failed to convert JSON into Scalar protobuf: Expecting a number instead of 'ten' for field 'value'"
        ],
    );
    echo::<v1::FrameworkInfo>(
        r#"{"user":"u","name":"n","checkpoint":"yes"}"#,
        &expect![
            "Failed to convert JSON into FrameworkInfo protobuf: Expecting 'true' or 'false' for field 'checkpoint'"
        ],
    );
    echo::<v1::FrameworkInfo>(
        r#"{"user":"u","name":"n","checkpoint":1}"#,
        &expect![
            "Failed to convert JSON into FrameworkInfo protobuf: Not expecting a JSON number for field 'checkpoint'"
        ],
    );
    echo::<v1::FrameworkInfo>(
        r#"{"user":1,"name":"n"}"#,
        &expect![
            "Failed to convert JSON into FrameworkInfo protobuf: Not expecting a JSON number for field 'user'"
        ],
    );
}

#[test]
fn whole_numbers_stand_for_doubles_and_fractions_are_cut_off() {
    echo::<v1::value::Scalar>(r#"{"value":100}"#, &expect![[r#"{"value":100.0}"#]]);
    echo::<v1::value::Range>(
        r#"{"begin":1.9,"end":9007199254740993}"#,
        &expect![[r#"{"begin":1,"end":9007199254740993}"#]],
    );
    echo::<v1::value::Range>(
        r#"{"begin":-1,"end":0}"#,
        &expect!["Failed to convert JSON into Range protobuf: Number -1 is out of range for field 'begin'"],
    );
    echo::<v1::value::Range>(
        r#"{"begin":1e30,"end":0}"#,
        &expect!["Failed to convert JSON into Range protobuf: Number 1e30 is out of range for field 'begin'"],
    );
    echo::<v1::value::Scalar>(
        r#"{"value":1e999}"#,
        &expect![
            "Failed to convert JSON into Scalar protobuf: Number 1e999 is out of range for field 'value'"
        ],
    );
    echo::<v1::Address>(
        r#"{"port":2147483648}"#,
        &expect![
            "Failed to convert JSON into Address protobuf: Number 2147483648 is out of range for field 'port'"
        ],
    );
}

#[test]
fn an_unknown_name_leaves_an_optional_enum_unset() {
    echo::<scheduler::Call>(r#"{"type":"FROBNICATE"}"#, &expect!["{}"]);
    echo::<v1::framework_info::Capability>(r#"{"type":"LEVITATION"}"#, &expect!["{}"]);
    echo::<v1::CapabilityInfo>(
        r#"{"capabilities":["CHOWN","LEVITATE","KILL"]}"#,
        &expect![[r#"{"capabilities":["CHOWN","KILL"]}"#]],
    );
    echo::<v1::TaskStatus>(
        r#"{"task_id":{"value":"t"},"state":"TASK_DREAMING"}"#,
        &expect![
            "Failed to convert JSON into TaskStatus protobuf: Failed to find enum for 'TASK_DREAMING' for field 'state'"
        ],
    );
}

#[test]
fn an_enum_is_no_number() {
    echo::<scheduler::Call>(
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","capabilities":[{"type":6}]}}}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Not expecting a JSON number for field 'subscribe.framework_info.capabilities[0].type'"
        ],
    );
}

#[test]
fn one_value_stands_for_a_list_of_it_but_no_list_for_a_value() {
    echo::<scheduler::Call>(
        r#"{"type":"REVIVE","revive":{"roles":"a"}}"#,
        &expect![[r#"{"type":"REVIVE","revive":{"roles":["a"]}}"#]],
    );
    echo::<scheduler::Call>(
        r#"{"decline":{"offer_ids":{"value":"O"}}}"#,
        &expect![[r#"{"decline":{"offer_ids":[{"value":"O"}]}}"#]],
    );
    echo::<scheduler::Call>(
        r#"{"kill":{"task_id":[{"value":"t"}]}}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Not expecting a JSON array for field 'kill.task_id'"
        ],
    );
}

#[test]
fn a_string_is_no_message() {
    echo::<scheduler::Call>(
        r#"{"framework_id":"x"}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Not expecting a JSON string for field 'framework_id'"
        ],
    );
}

#[test]
fn bytes_are_base64_or_the_object_of_a_uuid() {
    let expected = &expect![[
        r#"{"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"3q2+7wAAQACAAAAAAAAAAQ=="}}"#
    ]];
    echo::<scheduler::Call>(
        r#"{"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"3q2+7wAAQACAAAAAAAAAAQ=="}}"#,
        expected,
    );
    echo::<scheduler::Call>(
        r#"{"acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":{"value":"3q2+7wAAQACAAAAAAAAAAQ=="}}}"#,
        &expect![[
            r#"{"acknowledge_operation_status":{"uuid":"3q2+7wAAQACAAAAAAAAAAQ==","operation_id":{"value":"o"}}}"#
        ]],
    );
    echo::<scheduler::Call>(
        r#"{"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"***"}}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Failed to base64 decode bytes field 'acknowledge.uuid': Invalid character '*'"
        ],
    );
    echo::<v1::Uuid>(
        r#"{"value":"YQ"}"#,
        &expect![
            "Failed to convert JSON into UUID protobuf: Failed to base64 decode bytes field 'value': Invalid padding"
        ],
    );
}

#[test]
fn calls_may_lack_their_payload_where_it_says_nothing() {
    echo::<scheduler::Call>(r#"{"type":"REVIVE"}"#, &expect![[r#"{"type":"REVIVE"}"#]]);
    echo::<scheduler::Call>(
        r#"{"type":"SUPPRESS","suppress":{}}"#,
        &expect![[r#"{"type":"SUPPRESS","suppress":{}}"#]],
    );
    echo::<scheduler::Call>(
        r#"{"type":"KILL","kill":{"task_id":{"value":"t"}}}"#,
        &expect![[r#"{"type":"KILL","kill":{"task_id":{"value":"t"}}}"#]],
    );
}

#[test]
fn maps_are_objects() {
    echo::<v1::TaskInfo>(
        r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},"limits":{"mem":{"value":"Infinity"},"cpus":{"value":1}}}"#,
        &expect![[
            r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},"limits":{"cpus":{"value":1.0},"mem":{"value":"Infinity"}}}"#
        ]],
    );
    echo::<v1::TaskInfo>(
        r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},"limits":{"cpus":1}}"#,
        &expect![[
            r#"Failed to convert JSON into TaskInfo protobuf: Not expecting a JSON number for field 'limits["cpus"]'"#
        ]],
    );
}

#[test]
fn alternatives_exclude_each_other() {
    echo::<scheduler::attribute_constraint::Selector>(
        r#"{"attribute_name":"rack"}"#,
        &expect![[r#"{"attribute_name":"rack"}"#]],
    );
    echo::<scheduler::attribute_constraint::Selector>(
        r#"{"attribute_name":"rack","pseudoattribute_type":"ZONE"}"#,
        &expect![[r#"{"pseudoattribute_type":"ZONE"}"#]],
    );
    echo::<scheduler::attribute_constraint::Predicate>(
        r#"{"not_exists":{}}"#,
        &expect![[r#"{"not_exists":{}}"#]],
    );
}

#[test]
fn the_grace_period_of_a_drain_is_taken_in_both_forms() {
    let expected = &expect![[
        r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"S0"},"max_grace_period":{"seconds":600},"mark_gone":false}}"#
    ]];
    for length in [r#"{"seconds":600}"#, r#"{"nanoseconds":600000000000}"#] {
        echo::<master::Call>(
            &format!(
                r#"{{"type":"DRAIN_AGENT","drain_agent":{{"agent_id":{{"value":"S0"}},"max_grace_period":{length}}}}}"#
            ),
            expected,
        );
    }
    echo::<master::Call>(
        r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"S0"},"max_grace_period":{"secs":600}}}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Missing required fields: drain_agent.max_grace_period.seconds"
        ],
    );
}

#[test]
fn a_member_that_stands_twice_counts_as_it_stands_last() {
    echo::<v1::value::Set>(r#"{"item":["a"],"item":["b"]}"#, &expect![[r#"{"item":["b"]}"#]]);
    echo::<scheduler::Call>(
        r#"{"kill":{"task_id":{"value":"t"},"agent_id":{"value":"a"}},"kill":{"task_id":{"value":"u"}}}"#,
        &expect![[r#"{"kill":{"task_id":{"value":"u"}}}"#]],
    );
}

// --- what is refused ------------------------------------------------------------------------------------------

#[test]
fn missing_fields_are_listed_with_their_paths() {
    echo::<scheduler::Call>(
        r#"{"subscribe":{"framework_info":{"name":"x"}}}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Missing required fields: subscribe.framework_info.user"
        ],
    );
    echo::<executor::Call>(
        r#"{"type":"SUBSCRIBE"}"#,
        &expect![
            "Failed to convert JSON into Call protobuf: Missing required fields: executor_id, framework_id"
        ],
    );
    echo::<scheduler::Call>(
        r#"{"accept":{"operations":[{},{"launch":{"task_infos":[{"name":"n","limits":{"cpus":{}}}]}}]}}"#,
        &expect![[
            r#"Failed to convert JSON into Call protobuf: Missing required fields: accept.operations[1].launch.task_infos[0].limits["cpus"].value, accept.operations[1].launch.task_infos[0].task_id, accept.operations[1].launch.task_infos[0].agent_id"#
        ]],
    );
}

#[test]
fn a_million_missing_fields_have_a_short_answer() {
    let mut body = r#"{"accept":{"offer_ids":["#.to_owned();
    for _ in 0..1_000_000 {
        body += "{},";
    }
    body += "{}]}}";
    let error = json::from_slice::<scheduler::Call>(body.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 2_000, "{} bytes", error.len());
    assert!(error.ends_with("accept.offer_ids[31].value and 999969 more"), "{error}");
}

#[test]
fn what_is_not_json_is_shown_where_it_ends_being_so() {
    for text in [
        "",
        "  ",
        "{",
        "{]",
        r#"{"type""#,
        r#"{"type":}"#,
        r#"{"type":"A",}"#,
        r#"{"type":"A" "b":1}"#,
        "{\n\"type\": frob}",
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":-}"#,
        r#"{"a":1e}"#,
        r#"{"a":"b}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        r#"{"a":"\u12"#,
        "{\"a\":\"\u{1}\"}",
        r#"{"a":nul}"#,
        r"{a:1}",
        "{} x",
        "{}{}",
    ] {
        let error = json::from_slice::<scheduler::Call>(text.as_bytes()).unwrap_err();
        assert!(matches!(error, wire::DecodeError::Syntax(_)), "{text}: {error}");
    }
    echo::<scheduler::Call>(
        "{\n\"type\": frob}",
        &expect!["Failed to parse body into JSON: syntax error at line 2 near: frob}"],
    );
    echo::<scheduler::Call>(
        "{} x",
        &expect![
            "Failed to parse body into JSON: Parsed JSON included non-whitespace trailing characters: x"
        ],
    );
    let error = json::from_slice::<scheduler::Call>(b"{\"a\":\"\xff\"}").unwrap_err();
    assert!(matches!(error, wire::DecodeError::Syntax(_)), "{error}");
}

#[test]
fn what_is_json_but_no_object_is_said_to_be() {
    for text in ["[]", "1", r#""x""#, "null", "true"] {
        let error = json::from_slice::<scheduler::Call>(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "Failed to convert JSON into Call protobuf: Expecting a JSON object", "{text}");
    }
}

#[test]
fn white_space_around_the_object_is_of_no_account() {
    echo::<scheduler::Call>(" \r\n\t{ \"type\" : \"REVIVE\" } \n", &expect![[r#"{"type":"REVIVE"}"#]]);
}

#[test]
fn endless_nesting_is_refused_and_takes_no_stack() {
    for opening in ["[", r#"{"a":"#, r#"{"parent":"#] {
        let unknown = format!(r#"{{"unknown":{}"#, opening.repeat(100_000));
        let error = json::from_slice::<scheduler::Call>(unknown.as_bytes()).unwrap_err();
        assert!(matches!(error, wire::DecodeError::Syntax(_)), "{error}");
        assert!(error.to_string().contains("nesting deeper than 200 levels"), "{error}");
    }
    let parents = r#"{"value":"c","parent":"#.repeat(100_000);
    let error = json::from_slice::<v1::ContainerId>(parents.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("nesting deeper than 200 levels"), "{error}");
    let deepest = format!("{}{}", r#"{"unknown":["#.repeat(100), "]}".repeat(100));
    json::from_slice::<scheduler::Call>(deepest.as_bytes()).unwrap();
}

#[test]
fn many_empty_objects_do_not_grow_into_gigabytes() {
    let empty = vec!["{}"; 500_000].join(",");
    let call = format!(r#"{{"type":"ACCEPT","accept":{{"operations":[{empty}]}}}}"#);
    let error = json::from_slice::<scheduler::Call>(call.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("More objects than fit into 134217728 bytes for field 'accept.operations["),
        "{error}"
    );

    let task = r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},"command":{"value":"true"},"resources":[
        {"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]}"#;
    let tasks = vec![task; 20_000].join(",");
    let call = format!(
        r#"{{"type":"ACCEPT","accept":{{"operations":[{{"type":"LAUNCH","launch":{{"task_infos":[{tasks}]}}}}]}}}}"#
    );
    read::<scheduler::Call>(&call);
}

#[test]
fn many_empty_messages_in_protobuf_do_not_grow_into_gigabytes() {
    // Field 2 of ACCEPT is an operation; an empty one is two bytes.
    let accept = [0x12, 0x00].repeat(500_000);
    let mut call = vec![0x22];
    prost::encoding::encode_varint(accept.len() as u64, &mut call);
    call.extend(accept);
    let error = protobuf::decode::<scheduler::Call>(&call).unwrap_err().to_string();
    assert!(error.contains("more messages than fit into 134217728 bytes"), "{error}");
}

#[test]
fn endless_nesting_in_protobuf_is_refused_and_takes_no_stack() {
    // From the inside: field 1 is the value, field 2 the parent around which the next level grows.
    let mut body = b"\x0a\x01c".to_vec();
    for _ in 0..5_000 {
        let mut outer = b"\x0a\x01c\x12".to_vec();
        prost::encoding::encode_varint(body.len() as u64, &mut outer);
        outer.extend_from_slice(&body);
        body = outer;
    }
    let error = protobuf::decode::<v1::ContainerId>(&body).unwrap_err();
    assert!(matches!(error, wire::DecodeError::Protobuf { .. }), "{error}");
}

// --- protobuf -------------------------------------------------------------------------------------------------

#[test]
fn odd_field_numbers_are_kept() {
    let data = executor::call::Message { data: Bytes::from_static(b"x") };
    assert_eq!(data.encode_to_vec(), b"\x12\x01x");
    let check = v1::HealthCheck {
        http: Some(v1::health_check::HttpCheckInfo { port: 80, ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(check.encode_to_vec(), b"\x0a\x02\x08\x50");
    let text = v1::value::Text { value: "v".to_owned() };
    let attribute = v1::Attribute { name: "n".to_owned(), r#type: 3, text: Some(text), ..Default::default() };
    assert_eq!(attribute.encode_to_vec(), b"\x0a\x01n\x10\x03\x2a\x03\x0a\x01v");
    let set = v1::value::Set { item: vec!["i".to_owned()] };
    let resource = v1::Resource { name: "n".to_owned(), r#type: 2, set: Some(set), ..Default::default() };
    assert_eq!(resource.encode_to_vec(), b"\x0a\x01n\x10\x02\x2a\x03\x0a\x01i");
    assert_eq!((v1::TaskState::TaskStarting as i32, v1::TaskState::TaskStaging as i32), (0, 6));
}

#[test]
fn enums_that_begin_at_one_have_their_first_value_as_default() {
    let defaults = [
        v1::machine_info::Mode::default() as i32,
        v1::volume::Mode::default() as i32,
        v1::container_info::Type::default() as i32,
        v1::image::Type::default() as i32,
        v1::network_info::Protocol::default() as i32,
        v1::container_info::docker_info::Network::default() as i32,
        wire::allocator::inverse_offer_status::Status::default() as i32,
    ];
    assert_eq!(defaults, [1; 7]);
    assert_eq!(
        v1::container_info::DockerInfo::default().network(),
        v1::container_info::docker_info::Network::Host
    );
}

#[test]
fn protobuf_without_required_fields_is_refused_with_their_paths() {
    let mut told = String::new();
    let mut refuse = |body: &[u8]| {
        let error = protobuf::decode::<scheduler::Call>(body).unwrap_err();
        writeln!(told, "{error}").unwrap();
    };
    // subscribe { framework_info { name: "x" } }
    refuse(b"\x1a\x05\x0a\x03\x12\x01x");
    // accept { offer_ids { value: "O" } offer_ids {} }
    refuse(b"\x22\x07\x0a\x03\x0a\x01O\x0a\x00");
    // accept { operations { launch { task_infos { limits { key: "cpus" value {} } } } } }
    refuse(b"\x22\x11\x12\x0f\x12\x0d\x0a\x0b\x7a\x09\x0a\x04cpus\x12\x00\x22"[..19].as_ref());
    refuse(b"\xff");
    expect![[r#"
        Failed to parse body into Call protobuf: Missing required fields: subscribe.framework_info.user
        Failed to parse body into Call protobuf: Missing required fields: accept.offer_ids[1].value
        Failed to parse body into Call protobuf: failed to decode Protobuf message: TaskInfo.limits: Launch.task_infos: Operation.launch: Accept.operations: Call.accept: invalid varint
        Failed to parse body into Call protobuf: failed to decode Protobuf message: invalid varint
    "#]].assert_eq(&told);
}

#[test]
fn a_required_enum_with_a_number_nobody_knows_counts_as_missing() {
    let status = v1::TaskStatus { task_id: task_id("t"), state: 4711, ..Default::default() };
    let error = protobuf::decode::<v1::TaskStatus>(&status.encode_to_vec()).unwrap_err();
    expect!["Failed to parse body into TaskStatus protobuf: Missing required fields: state"]
        .assert_eq(&error.to_string());
}

#[test]
fn unknown_fields_of_protobuf_are_passed_over() {
    let mut body = scheduler::Call { r#type: Some(5), ..Default::default() }.encode_to_vec();
    body.extend_from_slice(b"\xca\x3e\x03abc");
    let call = protobuf::decode::<scheduler::Call>(&body).unwrap();
    assert_eq!(call.r#type(), scheduler::call::Type::Revive);
}
