//! The master's log and its level, as operators reach them.

use serde_json::json;

use crate::client::{TestMaster, get, post};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_browsed_read_and_fetched() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = temp.path().join("master.log");
    std::fs::write(&file, "first line\nsecond line\n").expect("written");
    let (levels, _seen) = std::sync::mpsc::channel();
    let master = TestMaster::logging(&temp.path().join("data"), file.clone(), levels).await;
    let at = master.address;

    let debug = get(at, "/files/debug").await.json();
    assert_eq!(debug, json!({"/master/log": file.display().to_string()}));
    let browsed = get(at, "/files/browse?path=/master/log").await.json();
    assert_eq!((&browsed[0]["path"], &browsed[0]["size"]), (&json!("/master/log"), &json!(23)));
    assert!(browsed[0]["mode"].as_str().is_some_and(|mode| mode.starts_with("-rw")), "{browsed}");
    assert!(browsed[0]["mtime"].is_f64(), "{browsed}");
    let read = |query: &'static str| async move { get(at, &format!("/files/read{query}")).await };
    let part = read("?path=/master/log&offset=6&length=4").await.json();
    assert_eq!(part, json!({"data": "line", "offset": 6}));
    for end in ["?path=/master/log", "?path=/master/log&offset=-1&length=-1"] {
        assert_eq!(read(end).await.json(), json!({"data": "", "offset": 23}), "{end}");
    }
    assert_eq!(read("?path=/master/log&offset=99").await.json(), json!({"data": "", "offset": 99}));
    let fetched = get(at, "/master/files/download.json?path=/master/log").await;
    assert_eq!(fetched.text(), "first line\nsecond line\n");
    assert_eq!(fetched.header("content-disposition"), Some("attachment; filename=log"));
    assert_eq!(fetched.header("content-type"), Some("application/octet-stream"));

    for path in ["/master", "/", "/etc/passwd", "/master/log/../log", "/master/log.1"] {
        let refused = get(at, &format!("/files/read?path={path}&offset=0")).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.text());
        assert!(!refused.text().is_empty());
    }
    assert_eq!(get(at, "/files/browse").await.status, 400);

    let listed =
        post(at, "/api/v1", &json!({"type": "LIST_FILES", "list_files": {"path": "/master/log"}})).await;
    assert_eq!(listed.json()["list_files"]["file_infos"][0]["size"], 23);
    let call = json!({"type": "READ_FILE", "read_file": {"path": "/master/log", "offset": 0, "length": 5}});
    let read = post(at, "/api/v1", &call).await.json();
    assert_eq!(read, json!({"type": "READ_FILE", "read_file": {"size": 23, "data": "Zmlyc3Q="}}));
    let missing =
        post(at, "/api/v1", &json!({"type": "LIST_FILES", "list_files": {"path": "/nosuch"}})).await;
    assert_eq!(missing.status, 404);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_is_set_for_a_while() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let (levels, seen) = std::sync::mpsc::channel();
    let master = TestMaster::logging(&temp.path().join("data"), temp.path().join("log"), levels).await;
    let at = master.address;
    assert_eq!(get(at, "/logging/toggle").await.text(), "0\n");
    let level = json!({"type": "GET_LOGGING_LEVEL"});
    let told = post(at, "/api/v1", &level).await.json();
    assert_eq!(told, json!({"type": "GET_LOGGING_LEVEL", "get_logging_level": {"level": 0}}));

    let set = |level: u32, nanoseconds: u64| json!({"type": "SET_LOGGING_LEVEL", "set_logging_level": {"level": level, "duration": {"nanoseconds": nanoseconds}}});
    let answer = post(at, "/api/v1", &set(2, 600_000_000_000)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(get(at, "/logging/toggle").await.text(), "2\n");
    assert_eq!(get(at, "/logging/toggle?level=1&duration=1ms").await.status, 200);
    // The second change ends by itself, the first has no say any more.
    crate::client::until("the usual level", async || get(at, "/logging/toggle").await.text() == "0\n").await;
    assert_eq!(seen.try_iter().collect::<Vec<u32>>(), [2, 1, 0]);

    for bad in ["?level=1", "?duration=1secs", "?level=1&duration=soon", "?level=-1&duration=1secs"] {
        assert_eq!(get(at, &format!("/logging/toggle{bad}")).await.status, 400, "{bad}");
    }
    master.stop().await;
    // A master whose program keeps the log to itself says so.
    let quiet = TestMaster::alone(&temp.path().join("quiet")).await;
    let refused = post(quiet.address, "/api/v1", &set(1, 1)).await;
    assert_eq!(refused.status, 501, "{}", refused.text());
    let none = get(quiet.address, "/files/read?path=/master/log").await;
    assert_eq!((none.status, none.text().contains("--log-file")), (404, true));
    quiet.stop().await;
}
