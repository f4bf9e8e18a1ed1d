//! A framework that is aware of partitions: groups of tasks, reservations and volumes, changes of itself.

use e2e::cluster::Cluster;
use e2e::scheduler::Scheduler;
use serde_json::{Value, json};

use crate::book::Book;
use crate::{amount, call, frameworks, large, status, task};

pub(crate) async fn walk(cluster: &Cluster, book: &mut Book) {
    let mut own = frameworks::aware(cluster, "aware").await;
    unknown(book, &mut own).await;
    kill(cluster, book, &mut own).await;
    group(book, &mut own).await;
    operations(cluster, book, &mut own).await;
    updates(cluster, book, &own).await;
    book.events(&own.heard.take().unwrap_or_default());
    own.call(json!({ "type": "TEARDOWN" })).await;
}

async fn unknown(book: &mut Book, own: &mut Scheduler) {
    let offer = own.offer().await;
    for (name, agent) in [
        ("aware: unknown", offer["agent_id"].clone()),
        ("aware: unknown and its agent", json!({ "value": "no-such-agent" })),
    ] {
        let about = json!([{ "task_id": { "value": "unknown" }, "agent_id": agent }]);
        own.call(json!({ "type": "RECONCILE", "reconcile": { "tasks": about } })).await;
        book.status(name, &status(own, "unknown", |_| true).await);
    }
    let mut stale = offer.clone();
    stale["id"]["value"] = json!("no-such-offer");
    own.launch(&stale, &[task(&offer, "stale", "true")]).await;
    book.status("aware: task of an unknown offer", &status(own, "stale", |_| true).await);
    own.decline(&offer).await;
}

async fn kill(cluster: &Cluster, book: &mut Book, own: &mut Scheduler) {
    let offer = own.offer().await;
    own.launch(&offer, &[task(&offer, "long", "sleep 1000")]).await;
    status(own, "long", |status| status["state"] == "TASK_RUNNING").await;
    let kill = json!({ "type": "KILL", "kill": { "task_id": { "value": "long" } } });
    book.answer("KILL", &call(cluster, own, kill).await);
    status(own, "long", |status| status["state"] == "TASK_KILLED").await;
}

async fn group(book: &mut Book, own: &mut Scheduler) {
    let offer = own.offer_that(large).await;
    let launch = |resources: &[Value], tasks: &[Value]| {
        json!([{ "type": "LAUNCH_GROUP", "launch_group": {
            "executor": { "type": "DEFAULT", "executor_id": { "value": "group" }, "resources": resources },
            "task_group": { "tasks": tasks },
        } }])
    };
    let sizes = [amount("cpus", 0.1, "web"), amount("mem", 32.0, "web"), amount("disk", 32.0, "web")];
    let bad = launch(&sizes[..2], &[task(&offer, "spoilt", "true")]);
    own.accept(std::slice::from_ref(&offer), bad).await;
    book.status("group whose executor has no disk", &status(own, "spoilt", |_| true).await);

    let offer = own.offer_that(large).await;
    let tasks = [task(&offer, "one", "sleep 1"), task(&offer, "other", "sleep 1000")];
    own.accept(std::slice::from_ref(&offer), launch(&sizes, &tasks)).await;
    status(own, "one", |status| status["state"] == "TASK_FINISHED").await;
    own.call(json!({ "type": "KILL", "kill": { "task_id": { "value": "other" } } })).await;
    // The second of the two ends the executor.
    own.news_that("the end of the executor", |kind, _| kind == "FAILURE").await;
}

async fn operations(cluster: &Cluster, book: &mut Book, own: &mut Scheduler) {
    let reserved = |name: &str, value: f64| {
        let mut amount = amount(name, value, "web");
        amount["reservations"] = json!([{ "type": "DYNAMIC", "role": "web" }]);
        amount
    };
    let mut volume = reserved("disk", 64.0);
    volume["disk"] = json!({
        "persistence": { "id": "v1" }, "volume": { "container_path": "data", "mode": "RW" },
    });
    let both = json!([reserved("disk", 64.0), reserved("cpus", 0.5)]);
    let plain = |offer: &Value| large(offer) && !offer["resources"].to_string().contains("reservations");
    let offer = own.offer_that(plain).await;
    let operation =
        json!({ "type": "RESERVE", "id": { "value": "reserve" }, "reserve": { "resources": both } });
    own.accept(std::slice::from_ref(&offer), json!([operation])).await;
    let done = of_operation(own).await;
    let acknowledge = json!({ "type": "ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status": {
        "agent_id": done["agent_id"], "operation_id": done["operation_id"], "uuid": done["uuid"]["value"] } });
    book.answer("ACKNOWLEDGE_OPERATION_STATUS", &call(cluster, own, acknowledge).await);

    let reserves = |offer: &Value| offer["resources"].to_string().contains("reservations");
    let offer = own.offer_that(reserves).await;
    let create = json!([{ "type": "CREATE", "create": { "volumes": [volume] } }]);
    own.accept(std::slice::from_ref(&offer), create).await;
    let offer = own.offer_that(|offer| offer["resources"].to_string().contains("persistence")).await;
    let destroy = json!([{ "type": "DESTROY", "destroy": { "volumes": [volume] } }]);
    own.accept(std::slice::from_ref(&offer), destroy).await;
    let bare = |offer: &Value| reserves(offer) && !offer["resources"].to_string().contains("persistence");
    let offer = own.offer_that(bare).await;
    let unreserve = json!([{ "type": "UNRESERVE", "unreserve": { "resources": both } }]);
    own.accept(std::slice::from_ref(&offer), unreserve).await;

    let offer = own.offer_that(plain).await;
    let much = json!([reserved("disk", 1e9)]);
    let operation = json!({ "type": "RESERVE", "id": { "value": "much" }, "reserve": { "resources": much } });
    own.accept(std::slice::from_ref(&offer), json!([operation])).await;
    book.status("operation that needs too much", &of_operation(own).await);
    let about = json!([{ "operation_id": { "value": "unknown" }, "agent_id": offer["agent_id"] }]);
    let reconcile =
        json!({ "type": "RECONCILE_OPERATIONS", "reconcile_operations": { "operations": about } });
    book.answer("RECONCILE_OPERATIONS", &call(cluster, own, reconcile).await);
    book.status("operation that is unknown", &of_operation(own).await);
}

async fn of_operation(own: &mut Scheduler) -> Value {
    own.news_that("the end of an operation", |kind, _| kind == "UPDATE_OPERATION_STATUS").await
}

async fn updates(cluster: &Cluster, book: &mut Book, own: &Scheduler) {
    let info = |user: &str| {
        json!({ "type": "UPDATE_FRAMEWORK", "update_framework": { "framework_info": {
            "user": user, "name": "aware2", "roles": ["web", "api"], "failover_timeout": 600.0,
            "id": { "value": own.framework },
            "capabilities": [{ "type": "MULTI_ROLE" }, { "type": "PARTITION_AWARE" },
                { "type": "RESERVATION_REFINEMENT" }, { "type": "TASK_KILLING_STATE" }],
        } } })
    };
    book.answer("UPDATE_FRAMEWORK", &call(cluster, own, info("root")).await);
    book.answer("UPDATE_FRAMEWORK of the user", &call(cluster, own, info("other")).await);
}
