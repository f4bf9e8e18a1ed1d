//! The agent against a master on a real socket, with containers that are entries of a table.

mod support;

use std::io::Write;

use agent::{Containers, Error, Process};
use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox::ExitStatus;
use sandbox::fake::{Fake, Script};
use support::{Master, call, config, get, http, soon, task};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::link::{self, to_agent, to_master};
use wire::v1::TaskState;

struct Agent {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), Error>>,
}

impl Agent {
    async fn start(masters: Vec<String>, data: &TempDir, fake: Fake) -> Self {
        let config = agent::Config { masters, ..config(String::new(), data.path()) };
        Self::with(config, fake).await
    }

    async fn with(config: agent::Config, fake: Fake) -> Self {
        let process = Process::prepare(config, Containers::Given(Box::new(fake))).await.expect("prepared");
        let address = process.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(process.run(async move {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), running }
    }

    async fn stop(mut self) -> Result<(), Error> {
        drop(self.stop.take());
        soon("the end", self.running).await.expect("no panic")
    }
}

fn short() -> Fake {
    Fake::new(|spec| match &spec.command {
        sandbox::Command::Shell(text) if text == "true" => Script::Ends(ExitStatus::Code(0)),
        _ => Script::Runs,
    })
}

#[tokio::test]
async fn a_task_runs_and_every_status_is_sent_in_order() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut link, hello) = master.welcome().await;
    assert_eq!((hello.agent_id, hello.info.hostname.as_str()), (None, "node-1"));
    assert_eq!(hello.info.port, Some(i32::from(agent.address.port())));
    link.run(task("t", "true")).await;
    for state in [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished] {
        let status = link.status().await;
        assert_eq!(status.state(), state);
        assert_eq!(status.agent_id.as_ref().map(|id| id.value.as_str()), Some("agent-1"));
        assert_eq!(status.executor_id.as_ref().map(|id| id.value.as_str()), Some("t"));
        assert_eq!(status.uuid.as_ref().map(|uuid| uuid.len()), Some(16));
        link.acknowledge(&status).await;
    }
    agent.stop().await.expect("an orderly end");
    assert!(matches!(link.next().await, to_master::Frame::Goodbye(bye) if !bye.tasks_killed));
    assert!(link.try_next().await.is_none());
}

