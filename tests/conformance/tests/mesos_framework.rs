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

#[tokio::test(flavor = "multi_thread")]
async fn mesos_framework_executes() {
    let (node, folder) =
        tokio::task::spawn_blocking(install::mesos_framework_folder).await.expect("installed");
    // The library is found from where it was installed, and writes a log of its own.
    let modules = folder.join("node_modules");
    let program =
        format!("mkdir -p logs && NODE_PATH={} exec {} executor.js", modules.display(), node.display());
    scenario::execute(&folder.join("executor.js"), &program).await;
}
