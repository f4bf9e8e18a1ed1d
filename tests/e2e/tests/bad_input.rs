//! Bad input on every public edge: a clear refusal, nothing half done, memory flat.

use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::process::{Process, resident, stoa};
use e2e::wait::{check, until};
use e2e::{ports, tasks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a process may grow by over a whole storm of bad requests.
const GROWTH: u64 = 96 << 20;

async fn post(cluster: &Cluster, address: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, String) {
    let url = format!("http://{address}{path}");
    let request = cluster.http.post(&url).header("Content-Type", kind).body(body);
    match request.send().await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
        // A server may answer and close before it has read a body that is too large.
        Err(error) => (413, format!("{error:?}")),
    }
}

fn nested(depth: usize) -> Vec<u8> {
    let mut text = "{\"a\":".repeat(depth).into_bytes();
    text.extend_from_slice(b"1");
    text.extend(std::iter::repeat_n(b'}', depth));
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_bad_requests_changes_nothing() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: false }).await;
    let master = cluster.master_addresses[0].clone();
    let marathon = cluster.marathon_addresses[0].clone();
    let pids = [cluster.masters[0].pid(), cluster.marathons[0].pid()];
    let before = pids.map(resident);

    for _ in 0..20 {
        for (path, address) in [("/api/v1/scheduler", &master), ("/api/v1", &master), ("/v2/apps", &marathon)]
        {
            for body in [b"{".to_vec(), b"[]".to_vec(), b"".to_vec(), b"nul".to_vec(), nested(100_000)] {
                let (status, text) = post(&cluster, address, path, "application/json", body.clone()).await;
                let start = String::from_utf8_lossy(&body[..body.len().min(10)]).into_owned();
                assert!([400, 422].contains(&status), "{path} {start}: {status} {text}");
                assert!(!text.trim().is_empty(), "{path} {start}: {status} without a word");
            }
        }
    }
    let large = vec![b' '; 64 << 20];
    for (path, address) in [("/api/v1/scheduler", &master), ("/v2/apps", &marathon)] {
        let (status, text) = post(&cluster, address, path, "application/json", large.clone()).await;
        assert_eq!(status, 413, "{path}: {text}");
    }
    for target in [
        "/%",
        "/%0",
        "/%zz",
        "/%00",
        "/v2/apps/..%2f..%2fetc",
        "/files/read?path=../../etc/passwd",
        "/..",
        "*",
    ] {
        for address in [&master, &marathon] {
            let status = raw_status(address, target).await;
            assert!((400..500).contains(&status), "{target} at {address}: {status}");
        }
    }
    for (pid, before) in pids.into_iter().zip(before) {
        let after = resident(pid);
        assert!(after < before + GROWTH, "process {pid} grew from {before} to {after} bytes");
    }
    assert_eq!(cluster.get("/v2/apps").await["apps"], json!([]));
}

