//! Waiting for an event with a deadline.

use std::time::{Duration, Instant};

/// How often a condition is asked again: short beside what is waited for, long beside the question.
const AGAIN: Duration = Duration::from_millis(25);

/// Asks until `condition` gives a value. Past the deadline the test fails with `what` and the last reason.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        let why = match condition().await {
            Ok(value) => return value,
            Err(why) => why,
        };
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}; last seen: {why}");
        tokio::time::sleep(AGAIN).await;
    }
}

/// A condition as a result: `Err` with the reason while it does not hold.
pub fn check(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
