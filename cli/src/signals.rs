//! The request to end in order: `SIGTERM` or `SIGINT`, whichever comes first.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first `SIGTERM` or `SIGINT`. A second one ends the process at once, for a person who will not wait.
pub(crate) async fn shutdown() {
    wait().await;
    tokio::spawn(async {
        wait().await;
        tracing::warn!("asked twice to end: ending at once");
        std::process::exit(1);
    });
}

async fn wait() {
    // Registration fails only where the runtime has no signal driver; then the process can only be killed.
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
