//! A master that asks who comes.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use front::credential::Credential;
use serde_json::json;

use crate::client::{Answer, Conversation, JSON, TestMaster, framework, free_address, raw, request, until};

const LIST: &str = "\
# who             secret    what for
operations        op-pw     operator
marathon          ma-pw     framework
tenant            te-pw     framework  in=tenant,tenant/*  as=nobody
node              no-pw     agent
dashboard         da-pw     reader
";

fn list(folder: &Path) -> PathBuf {
    written(folder, LIST)
}

fn written(folder: &Path, list: &str) -> PathBuf {
    let path = folder.join("credentials");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).expect("created");
    file.write_all(list.as_bytes()).expect("written");
    path
}

fn said(who: &str) -> String {
    let credential: Credential = who.parse().expect("a credential");
    format!("Authorization: {}\r\n", credential.basic())
}

async fn ask(master: &TestMaster, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    raw(master.address, head.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_or_asks_without_the_secret() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::guarded(&temp.path().join("data"), &list(temp.path())).await;
    for path in ["/health", "/version"] {
        assert_eq!(ask(&master, "GET", path, "", "").await.status, 200, "{path}");
    }
    let wrong = [
        String::new(),
        said("dashboard:pw"),
        said("nobody:da-pw"),
        "Authorization: Bearer da-pw\r\n".to_owned(),
        "Authorization: Basic !\r\n".to_owned(),
        said("dashboard:da-pw") + &said("operations:op-pw"),
    ];
    for headers in &wrong {
        for (method, path, realm) in [
            ("GET", "/state", "mesos-master-readonly"),
            ("GET", "/", "mesos-master-readonly"),
            ("GET", "/metrics", "mesos-master-readonly"),
            ("GET", "/nosuch", "mesos-master-readonly"),
            ("POST", "/api/v1", "mesos-master-readwrite"),
            ("POST", "/api/v1/state", "mesos-master-readwrite"),
            ("POST", "/api/v1/scheduler", "mesos-master-scheduler"),
            ("POST", "/master//api/v1/scheduler/", "mesos-master-scheduler"),
            ("GET", "/internal/link", "mesos-master-readwrite"),
            ("GET", "/internal/raft", "mesos-master-readonly"),
            ("POST", "/internal/raft/hello", "mesos-master-readonly"),
        ] {
            let answer = ask(&master, method, path, headers, "").await;
            assert_eq!((answer.status, answer.text().as_str()), (401, "401 Unauthorized."), "{path}");
            let asked = format!("Basic realm=\"{realm}\"");
            assert_eq!(answer.header("www-authenticate"), Some(asked.as_str()), "{path}");
        }
    }
    assert_eq!(ask(&master, "GET", "/state", &said("dashboard:da-pw"), "").await.status, 200);
    let flags = ask(&master, "GET", "/flags", &said("dashboard:da-pw"), "").await.text();
    assert!(flags.contains("authenticate") && !flags.contains("-pw"), "{flags}");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_may_do_what_its_line_says() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::guarded(&temp.path().join("data"), &list(temp.path())).await;
    let json = |who: &str| said(who) + JSON;
    let weights = json!({"type": "UPDATE_WEIGHTS", "update_weights": {
        "weight_infos": [{"role": "web", "weight": 2.0}]}});
    for (who, status) in [("operations:op-pw", 200), ("marathon:ma-pw", 403), ("dashboard:da-pw", 403)] {
        let answer = ask(&master, "POST", "/api/v1", &json(who), &weights.to_string()).await;
        assert_eq!(answer.status, status, "{who}: {}", answer.text());
        let state = ask(&master, "POST", "/api/v1", &json(who), r#"{"type":"GET_STATE"}"#).await;
        assert_eq!(state.status, 200, "{who}");
    }
    let refused = ask(&master, "PUT", "/weights", &json("dashboard:da-pw"), "[]").await;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (403, "Principal 'dashboard' needs the role 'operator' for this")
    );
    for (who, path) in [
        ("operations:op-pw", "/internal/link"),
        ("node:no-pw", "/internal/raft"),
        ("node:no-pw", "/teardown"),
    ] {
        assert_eq!(ask(&master, "GET", path, &said(who), "").await.status, 403, "{who} {path}");
    }
    // Let in, and told what is missing.
    assert_eq!(ask(&master, "GET", "/internal/link", &said("node:no-pw"), "").await.status, 426);

    let record = |space: &str| json!({"type": "GET", "namespace": space, "key": "a"}).to_string();
    for (who, space, status) in [
        ("marathon:ma-pw", "marathon", 200),
        ("marathon:ma-pw", "marathon/blue", 200),
        ("marathon:ma-pw", "chronos", 403),
        ("operations:op-pw", "chronos", 200),
        ("dashboard:da-pw", "dashboard", 403),
    ] {
        let answer = ask(&master, "POST", "/api/v1/state", &json(who), &record(space)).await;
        assert_eq!(answer.status, status, "{who} {space}: {}", answer.text());
    }
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_that_is_bound_to_roles_subscribes_in_no_other() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::guarded(&temp.path().join("data"), &list(temp.path())).await;
    for (role, first) in [("tenant", "SUBSCRIBED"), ("tenant/blue", "SUBSCRIBED"), ("eng", "ERROR")] {
        let mut call = framework("bound");
        let info = &mut call["subscribe"]["framework_info"];
        info["roles"] = json!([role]);
        info["capabilities"] = json!([{"type": "MULTI_ROLE"}]);
        let mut stream = Conversation::open(master.address).await;
        let headers = said("tenant:te-pw") + JSON;
        stream.send(&request("/api/v1/scheduler", &headers, call.to_string().as_bytes())).await;
        assert_eq!(stream.head().await.status, 200);
        let record = stream.record().await.expect("a first record");
        assert_eq!(record["type"], first, "{role}: {record}");
        if first == "ERROR" {
            assert_eq!(record["error"]["message"], "Not authorized to use roles 'eng'");
        }
    }
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_is_its_principals_and_nobody_elses() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::guarded(&temp.path().join("data"), &list(temp.path())).await;
    let at = master.address;
    let path = "/api/v1/scheduler";
    let subscribe = |principal: Option<&str>| {
        let mut call = framework("guarded");
        if let Some(principal) = principal {
            call["subscribe"]["framework_info"]["principal"] = principal.into();
        }
        call.to_string()
    };
    let headers = said("marathon:ma-pw") + JSON;
    let other = raw(at, &request(path, &headers, subscribe(Some("chronos")).as_bytes())).await;
    assert_eq!(other.status, 400);
    assert_eq!(
        other.text(),
        "Failed to validate scheduler::Call: Authenticated principal 'marathon' does not match principal 'chronos' set in `FrameworkInfo`"
    );
    let reader = raw(at, &request(path, &(said("dashboard:da-pw") + JSON), subscribe(None).as_bytes())).await;
    assert_eq!(reader.status, 403);
    let mut stream = Conversation::open(at).await;
    stream.send(&request(path, &headers, subscribe(None).as_bytes())).await;
    assert_eq!(stream.head().await.status, 200);
    let state = ask(&master, "GET", "/state", &said("dashboard:da-pw"), "").await.json();
    assert_eq!(state["frameworks"][0]["principal"], json!("marathon"), "filled in");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_know_each_other_by_their_secret() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let list = written(temp.path(), &format!("{LIST}masters ms-pw master\n"));
    let (mut addresses, mut open) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        addresses.push(free_address());
    }
    for (number, address) in addresses.iter().enumerate() {
        let folder = temp.path().join(number.to_string());
        open.push(TestMaster::guarded_in(address, &addresses, &folder, &list).await.expect("starts"));
    }
    let mut leader = None;
    until("one leads and the others follow it", async || {
        let mut named = Vec::new();
        for master in &open {
            let answer = ask(master, "GET", "/redirect", &said("dashboard:da-pw"), "").await;
            named.push(answer.header("location").map(str::to_owned));
        }
        leader = named[0].clone().filter(|first| named.iter().all(|one| one.as_ref() == Some(first)));
        leader.is_some()
    })
    .await;
    let leader = leader.expect("one leads");
    let standby =
        open.iter().find(|master| !leader.ends_with(&master.address.to_string())).expect("two follow");
    let weights = r#"[{"role":"web","weight":2.0}]"#;
    // A standby asks as well, before it says where to go.
    let unknown = ask(standby, "PUT", "/weights", JSON, weights).await;
    assert_eq!((unknown.status, unknown.header("location")), (401, None));
    let known = ask(standby, "PUT", "/weights", &(said("operations:op-pw") + JSON), weights).await;
    assert_eq!((known.status, known.header("location")), (307, Some(format!("{leader}/weights").as_str())));
    for master in open {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_list_names_no_master_is_refused() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let addresses = [free_address(), free_address(), free_address()];
    let list = list(temp.path());
    let started = TestMaster::guarded_in(&addresses[0], &addresses, &temp.path().join("data"), &list).await;
    let error = started.err().expect("nobody would know it").to_string();
    assert!(error.contains("--credentials names nobody with the role `master`"), "{error}");
}
