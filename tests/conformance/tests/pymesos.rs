//! Python: `pymesos`.

use conformance::{install, scenario};

#[tokio::test(flavor = "multi_thread")]
async fn pymesos_schedules() {
    let program = tokio::task::spawn_blocking(|| install::pymesos("scheduler.py")).await.expect("installed");
    scenario::schedule(|masters| {
        let mut program = program;
        // It knows one address and no list.
        program.args(&masters[..1]);
        program
    })
    .await;
}
