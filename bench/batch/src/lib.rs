//! The jobs that the measurements share.

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