#[tokio::test]
async fn a_redirect_and_an_unready_master_lead_to_the_leader() {
    let (follower, leader, data) = (Master::start().await, Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![follower.name()], &data, short()).await;
    follower.answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let location = format!("//{}/internal/link", leader.name());
    follower
        .answer(&format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
    let (mut link, _) = leader.link().await;
    // It was, a moment ago.
    link.send(to_agent::Frame::Refused(link::Refused {
        reason: link::refused::Reason::NotLeader as i32,
        leader: Some(follower.name()),
        ..Default::default()
    }))
    .await;
    follower.welcome().await;
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_leader_of_the_past_is_told_and_left() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut link, _) = master.link().await;
    link.term = 7;
    link.welcome().await;
    link.term = 6;
    link.run(task("t", "true")).await;
    assert!(matches!(link.next().await, to_master::Frame::Fenced(fenced) if fenced.highest_term == 7));
    assert!(link.try_next().await.is_none());
    let (_link, hello) = master.link().await;
    assert_eq!((hello.highest_term, hello.tasks.len()), (7, 0));
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn garbage_ends_the_link_and_not_the_agent() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    for garbage in [&b"not a record"[..], b"3\n\xff\xff\xff", b"99999999999999999999\n", b"2\n\x08\x01"] {
        let (mut link, _) = master.welcome().await;
        link.raw(garbage).await;
        while link.try_next().await.is_some() {}
    }
    assert_eq!(get(agent.address, "/health").await, (200, String::new()));
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_master_that_never_reads_loses_its_link() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut silent, _) = master.welcome().await;
    // Each ping is answered, and nobody takes the answers.
    let pinging = tokio::spawn(async move {
        for sequence in 0.. {
            let ping = to_agent::Frame::Ping(link::Ping { sequence });
            if silent.try_send(ping).await.is_err() {
                return;
            }
        }
    });
    let (_link, _) = master.link().await;
    soon("the end of the silent link", pinging).await.expect("no panic");
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_restart_sends_what_was_not_acknowledged() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut link, _) = master.welcome().await;
    link.run(task("t", "true")).await;
    let first = link.status().await;
    // No goodbye: as if it had been killed.
    agent.running.abort();
    while link.try_next().await.is_some() {}
    let agent = soon("the release of the directory", async {
        loop {
            let config = config(master.name(), data.path());
            match Process::prepare(config, Containers::Given(Box::new(short()))).await {
                Ok(process) => return process,
                Err(Error::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    let running = tokio::spawn(agent.run(std::future::pending()));
    let (mut link, hello) = master.welcome().await;
    assert_eq!(hello.agent_id.map(|id| id.value).as_deref(), Some("agent-1"));
    assert_eq!(hello.tasks.len(), 1);
    let again = link.status().await;
    assert_eq!(again.uuid, first.uuid);
    running.abort();
}

#[tokio::test]
async fn gone_and_invalid_agents_end_with_the_reason() {
    for reason in [link::refused::Reason::Gone, link::refused::Reason::Invalid] {
        let (master, data) = (Master::start().await, TempDir::new().unwrap());
        let agent = Agent::start(vec![master.name()], &data, short()).await;
        let (mut link, _) = master.link().await;
        let message = Some("because".to_owned());
        link.send(to_agent::Frame::Refused(link::Refused {
            reason: reason as i32,
            message,
            ..Default::default()
        }))
        .await;
        let error = soon("the end", agent.running).await.expect("no panic").expect_err("refused");
        assert!(error.to_string().contains("because") && !error.is_refusal(), "{error}");
    }
}

#[tokio::test]
async fn a_second_agent_on_the_same_data_is_refused() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let second =
        Process::prepare(config(master.name(), data.path()), Containers::Given(Box::new(short()))).await;
    let error = second.map(|_| ()).expect_err("refused");
    assert!(matches!(error, Error::Locked { .. }) && error.is_refusal());
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn tasks_go_along_when_they_shall() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let config = agent::Config { kill_tasks_on_exit: true, ..config(master.name(), data.path()) };
    let agent = Agent::with(config, short()).await;
    let (mut link, _) = master.welcome().await;
    link.run(task("t", "sleep 1000")).await;
    link.until(TaskState::TaskRunning).await;
    let stopping = tokio::spawn(agent.stop());
    link.until(TaskState::TaskKilled).await;
    assert!(matches!(link.next().await, to_master::Frame::Goodbye(bye) if bye.tasks_killed));
    stopping.await.unwrap().expect("an orderly end");
}

#[tokio::test]
async fn readers_see_tasks_metrics_and_clear_refusals() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut link, _) = master.welcome().await;
    link.run(task("runs", "sleep 1000")).await;
    link.until(TaskState::TaskRunning).await;
    link.run(task("ended", "true")).await;
    link.until(TaskState::TaskFinished).await;
    let at = agent.address;
    // The acknowledgement is on its way to the agent.
    let (_, tasks) = soon("the acknowledgement", async {
        loop {
            let answer = call(at, r#"{"type":"GET_TASKS"}"#).await;
            if answer.1["get_tasks"]["completed_tasks"].as_array().is_some_and(|all| all.len() == 1) {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(tasks["get_tasks"]["launched_tasks"][0]["task_id"]["value"], "runs");
    assert_eq!(tasks["get_tasks"]["launched_tasks"][0]["state"], "TASK_RUNNING");
    assert_eq!(tasks["get_tasks"]["pending_tasks"], serde_json::json!([]));
    let (status, state) = get(at, "/slave(1)/state").await;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!((status, state["id"].as_str()), (200, Some("agent-1")));
    assert_eq!(state["attributes"]["rack"], "a");
    assert_eq!(state["frameworks"][0]["executors"][0]["tasks"][0]["id"], "runs");
    assert_eq!(
        state["frameworks"][0]["completed_executors"][0]["completed_tasks"][0]["state"],
        "TASK_FINISHED"
    );
    for (call_type, member) in [
        ("GET_HEALTH", "get_health"),
        ("GET_VERSION", "get_version"),
        ("GET_FLAGS", "get_flags"),
        ("GET_METRICS", "get_metrics"),
        ("GET_STATE", "get_state"),
        ("GET_EXECUTORS", "get_executors"),
        ("GET_FRAMEWORKS", "get_frameworks"),
        ("GET_CONTAINERS", "get_containers"),
        ("GET_AGENT", "get_agent"),
    ] {
        let (status, answer) = call(at, &format!(r#"{{"type":"{call_type}"}}"#)).await;
        assert_eq!((status, &answer["type"]), (200, &call_type.into()), "{answer}");
        assert!(answer[member].is_object(), "{answer}");
    }
    for path in [
        "/version",
        "/flags",
        "/metrics/snapshot",
        "/containers",
        "/monitor/statistics",
        "/system/stats.json",
        "/files/debug",
    ] {
        let (status, body) = get(at, path).await;
        assert!(
            status == 200 && serde_json::from_str::<serde_json::Value>(&body).is_ok(),
            "{path}: {status} {body}"
        );
    }
    let (_, text) = get(at, "/metrics").await;
    assert!(
        text.contains("stoa_agent_tasks_running 1\n") && text.contains("stoa_agent_registered 1\n"),
        "{text}"
    );
    let json = "Content-Type: application/json\r\n";
    for (method, path, headers, body, expected, text) in [
        ("GET", "/no/such", "", "", 404, "404 Not Found."),
        (
            "PUT",
            "/state",
            "",
            "",
            405,
            "405 Method Not Allowed. Expecting one of { 'GET' }, but received 'PUT'.",
        ),
        (
            "GET",
            "/api/v1",
            "",
            "",
            405,
            "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.",
        ),
        ("POST", "/api/v1", "", "{}", 400, "Expecting 'Content-Type' to be present"),
        (
            "POST",
            "/api/v1",
            "Content-Type: text/plain\r\n",
            "{}",
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        ),
        (
            "POST",
            "/api/v1",
            json,
            "{}",
            400,
            "Failed to validate agent::Call: Expecting 'type' to be present",
        ),
        (
            "POST",
            "/api/v1",
            json,
            r#"{"type":"READ_FILE"}"#,
            400,
            "Failed to validate agent::Call: Expecting 'read_file' to be present",
        ),
        (
            "POST",
            "/api/v1",
            json,
            r#"{"type":"PRUNE_IMAGES"}"#,
            501,
            "This agent does not answer PRUNE_IMAGES",
        ),
        (
            "POST",
            "/api/v1",
            "Content-Type: application/json\r\nAccept: application/recordio\r\n",
            r#"{"type":"LAUNCH_NESTED_CONTAINER_SESSION"}"#,
            501,
            "This agent does not answer LAUNCH_NESTED_CONTAINER_SESSION",
        ),
        ("GET", "/files/read", "", "", 400, "Expecting 'path=value' in query."),
    ] {
        let (status, _, answer) = http(at, method, path, headers, body).await;
        assert_eq!((status, answer.as_str()), (expected, text), "{method} {path} {body}");
    }
    let (status, _, answer) = http(at, "POST", "/api/v1", json, "{").await;
    assert!(status == 400 && answer.starts_with("Failed to parse body into JSON: "), "{answer}");
    agent.stop().await.expect("an orderly end");
}

/// A call of the executor API in JSON: status and body.
async fn executor_call(address: std::net::SocketAddr, body: &str) -> (u16, String) {
    let headers = "Content-Type: application/json\r\nAccept: application/json\r\n";
    let (status, _, body) = http(address, "POST", "/api/v1/executor", headers, body).await;
    (status, body)
}

#[tokio::test]
async fn connections_of_readers_are_counted_and_their_heads_bounded() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (_link, _) = master.welcome().await;
    let (status, page) = get(agent.address, "/metrics").await;
    assert_eq!(status, 200);
    for line in ["stoa_agent_http_connections 1\n", "stoa_agent_http_connections_full_total 0\n"] {
        assert!(page.contains(line), "{line} in {page}");
    }
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(http(agent.address, "GET", "/health", &many, "").await.0, 431);
    assert_eq!(get(agent.address, "/health").await.0, 200);
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn an_agent_says_who_it_is_and_asks_who_comes() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let parse = |text: &str| text.parse::<front::credential::Credential>().unwrap();
    let config = agent::Config {
        credential: Some(parse("node:no-pw")),
        guard: Some(front::guard::Guard::of_one(parse("ops:op-pw"))),
        ..config(master.name(), data.path())
    };
    let starting = tokio::spawn(Agent::with(config, short()));
    let head = master.refuse("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    assert!(head.to_lowercase().contains("authorization: basic bm9kztpuby1wdw==\r\n"), "{head}");
    let agent = starting.await.unwrap();
    let (_link, _) = master.welcome().await;
    assert_eq!(get(agent.address, "/health").await.0, 200);
    for (path, realm) in
        [("/state", "readonly"), ("/files/browse?path=/", "readonly"), ("/api/v1", "readwrite")]
    {
        let (status, head, body) = http(agent.address, "GET", path, "", "").await;
        assert_eq!((status, body.as_str()), (401, "401 Unauthorized."), "{path}");
        assert!(head.to_lowercase().contains(&format!("realm=\"mesos-agent-{realm}\"")), "{head}");
        let wrong = http(agent.address, "GET", path, "Authorization: Basic b3BzOm9wLXB3eA==\r\n", "").await;
        assert_eq!(wrong.0, 401, "{path}");
    }
    let right = http(agent.address, "GET", "/state", "Authorization: Basic b3BzOm9wLXB3\r\n", "").await;
    assert_eq!(right.0, 200);
    assert_ne!(executor_call(agent.address, "{}").await.0, 401, "executors have no credentials");
    agent.stop().await.expect("an orderly end");
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn bodies_may_be_packed_and_are_bounded_when_unpacked() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (_link, _) = master.welcome().await;
    let post = async |path: &str, encoding: &str, body: &[u8]| {
        let headers = format!("Content-Type: application/json\r\nContent-Encoding: {encoding}\r\n");
        let (status, _, answer) = http(agent.address, "POST", path, &headers, body).await;
        (status, answer)
    };
    let plain = br#"{"type":"GET_HEALTH"}"#;
    for (encoding, body) in [("gzip", packed(plain)), ("GZIP", packed(plain)), ("identity", plain.to_vec())] {
        let (status, answer) = post("/api/v1", encoding, &body).await;
        assert!(status == 200 && answer.contains("GET_HEALTH"), "{encoding}: {status} {answer}");
    }
    let bomb = packed(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    for path in ["/api/v1", "/api/v1/executor"] {
        let limit = model::limits::BODY_BYTES;
        let large = (413, format!("The body is larger than {limit} bytes"));
        assert_eq!(post(path, "gzip", &bomb).await, large, "{path}");
        assert_eq!(post(path, "gzip", b"not packed").await.0, 400, "{path}");
        let unknown = (415, "Expecting 'Content-Encoding' of gzip or identity".to_owned());
        assert_eq!(post(path, "br", plain).await, unknown, "{path}");
    }
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn calls_of_executors_are_refused_in_the_words_clients_know() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut link, _) = master.welcome().await;
    let mut hosted = task("t", "");
    let command = wire::v1::CommandInfo { value: Some("./executor".into()), ..Default::default() };
    hosted.command = None;
    hosted.executor = Some(wire::v1::ExecutorInfo {
        r#type: Some(wire::v1::executor_info::Type::Custom as i32),
        executor_id: wire::v1::ExecutorId { value: "ex".into() },
        command: Some(command),
        ..Default::default()
    });
    link.run(hosted).await;
    // The order was carried out when the answer to the ping behind it is here.
    link.send(to_agent::Frame::Ping(link::Ping { sequence: 1 })).await;
    while !matches!(link.next().await, to_master::Frame::Pong(_)) {}
    let ids = r#""framework_id":{"value":"fw"},"executor_id":{"value":"ex"}"#;
    let update = |status: &str| {
        format!(r#"{{"type":"UPDATE",{ids},"update":{{"status":{{"task_id":{{"value":"t"}},{status}}}}}}}"#)
    };
    let uuid = r#""uuid":"L+2m6SBrSqaYY4C44uzflA==""#;
    let cases = [
        (format!("{{{ids}}}"), 400, "Failed to validate Executor::Call: Expecting 'type' to be present"),
        (
            r#"{"type":"SUBSCRIBE","framework_id":{"value":"x"},"executor_id":{"value":"y"},"subscribe":{}}"#.into(),
            400,
            "Framework cannot be found",
        ),
        (
            r#"{"type":"SUBSCRIBE","framework_id":{"value":"fw"},"executor_id":{"value":"y"},"subscribe":{}}"#.into(),
            400,
            "Executor cannot be found",
        ),
        (
            update(r#""state":"TASK_RUNNING","source":"SOURCE_EXECUTOR""#),
            400,
            "Failed to validate Executor::Call: Expecting 'uuid' to be present",
        ),
        (
            update(&format!(r#""state":"TASK_RUNNING","source":"SOURCE_MASTER",{uuid}"#)),
            400,
            "Failed to validate Executor::Call: Received Call from executor ex of framework fw with invalid source, expecting 'SOURCE_EXECUTOR'",
        ),
        (
            update(&format!(r#""state":"TASK_STAGING","source":"SOURCE_EXECUTOR",{uuid}"#)),
            400,
            "Failed to validate Executor::Call: Received TASK_STAGING from executor ex of framework fw which is not allowed",
        ),
        (
            update(&format!(r#""state":"TASK_RUNNING","source":"SOURCE_EXECUTOR",{uuid}"#)),
            403,
            "Executor is not subscribed",
        ),
        (format!(r#"{{"type":"HEARTBEAT",{ids}}}"#), 202, ""),
    ];
    // As long as may be in whole groups of base64, and one group longer.
    let limit = model::limits::EXECUTOR_DATA_BYTES;
    let fits = limit / 3 * 3;
    let data = |bytes: usize| format!(r#""data":"{}""#, "A".repeat(bytes / 3 * 4));
    let message = |bytes| format!(r#"{{"type":"MESSAGE",{ids},"message":{{{}}}}}"#, data(bytes));
    assert_eq!(executor_call(agent.address, &message(fits)).await.0, 403, "it is not subscribed");
    let (status, said) = executor_call(agent.address, &message(fits + 3)).await;
    let rule = format!("'message.data' has {} bytes, at most {limit} are allowed", fits + 3);
    assert_eq!((status, said), (413, format!("Failed to validate Executor::Call: {rule}")));
    let running = format!(r#""state":"TASK_RUNNING","source":"SOURCE_EXECUTOR",{uuid},{}"#, data(fits));
    let (status, said) = executor_call(agent.address, &update(&running)).await;
    let rule = format!(" bytes, at most {limit} are allowed");
    assert!(status == 413 && said.contains("'status' has ") && said.ends_with(&rule), "{said}");
    for (body, status, text) in cases {
        assert_eq!(executor_call(agent.address, &body).await, (status, text.to_owned()), "{body}");
    }
    let (status, _, _) = http(agent.address, "GET", "/api/v1/executor", "", "").await;
    assert_eq!(status, 405);
    let (status, executors) = call(agent.address, r#"{"type":"GET_EXECUTORS"}"#).await;
    let id = &executors["get_executors"]["executors"][0]["executor_info"]["executor_id"]["value"];
    assert_eq!((status, id.as_str()), (200, Some("ex")));
    let (_, state) = get(agent.address, "/state").await;
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!(
        (executor["id"].as_str(), executor["queued_tasks"][0]["id"].as_str()),
        (Some("ex"), Some("t"))
    );
    assert_eq!(
        (&executor["queued_tasks"][0]["executor_id"], &executor["type"]),
        (&"ex".into(), &"CUSTOM".into())
    );
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn operators_read_the_agents_log_and_ask_it_for_more() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let file = data.path().join("agent.log");
    std::fs::write(&file, "first line\nsecond line\n").unwrap();
    let (levels, seen) = std::sync::mpsc::channel();
    let logs = agent::Logs {
        file: Some(file.clone()),
        set_level: std::sync::Arc::new(move |level| levels.send(level).unwrap_or_default()),
    };
    let agent = Agent::with(
        agent::Config { logs: Some(logs), ..config(master.name(), &data.path().join("work")) },
        short(),
    )
    .await;
    master.welcome().await;
    let at = agent.address;

    let (_, debug) = get(at, "/files/debug").await;
    assert!(debug.contains(&format!(r#""/slave/log":"{}""#, file.display())), "{debug}");
    let (_, browsed) = get(at, "/files/browse?path=/slave/log").await;
    let browsed: serde_json::Value = serde_json::from_str(&browsed).unwrap();
    assert_eq!((&browsed[0]["path"], &browsed[0]["size"]), (&"/slave/log".into(), &23.into()));
    let (_, part) = get(at, "/files/read?path=/slave/log&offset=6&length=4").await;
    assert_eq!(part, r#"{"data":"line","offset":6}"#);
    assert_eq!(get(at, "/files/download?path=/slave/log").await, (200, "first line\nsecond line\n".into()));
    for path in ["/slave", "/slave/log/../log", "/slave/log.1"] {
        assert_eq!(get(at, &format!("/files/read?path={path}&offset=0")).await.0, 404, "{path}");
    }
    let (_, read) =
        call(at, r#"{"type":"READ_FILE","read_file":{"path":"/slave/log","offset":0,"length":5}}"#).await;
    assert_eq!(read["read_file"], serde_json::json!({ "size": 23, "data": "Zmlyc3Q=" }));
    let (_, listed) = call(at, r#"{"type":"LIST_FILES","list_files":{"path":"/slave/log"}}"#).await;
    assert_eq!(listed["list_files"]["file_infos"][0]["size"], 23);

    let level = r#"{"type":"GET_LOGGING_LEVEL"}"#;
    assert_eq!(call(at, level).await.1["get_logging_level"]["level"], 0);
    let set = r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":2,"duration":{"nanoseconds":600000000000}}}"#;
    assert_eq!(call(at, set).await, (200, "".into()));
    assert_eq!(get(at, "/slave(1)/logging/toggle").await, (200, "2\n".into()));
    assert_eq!(get(at, "/logging/toggle?level=1&duration=1ms").await.0, 200);
    soon("the usual level", async {
        while get(at, "/logging/toggle").await.1 != "0\n" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(seen.try_iter().collect::<Vec<u32>>(), [2, 1, 0]);
    for bad in ["?level=1", "?duration=1secs", "?level=1&duration=soon", "?level=-1&duration=1secs"] {
        assert_eq!(get(at, &format!("/logging/toggle{bad}")).await.0, 400, "{bad}");
    }
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_log_that_is_kept_to_itself_is_neither_read_nor_changed() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    master.welcome().await;
    let set = r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":1}}}"#;
    assert_eq!(call(agent.address, set).await.0, 501);
    assert_eq!(get(agent.address, "/files/read?path=/slave/log").await.0, 404);
    agent.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn readers_hear_of_a_drain_and_of_frameworks_that_were_here() {
    let (master, data) = (Master::start().await, TempDir::new().unwrap());
    let agent = Agent::start(vec![master.name()], &data, short()).await;
    let (mut link, _) = master.welcome().await;
    let config = wire::v1::DrainConfig {
        max_grace_period: Some(wire::v1::DurationInfo { nanoseconds: 5_000_000_000 }),
        mark_gone: Some(true),
    };
    let update = link::DrainUpdate { config: Some(config), since: Some(1_700_000_001_999) };
    link.send(to_agent::Frame::Drain(update)).await;
    link.run(task("t", "true")).await;
    for _ in 0..3 {
        let status = link.status().await;
        link.acknowledge(&status).await;
    }
    // The answer to a ping comes after all that.
    link.send(to_agent::Frame::Ping(link::Ping { sequence: 1 })).await;
    assert!(matches!(link.next().await, to_master::Frame::Pong(_)));
    let (_, told) = call(agent.address, r#"{"type":"GET_AGENT"}"#).await;
    let config =
        serde_json::json!({ "max_grace_period": { "nanoseconds": 5_000_000_000_u64 }, "mark_gone": true });
    assert_eq!(told["get_agent"]["drain_config"], config);
    let since = &told["get_agent"]["estimated_drain_start_time"]["nanoseconds"];
    assert_eq!(*since, 1_700_000_001_000_000_000_u64);
    let (_, told) = call(agent.address, r#"{"type":"GET_FRAMEWORKS"}"#).await;
    let frameworks = &told["get_frameworks"];
    assert_eq!(frameworks["completed_frameworks"][0]["framework_info"]["id"]["value"], "fw", "{frameworks}");
    let state: serde_json::Value = serde_json::from_str(&get(agent.address, "/state").await.1).unwrap();
    assert_eq!(state["drain_config"], config);
    assert_eq!(state["estimated_drain_start_time_seconds"], 1_700_000_001);
    assert_eq!(state["frameworks"], serde_json::json!([]));
    let ended = &state["completed_frameworks"][0];
    assert_eq!(
        (&ended["id"], &ended["completed_executors"][0]["id"]),
        (&"fw".into(), &"t".into()),
        "{ended}"
    );
    let metrics: serde_json::Value =
        serde_json::from_str(&get(agent.address, "/metrics/snapshot").await.1).unwrap();
    for (name, value) in [
        ("slave/executors_running", 0.0),
        ("slave/executors_terminated", 1.0),
        ("slave/tasks_gone", 0.0),
        ("slave/recovery_errors", 0.0),
        ("slave/valid_framework_messages", 0.0),
        ("slave/invalid_framework_messages", 0.0),
        ("slave/invalid_status_updates", 0.0),
    ] {
        assert_eq!(metrics[name], value, "{name}");
    }
    assert!(metrics["slave/recovery_time_secs"].is_f64(), "{metrics}");
    agent.stop().await.expect("an orderly end");
}
