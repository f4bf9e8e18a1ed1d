//! What the measurements share: a job, and the processor time of a process.

use std::time::Duration;

use serde_json::{Value, json};

/// A job of ordinary size, of which all fields that its kind needs are filled in.
pub fn job(name: &str, schedule: &str) -> Value {
    json!({
        "name": name,
        "command": "/usr/local/bin/report --date $CHRONOS_JOB_RUN_TIME --to s3://reports/daily",
        "schedule": schedule,
        "owner": "team@example.com",
        "description": "One of many",
        "cpus": 0.1, "mem": 64, "disk": 1,
        "environmentVariables": [{"name": "STAGE", "value": "production"}],
    })
}

/// Of a process and all its threads, so far.
pub fn processor_time(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    // After the name, which may hold anything: the 12th and the 13th field from there, in hundredths of a second.
    let (_, fields) = text.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
