//! The guides for authors of schedulers, typed into a shell against a real cluster.

use std::path::Path;
use std::process::Command;

use e2e::cluster::{Cluster, Shape};
use e2e::guide;

const SMALL: Shape = Shape { masters: 1, agents: 1, marathons: 0, haproxy: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_by_hand_with_curl() {
    follow("docs/guides/curl.md").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_in_python() {
    if let Err(why) = packages_can_be_had() {
        // The library comes from the package index: without a way there it is not our guide that fails.
        eprintln!("the guide for Python is not tried: {why}");
        return;
    }
    follow("docs/guides/python.md").await;
}

async fn follow(path: &str) {
    let cluster = Cluster::start(SMALL).await;
    let folder = tempfile::tempdir().expect("a folder");
    let document = guide::read(path);
    let (folder_path, master) = (folder.path().to_owned(), cluster.master_addresses[0].clone());
    let run = move || guide::run(&document, &folder_path, &[("127.0.0.1:5050", &master)]);
    tokio::task::spawn_blocking(run)
        .await
        .unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
}

/// Whether the package index is reached with what a machine has.
fn packages_can_be_had() -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let try_it = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(folder.path()).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    };
    try_it(Path::new("python3"), &["-m", "venv", "venv"])?;
    let pip = folder.path().join("venv/bin/pip");
    try_it(&pip, &["download", "-q", "--no-deps", "--retries", "0", "--timeout", "10", "pymesos==0.3.15"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_value_api_by_hand() {
    follow("docs/api/key-value.md").await;
}
