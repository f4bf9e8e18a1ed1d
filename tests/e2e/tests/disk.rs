//! A master whose disk is full stops with a sentence before it acknowledges anything it could not keep.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::ports;
use e2e::process::Process;
use e2e::wait::{check, until};
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A small file system of its own, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where this user may not mount.
    fn mount(folder: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "stoa-test"]).arg(folder).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_a_master_before_it_acknowledges() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&data) else {
        eprintln!("not run: mounting a file system needs root");
        return;
    };
    let address = format!("127.0.0.1:{}", ports::free());
    let arguments = vec![
        "master".to_owned(),
        format!("--listen={address}"),
        format!("--data-dir={}", data.join("m").display()),
    ];
    let mut master = Process::start(folder.path(), "master", arguments);
    let http = reqwest::Client::builder().timeout(LONG).build().expect("a client");
    until("the master serves", LONG, async || {
        let answer = http.get(format!("http://{address}/slaves")).send().await;
        check(answer.as_ref().is_ok_and(|answer| answer.status() == 200), || format!("{answer:?}"))
    })
    .await;

    let mut kept = 0;
    let filler = std::fs::File::create(data.join("filler")).expect("a file");
    for number in 0..200 {
        if !put(&http, &address, number).await {
            break;
        }
        kept = number + 1;
        if number == 20 {
            fill(&filler);
        }
    }
    assert!(kept >= 20, "only {kept} writes were acknowledged on an empty disk");
    assert!(kept < 200, "every write was acknowledged on a full disk");
    let status = master.wait_exit(LONG);
    assert_eq!(status.code(), Some(1), "{}", master.log_tail());
    assert!(master.log_text().contains("No space left on device"), "{}", master.log_tail());

    // With room again it starts, and all that it acknowledged is there.
    filler.set_len(0).expect("emptied");
    master.restart();
    until("the master serves again", LONG, async || {
        let answer = http.get(format!("http://{address}/slaves")).send().await;
        check(answer.as_ref().is_ok_and(|answer| answer.status() == 200), || format!("{answer:?}"))
    })
    .await;
    for number in 0..kept {
        assert!(exists(&http, &address, number).await, "write {number} of {kept} acknowledged ones is lost");
    }
}

fn fill(file: &std::fs::File) {
    let block = vec![1_u8; 64 << 10];
    while std::io::Write::write_all(&mut &*file, &block).is_ok() {}
}

async fn put(http: &reqwest::Client, address: &str, number: usize) -> bool {
    let call = e2e::state::put("disk", &format!("k{number}"), &[b'x'; 60_000]);
    let answer = http.post(format!("http://{address}/api/v1/state")).json(&call).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

async fn exists(http: &reqwest::Client, address: &str, number: usize) -> bool {
    let call = e2e::state::get("disk", &format!("k{number}"));
    let answer = http.post(format!("http://{address}/api/v1/state")).json(&call).send().await;
    let body: Value = answer.expect("an answer").json().await.expect("JSON");
    e2e::state::found(&body)
}
