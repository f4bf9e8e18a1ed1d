//! The maintenance schedule, by the calls of the operator API and by the endpoints that were before them.

use serde_json::json;

use crate::client::{TestMaster, get, post};

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_scheduled_taken_down_and_brought_back() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let call = async |kind: &str| {
        let answer = post(at, "/api/v1", &json!({ "type": kind })).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        answer.json()
    };
    assert_eq!(
        call("GET_MAINTENANCE_STATUS").await,
        json!({"type": "GET_MAINTENANCE_STATUS", "get_maintenance_status": {"status": {}}})
    );
    assert_eq!(get(at, "/maintenance/schedule").await.text(), "{}");
    assert_eq!(get(at, "/maintenance/status").await.text(), "{}");

    let schedule = json!({"windows": [{
        "machine_ids": [{"hostname": "localhost", "ip": "127.0.0.1"}, {"hostname": "other"}],
        "unavailability": {
            "start": {"nanoseconds": 1_795_214_697_766_209_280_i64},
            "duration": {"nanoseconds": 3_600_000_000_000_i64},
        },
    }]});
    let update = json!({
        "type": "UPDATE_MAINTENANCE_SCHEDULE",
        "update_maintenance_schedule": {"schedule": schedule},
    });
    let updated = post(at, "/api/v1", &update).await;
    assert_eq!((updated.status, updated.text().as_str()), (200, ""));
    assert_eq!(call("GET_MAINTENANCE_SCHEDULE").await["get_maintenance_schedule"]["schedule"], schedule);
    assert_eq!(get(at, "/master/maintenance/schedule").await.json(), schedule);

    let other = json!([{"hostname": "OTHER"}]);
    assert_eq!(post(at, "/machine/down", &other).await.status, 200);
    let again = post(at, "/machine/down", &other).await;
    assert_eq!(
        (again.status, again.text().as_str()),
        (400, "machines[0] names machine 'other', which is down already")
    );
    assert_eq!(
        get(at, "/maintenance/status").await.json(),
        json!({
            "draining_machines": [{"id": {"hostname": "localhost", "ip": "127.0.0.1"}}],
            "down_machines": [{"hostname": "other"}],
        })
    );
    let cleared = post(at, "/maintenance/schedule", &json!({"windows": []})).await;
    assert_eq!(cleared.status, 400, "a machine that is down stays in the schedule: {}", cleared.text());
    let stop = json!({"type": "STOP_MAINTENANCE", "stop_maintenance": {"machines": other}});
    assert_eq!(post(at, "/api/v1", &stop).await.status, 200);
    assert_eq!(post(at, "/maintenance/schedule", &json!({"windows": []})).await.status, 200);
    assert_eq!(get(at, "/maintenance/schedule").await.text(), "{}");

    for (path, body) in [
        ("/machine/up", json!({"hostname": "other"})),
        ("/machine/up", json!([])),
        ("/machine/up", json!([{"hostname": "other"}])),
        ("/maintenance/schedule", json!([])),
        ("/maintenance/schedule", json!({"windows": [{"machine_ids": [{"ip": "10.0.0.1"}]}]})),
    ] {
        let refused = post(at, path, &body).await;
        assert_eq!(refused.status, 400, "{path} {body}");
        assert!(!refused.text().is_empty(), "{path} {body}");
    }
    assert_eq!(get(at, "/machine/down").await.status, 405);
    master.stop().await;
}