/// The status of `GET target`, sent as it stands: a client library would mend it.
async fn raw_status(address: &str, target: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    // A request line that is no request line may be answered by closing the connection.
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(400)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_app_is_refused_by_field() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: false }).await;
    let good = json!({ "id": "/good", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16 });
    let cases: &[(&str, Value)] = &[
        ("cpus", json!({ "cpus": -1 })),
        ("cpus", json!({ "cpus": "many" })),
        ("mem", json!({ "mem": -5 })),
        ("instances", json!({ "instances": -1 })),
        ("instances", json!({ "instances": 1.5 })),
        ("id", json!({ "id": "/Bad_Name!" })),
        ("protocol", json!({ "healthChecks": [{ "protocol": "SMOKE" }] })),
        ("portDefinitions", json!({ "portDefinitions": [{ "port": 10100 }, { "port": 10100 }] })),
        ("portDefinitions", json!({ "portDefinitions": [{ "port": 70000 }] })),
        ("upgradeStrategy", json!({ "upgradeStrategy": { "minimumHealthCapacity": 1.5 } })),
    ];
    for (field, change) in cases {
        let mut app = good.clone();
        app.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let (status, body) = cluster.ask(reqwest::Method::POST, "/v2/apps", Some(&app)).await;
        assert!([400, 422].contains(&status), "{change}: {status} {body}");
        assert!(body.to_string().contains(field), "{change}: {body} does not name `{field}`");
    }
    // JSON has no NaN: it is text that does not parse.
    let address = &cluster.marathon_addresses[0];
    let text = br#"{"id":"/nan","cmd":"x","cpus":NaN}"#.to_vec();
    let (status, _) = post(&cluster, address, "/v2/apps", "application/json", text).await;
    assert_eq!(status, 400);
    assert_eq!(cluster.get("/v2/apps").await["apps"], json!([]), "something was half done");

    let (status, _) = cluster.ask(reqwest::Method::POST, "/v2/apps", Some(&good)).await;
    assert_eq!(status, 201);
    let (status, body) = cluster.ask(reqwest::Method::POST, "/v2/apps", Some(&good)).await;
    assert_eq!(status, 409, "{body}");
    cluster.get("/v2/apps/good").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_climbs_out_starts_nothing() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: false }).await;
    let archive = cluster.folder().join("climb.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive).expect("a file"));
    zip.start_file("../../climbed", zip::write::SimpleFileOptions::default()).expect("an entry");
    std::io::Write::write_all(&mut zip, b"out").expect("written");
    zip.finish().expect("an archive");

    let uri = format!("file://{}", archive.display());
    let app = json!({ "id": "/climb", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "fetch": [{ "uri": uri }] });
    let (status, body) = cluster.ask(reqwest::Method::POST, "/v2/apps", Some(&app)).await;
    assert_eq!(status, 201, "{body}");
    until("the failure says why", Duration::from_secs(30), async || {
        let failure = cluster.get("/v2/apps/climb").await["app"]["lastTaskFailure"].clone();
        let message = failure["message"].as_str().unwrap_or_default();
        check(message.contains("../../climbed"), || failure.to_string())
    })
    .await;
    assert!(tasks::by_task(cluster.folder()).is_empty());
    let escaped = walk(cluster.folder()).into_iter().find(|path| path.ends_with("climbed"));
    assert_eq!(escaped, None);
    cluster.ask(reqwest::Method::DELETE, "/v2/apps/climb?force=true", None).await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn wrong_usage_starts_nothing_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, "listen = '127.0.0.1:1'\nlisten_on = 'x'\n").expect("written");
    let data = folder.path().join("data");
    let cases: &[(&[&str], &str)] = &[
        (&["master", "--colour"], "--colour"),
        (&["agent", "--config", file.to_str().expect("text")], "listen_on"),
        (&["master", "--listen", "nowhere"], "--listen"),
        (&["agent", "--resources", "cpus:-1"], "cpus"),
        (&["agent", "--resources", "cpus:nan"], "cpus"),
        (&["agent", "--resources", "ports:[5-1]"], "ports"),
    ];
    for (arguments, named) in cases {
        let output = std::process::Command::new(stoa())
            .args(*arguments)
            .args(if arguments.contains(&"--colour") {
                vec![]
            } else {
                vec!["--data-dir", data.to_str().expect("text")]
            })
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?}: {text}");
        assert!(!data.exists(), "{arguments:?} wrote something");
    }
}

#[test]
fn a_second_process_on_a_data_directory_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for role in ["master", "agent"] {
        let data = folder.path().join(role);
        let arguments = |port: u16| {
            vec![
                role.to_owned(),
                format!("--listen=127.0.0.1:{port}"),
                format!("--data-dir={}", data.display()),
            ]
        };
        let first_port = ports::free();
        let first = Process::start(folder.path(), &format!("{role}-first"), arguments(first_port));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", first_port)).is_err() {
            assert!(std::time::Instant::now() < deadline, "{}", first.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut second = Process::start(folder.path(), &format!("{role}-second"), arguments(ports::free()));
        let status = second.wait_exit(Duration::from_secs(30));
        assert_eq!(status.code(), Some(2), "{}", second.log_tail());
        assert!(second.log_text().contains(&data.display().to_string()), "{}", second.log_tail());
    }
}
