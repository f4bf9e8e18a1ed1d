//! Python: `chronos-python`, and the two programs that come with it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::client::Client;
use conformance::install;
use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, Shape};
use serde_json::{Value, json};

const SHAPE: Shape = Shape { masters: 1, agents: 1, marathons: 0, haproxy: false };
const PATIENCE: Duration = Duration::from_secs(60);

/// The library's client, called by name.
struct Chronos(Client);

impl Chronos {
    /// `version`: of the API; absent, the client speaks as to Chronos 2.
    fn start(python: &Path, servers: &str, version: Option<&str>) -> Self {
        let mut command = install::chronos_python_client(python);
        command.arg(servers).args(version);
        Self(Client::start(command))
    }

    fn outcome(&mut self, method: &str, arguments: Value, named: Value) -> Value {
        self.0.give("call", json!({"method": method, "arguments": arguments, "named": named}));
        self.0.wait(method, |seen| {
            (seen["saw"] == "answer" || seen["saw"] == "error") && seen["method"] == method
        })
    }

    fn call(&mut self, method: &str, arguments: Value) -> Value {
        let outcome = self.outcome(method, arguments, json!({}));
        assert_eq!(outcome["saw"], "answer", "{outcome}\n{}", self.0.tail());
        outcome["answer"].clone()
    }

    /// The kind of error that the library raises.
    fn refused(&mut self, method: &str, arguments: Value) -> String {
        let outcome = self.outcome(method, arguments, json!({}));
        assert_eq!(outcome["saw"], "error", "{outcome}");
        outcome["kind"].as_str().expect("a kind").to_owned()
    }

    fn job(&mut self, name: &str) -> Value {
        let jobs = self.call("list", json!([]));
        let found = jobs.as_array().expect("a list").iter().find(|job| job["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {jobs}")).clone()
    }

