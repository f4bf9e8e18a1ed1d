//! The example on a cluster of real processes, and the guide that tells how it is written.

use std::fs::File;
use std::future::ready;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::guide;
use e2e::wait::{check, until};

const SOON: Duration = Duration::from_secs(60);
/// As many of the commands as the two agents can run at once.
const AT_ONCE: usize = 8;
const COMMANDS: usize = 12;

/// A batch that does not outlive a test which fails.
struct Batch(Child);

impl Drop for Batch {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the batch of `folder/commands`; what it prints goes to `folder/out`.
fn start(cluster: &Cluster, folder: &Path) -> Batch {
    let log = |name| File::options().create(true).append(true).open(folder.join(name)).expect("a log");
    start_printing(cluster, folder, log("out"), log("err"))
}

fn start_printing(cluster: &Cluster, folder: &Path, out: File, err: File) -> Batch {
    let child = Command::new(env!("CARGO_BIN_EXE_batch"))
        .arg("--master")
        .arg(cluster.master_addresses.join(","))
        .args(["--need", "cpus:1;mem:32", "--attempts", "2"])
        .arg(folder.join("commands"))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .expect("the example starts");
    Batch(child)
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_runs_to_its_end_though_the_leading_master_and_the_batch_itself_are_killed() {
    let mut cluster = Cluster::start(Shape { masters: 3, agents: 2, marathons: 0, haproxy: false }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    // Each says that it has begun, waits for the word, and notes that it ran.
    let mut commands: Vec<String> = (0..COMMANDS)
        .map(|n| {
            format!("touch {at}/begun-{n}; until test -e {at}/go; do sleep 0.1; done; echo {n} >> {at}/ran")
        })
        .collect();
    commands.push(format!("mkdir {at}/second || exit 0; exit 3"));
    commands.push("exit 4".to_owned());
    std::fs::write(folder.path().join("commands"), commands.join("\n")).expect("written");

    let mut batch = start(&cluster, folder.path());
    let begun = || std::fs::read_dir(folder.path()).expect("a folder").flatten();
    let begun = || begun().filter(|entry| entry.file_name().to_string_lossy().starts_with("begun-")).count();
    until("the agents are full", SOON, async || {
        check(begun() == AT_ONCE, || format!("{} have begun\n{}", begun(), read(folder.path(), "err")))
    })
    .await;
    let leader = cluster.leading_master().await;
    cluster.masters[leader].kill();
    cluster.leading_master().await;
    batch.0.kill().expect("killed");
    batch.0.wait().expect("waited for");
    let mut batch = start(&cluster, folder.path());
    std::fs::write(folder.path().join("go"), "").expect("written");
    let status = until("the batch is over", SOON, || {
        let ended = batch.0.try_wait().expect("asked");
        ready(ended.ok_or_else(|| format!("{}\n{}", read(folder.path(), "err"), cluster.logs())))
    })
    .await;

    let table = read(folder.path(), "out");
    assert_eq!(status.code(), Some(1), "one command fails each time\n{table}");
    let mut ran: Vec<usize> =
        read(folder.path(), "ran").lines().map(|line| line.parse().expect("a number")).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..COMMANDS).collect::<Vec<_>>(), "each ran once\n{table}");
    let row = |command: &str| table.lines().find(|line| line.contains(command)).expect("a row").to_owned();
    assert!(row(&commands[COMMANDS]).starts_with("Done    2 "), "{table}");
    assert!(row("exit 4 ").starts_with("Failed  2 "), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with("Done ")).count(), COMMANDS + 1, "{table}");

    let leader = cluster.leading_master().await;
    let url = format!("http://{}/frameworks", cluster.master_addresses[leader]);
    let answer = cluster.http.get(url).send().await.expect("an answer");
    let known: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(known["frameworks"].as_array().map(Vec::len), Some(0), "it has left: {known}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_for_its_log_and_its_table_keeps_it_from_nothing_else() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ran = folder.path().join("ran");
    std::fs::write(folder.path().join("commands"), format!("touch {}", ran.display())).expect("written");
    let full = || File::options().write(true).open("/dev/full").expect("a full disk");
    let mut batch = start_printing(&cluster, folder.path(), full(), full());
    let status = until("the batch is over", SOON, || {
        ready(batch.0.try_wait().expect("asked").ok_or_else(|| cluster.logs()))
    })
    .await;
    assert_eq!(status.code(), Some(1), "the table is lost; after a panic it would be 101");
    assert!(ran.exists());
}

#[test]
fn the_guide_shows_the_whole_program() {
    let guide = guide::read("docs/guides/write-a-framework.md");
    let shown: Vec<String> = guide::blocks(&guide)
        .into_iter()
        .filter(|block| block.kind == "rust")
        .map(|block| block.text)
        .collect();
    assert_eq!(shown.join("\n"), guide::read("examples/batch/src/main.rs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_commands_do_what_it_says() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let program = format!("{} --master {}", env!("CARGO_BIN_EXE_batch"), cluster.master_addresses[0]);
    let replace = [("cargo run --release -p batch --", program.as_str())];
    guide::run(&guide::read("docs/guides/write-a-framework.md"), folder.path(), &replace);
}
