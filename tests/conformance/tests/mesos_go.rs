//! Go: `mesos-go`, with both encodings.

use conformance::{install, scenario};

async fn with(codec: &str) {
    let program = tokio::task::spawn_blocking(install::mesos_go).await.expect("installed");
    scenario::schedule(|masters| {
        let mut program = program;
        program.arg(codec).args(masters);
        program
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mesos_go_schedules_in_protobuf() {
    with("protobuf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mesos_go_schedules_in_json() {
    with("json").await;
}

/// The executor, fetched as a program.
async fn executes(codec: &str) {
    let folder = tokio::task::spawn_blocking(install::mesos_go_folder).await.expect("installed");
    let program = format!("chmod +x executor && exec ./executor {codec}");
    scenario::execute(&folder.join("executor"), &program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mesos_go_executes_in_protobuf() {
    executes("protobuf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mesos_go_executes_in_json() {
    executes("json").await;
}