    /// Asks again until it is so: the library has nothing to wait with.
    fn until(&mut self, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let job = self.job(name);
            if so(&job) {
                return job;
            }
            assert!(Instant::now() < deadline, "{name} is not {what}: {job}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn job(name: &str, schedule: &str) -> Value {
    json!({
        "name": name, "command": "echo done", "schedule": schedule, "owner": "owner@example.com",
        "disabled": false, "async": false, "epsilon": "PT15M", "cpus": 0.5, "mem": 32, "disk": 1,
        "environmentVariables": [{"name": "A", "value": "1"}], "constraints": [["rack", "EQUALS", "r0"]],
        "retries": 0, "description": "what it is for",
    })
}

fn dependent(name: &str, parent: &str) -> Value {
    let mut job = job(name, "");
    let fields = job.as_object_mut().expect("an object");
    fields.remove("schedule");
    fields.insert("parents".to_owned(), json!([parent]));
    job
}

/// Every method of the client, in both generations of the API, by way of an instance that does not lead.
#[tokio::test(flavor = "multi_thread")]
async fn chronos_python_does_all_it_can() {
    let cluster = Cluster::start(SHAPE).await;
    let mut schedulers = Schedulers::start(&cluster, 2, &[]);
    let leader = schedulers.leader(&cluster).await;
    let servers = format!("{},{}", schedulers.addresses[1 - leader], schedulers.addresses[leader]);
    let python = tokio::task::spawn_blocking(install::chronos_python).await.expect("installed");
    for version in [Some("v1"), None] {
        methods(&mut Chronos::start(&python, &servers, version));
    }
    programs(&python, &servers, cluster.folder());

    // The other one takes over; the client only has to know both.
    let mut client = Chronos::start(&python, &servers, Some("v1"));
    schedulers.processes[leader].kill();
    let deadline = Instant::now() + PATIENCE;
    while client.outcome("list", json!([]), json!({}))["answer"][0]["name"] != "synced" {
        assert!(Instant::now() < deadline, "the jobs are not there\n{}", client.0.tail());
    }
}

fn methods(client: &mut Chronos) {
    assert_eq!(client.call("list", json!([])), json!([]));
    let mut nightly = job("nightly", "R/2030-01-01T00:00:00Z/P1D");
    assert_eq!(client.call("add", json!([nightly])), Value::Null, "204 is all there is to say");
    client.call("add", json!([dependent("after", "nightly")]));
    client.call("add", json!([job("other", "R/2030-01-01T00:00:00Z/PT1H")]));

    nightly["cpus"] = json!(0.25);
    client.call("update", json!([nightly]));
    // Tools that compare a file with what a server has find what they sent.
    let stored = client.job("nightly");
    for (field, value) in nightly.as_object().expect("an object") {
        let equal = stored[field] == *value
            || field == "schedule" && stored[field] == "R/2030-01-01T00:00:00.000Z/P1D";
        assert!(equal, "{field}: {value} became {}", stored[field]);
    }
    assert_eq!(client.job("after")["parents"], json!(["nightly"]));
    refusals(client);

    let found = client.outcome("search", json!([]), json!({"name": "NIGHT"}));
    assert_eq!(found["answer"][0]["name"], "nightly", "{found}");
    let found = client.outcome("search", json!([]), json!({"command": "nowhere"}));
    assert_eq!(found["answer"], json!([]), "{found}");

    client.call("run", json!(["nightly"]));
    for name in ["nightly", "after"] {
        client.until(name, "run", |job| job["successCount"] == 1);
    }
    figures(client);

    let mut long = job("long", "R1/2030-01-01T00:00:00Z/P1D");
    long["command"] = json!("exec sleep 1000");
    client.call("add", json!([long]));
    client.call("run", json!(["long"]));
    client.until("long", "running", |job| job["state"] == "1 running");
    client.call("delete_tasks", json!(["long"]));
    client.until("long", "killed", |job| job["state"] == "idle");

    for name in ["after", "nightly", "other", "long"] {
        assert_eq!(client.call("delete", json!([name])), Value::Null);
    }
    assert_eq!(client.call("list", json!([])), json!([]));
    assert_eq!(client.refused("delete", json!(["nightly"])), "ChronosAPIError");
}

/// The library shows its users the first words of what the server says.
fn refusals(client: &mut Chronos) {
    let mut zone = job("zone", "R/2030-01-01T00:00:00Z/P1D");
    zone["scheduleTimeZone"] = json!("Atlantis/Capital");
    let bad = [
        (dependent("orphan", "nobody"), "parents name 'nobody', which is no job"),
        (dependent("nightly", "after"), "parents would make a cycle: nightly -> after -> nightly"),
        (job("short", "R/2030-01-01T00:00:00Z/PT0.1S"), "schedule"),
        (job("words", "every now and then"), "schedule"),
        (zone, "scheduleTimeZone"),
        (job("white space", "R1//PT1H"), "name 'white space' must be"),
    ];
    for (document, rule) in bad {
        assert_eq!(client.refused("add", json!([document])), "ChronosAPIError", "{document}");
        let said = client.0.seen().iter().rev().find(|seen| seen["saw"] == "logged").cloned();
        let said = said.expect("logged")["message"].as_str().expect("text").to_owned();
        assert!(said.contains(&format!(": {rule}")), "{rule} is not in {said}");
    }
    assert_eq!(client.refused("add", json!([{"name": "no-command"}])), "MissingFieldError");
}

fn figures(client: &mut Chronos) {
    let stat = client.call("job_stat", json!(["nightly"]));
    assert_eq!(stat["histogram"]["count"], 1, "{stat}");
    assert_eq!(stat["taskStatHistory"][0]["status"], "Success", "{stat}");
    let graph = client.call("scheduler_graph", json!([]));
    let lines: Vec<&str> = graph.as_str().expect("text").lines().collect();
    assert_eq!(
        lines,
        [
            "node,after,success,idle",
            "node,nightly,success,idle",
            "node,other,fresh,idle",
            "link,nightly,after"
        ]
    );
    for figure in ["99th", "98th", "95th", "75th", "median", "mean"] {
        let ranked = client.call(&format!("scheduler_stat_{figure}"), json!([]));
        let names: Vec<&str> = ranked
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|entry| entry["jobNameLabel"].as_str())
            .collect();
        assert_eq!(names.len(), 3, "{figure}: {ranked}");
        assert_eq!(names[2], "other", "never run, so the last: {ranked}");
        assert!(ranked[0]["time"].as_f64().expect("seconds") > 0.0, "{figure}: {ranked}");
    }
    let metrics = client.call("metrics", json!([]));
    assert_eq!(metrics["counters"]["jobs.run.success.nightly"]["count"], 1, "{metrics}");
}

fn run(python: &Path, program: &str, arguments: &[&str]) -> (i32, String) {
    let script = python.with_file_name(program);
    let output = Command::new(python).arg(script).args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), text + &String::from_utf8_lossy(&output.stderr))
}

/// A folder of job files is brought to the scheduler, and a monitor is told of failed jobs.
fn programs(python: &Path, servers: &str, folder: &Path) {
    let host = servers.split(',').next().expect("a server");
    let jobs = folder.join("jobs");
    std::fs::create_dir_all(&jobs).expect("a folder");
    let write = |name: &str, document: &Value| {
        std::fs::write(jobs.join(format!("{name}.json")), document.to_string()).expect("written");
    };
    write("synced", &job("synced", "R/2030-01-01T00:00:00.000Z/P1D"));
    // Before its parent in the order of files: the program tries again.
    write("a-child", &dependent("syncs-later", "synced"));
    let sync =
        || run(python, "chronos-sync-jobs.py", &["--hostname", host, "--sync", &jobs.display().to_string()]);
    let (code, said) = sync();
    assert!(code == 0 && said.contains("Adding job synced") && !said.contains("Failed Jobs"), "{said}");
    let (_, said) = sync();
    assert_eq!(said.matches("is up-to-date on Chronos").count(), 2, "{said}");
    let (code, said) = run(python, "chronos-nagios.py", &["--hostname", host]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("OK: 0 jobs succeeded on last run (2 waiting"), "{said}");
}
