//! JavaScript: `mesos-framework`.

use conformance::{install, scenario};

#[tokio::test(flavor = "multi_thread")]
async fn mesos_framework_schedules() {
    let program = tokio::task::spawn_blocking(install::mesos_framework).await.expect("installed");
    scenario::schedule(|masters| {
        let mut program = program;
        // It knows one address and no list.
        program.args(&masters[..1]);
        program
    })
    .await;
}
