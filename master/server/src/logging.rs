//! How much this process logs, which operators may change for a while.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Logs;

/// As at the start.
const USUAL: u32 = 0;

/// The process's log, as this master knows it.
pub(crate) struct Logging {
    logs: Option<Logs>,
    /// The level, and how often it was changed: an end that comes after another change does nothing.
    now: Mutex<(u32, u64)>,
}

impl Logging {
    pub(crate) fn new(logs: Option<Logs>) -> Self {
        Self { logs, now: Mutex::new((USUAL, 0)) }
    }

    /// Where the log is kept, if it is kept in a file.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.logs.as_ref()?.file.as_deref()
    }

    pub(crate) fn level(&self) -> u32 {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// False when this process was started by a program that keeps its log to itself.
    pub(crate) fn set(self: &Arc<Self>, level: u32, duration: Duration) -> bool {
        let Some(change) = self.change(level) else { return false };
        if level != USUAL {
            let logging = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                let latest = logging.now.lock().unwrap_or_else(PoisonError::into_inner).1;
                if latest == change {
                    logging.change(USUAL);
                }
            });
        }
        true
    }

    /// The number of this change.
    fn change(&self, level: u32) -> Option<u64> {
        let logs = self.logs.as_ref()?;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (level, now.1 + 1);
        (logs.set_level)(level);
        tracing::info!(level, "logging level");
        Some(now.1)
    }
}
