//! The guides for authors of schedulers, typed into a shell against a real cluster.
//!
//! The Python guide installs its library from the package index, as its reader does: without a way there its test fails.

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, Shape};
use e2e::guide;
use e2e::process::stoa;

const SMALL: Shape = Shape { masters: 1, agents: 1, marathons: 0, haproxy: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_by_hand_with_curl() {
    follow("docs/guides/curl.md").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_in_python() {
    follow("docs/guides/python.md").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_batch_job() {
    let cluster = Cluster::start(SMALL).await;
    let schedulers = Schedulers::start(&cluster, 1, &[]);
    schedulers.leader(&cluster).await;
    let address = schedulers.addresses[0].clone();
    let command = format!("{} job --chronos={address}", stoa().display());
    let folder = tempfile::tempdir().expect("a folder");
    let (document, folder_path) = (guide::read("docs/guides/batch.md"), folder.path().to_owned());
    let run = move || {
        let replace = [("stoa job", command.as_str()), ("127.0.0.1:4400", address.as_str())];
        guide::run(&document, &folder_path, &replace);
    };
    tokio::task::spawn_blocking(run)
        .await
        .unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_value_api_by_hand() {
    follow("docs/api/key-value.md").await;
}
