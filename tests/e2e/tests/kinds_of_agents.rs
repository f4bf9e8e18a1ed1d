//! Agents that are not for everybody, with real masters and agents: of another region, with GPUs, or with what may be taken
//! back.

use e2e::cluster::{Cluster, START};
use e2e::scheduler::{Scheduler, info};
use e2e::wait::{check, until};
use serde_json::{Value, json};

fn domain(region: &str) -> Value {
    json!({ "fault_domain": { "region": { "name": region }, "zone": { "name": format!("{region}-1") } } })
}

/// A framework of a role of its own, with these capabilities besides.
fn capable(name: &str, capabilities: &[&str]) -> Value {
    let mut about = info(name);
    let all = ["MULTI_ROLE"].iter().chain(capabilities);
    about["capabilities"] = all.map(|kind| json!({ "type": kind })).collect();
    about
}

fn scalar(name: &str, value: f64) -> Value {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } })
}

async fn ask(cluster: &Cluster, url: &str, call: Option<Value>) -> Value {
    let request = match call {
        Some(call) => cluster.http.post(url).json(&call),
        None => cluster.http.get(url),
    };
    request.send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_another_region_are_for_those_who_are_aware_of_regions() {
    let (near, far) = (domain("eu"), domain("us"));
    let flag = |domain: &Value| format!("--domain={domain}");
    let cluster = Cluster::start_flagged(
        &[&flag(&near)],
        &[&["--hostname=near", &flag(&near)], &["--hostname=far", &flag(&far)]],
    )
    .await;
    let master = &cluster.master_addresses[0];

    let mut unaware = Scheduler::subscribe(master, &capable("unaware", &[])).await;
    let offer = unaware.offer().await;
    assert_eq!((&offer["hostname"], &offer["domain"]), (&json!("near"), &near));
    // What the other one holds it would not be offered.
    let mut aware = Scheduler::subscribe(master, &capable("aware", &["REGION_AWARE"])).await;
    let offer = aware.offer().await;
    assert_eq!((&offer["hostname"], &offer["domain"]), (&json!("far"), &far));
    aware.launch(&offer, &[Scheduler::task(&offer, "there", "true")]).await;
    assert_eq!(aware.end_of("there").await["state"], "TASK_FINISHED");

    let state = ask(&cluster, &format!("http://{master}/state"), None).await;
    assert_eq!((&state["domain"], &state["leader_info"]["domain"]), (&near, &near));
    for path in ["state", "slaves"] {
        let listed = ask(&cluster, &format!("http://{master}/{path}"), None).await;
        for agent in listed["slaves"].as_array().expect("a list") {
            let expected = if agent["hostname"] == "near" { &near } else { &far };
            assert_eq!(&agent["domain"], expected, "{path}: {agent}");
        }
    }
    let api = format!("http://{master}/api/v1");
    let told = ask(&cluster, &api, Some(json!({ "type": "GET_MASTER" }))).await;
    assert_eq!(told["get_master"]["master_info"]["domain"], near);
    let told = ask(&cluster, &api, Some(json!({ "type": "GET_AGENTS" }))).await;
    let mut domains: Vec<&str> = told["get_agents"]["agents"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|agent| agent["agent_info"]["domain"]["fault_domain"]["region"]["name"].as_str())
        .collect();
    domains.sort_unstable();
    assert_eq!(domains, ["eu", "us"]);
    let own = ask(&cluster, &format!("http://{}/state", cluster.agent_addresses[1]), None).await;
    assert_eq!(own["domain"], far);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_does_not_know_where_it_is_takes_no_agent_that_does() {
    let mut cluster = Cluster::start_flagged(&[], &[&[]]).await;
    let file = cluster.folder().join("domain.json");
    std::fs::write(&file, domain("us").to_string()).expect("written");
    cluster.agents[0].restart_with(&format!("--domain=file://{}", file.display()));
    until("the agent says why it is not taken", START, async || {
        let logs = cluster.logs();
        check(logs.contains("the agent has a fault domain and this master has none"), || logs.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_gpus_is_for_those_who_know_them() {
    let has = json!([scalar("cpus", 1.0), scalar("mem", 256.0), scalar("gpus", 2.0)]);
    let with_gpus = format!("--resources={has}");
    let agents: [&[&str]; 2] = [&["--hostname=plain"], &["--hostname=gpus", &with_gpus]];
    let cluster = Cluster::start_flagged(&[], &agents).await;
    let master = &cluster.master_addresses[0];

    let mut unaware = Scheduler::subscribe(master, &capable("unaware", &[])).await;
    assert_eq!(unaware.offer().await["hostname"], "plain");
    // What the other one holds it would not be offered.
    let mut aware = Scheduler::subscribe(master, &capable("aware", &["GPU_RESOURCES"])).await;
    let offer = aware.offer().await;
    assert_eq!(offer["hostname"], "gpus");
    let mut task = Scheduler::task(&offer, "there", "sleep 1000");
    task["resources"] = json!([scalar("cpus", 0.1), scalar("mem", 32.0), scalar("gpus", 1.0)]);
    aware.launch(&offer, &[task]).await;
    aware.wait_state("there", "TASK_RUNNING").await;
    let rest = aware.offer().await;
    let gpus = rest["resources"].as_array().into_iter().flatten().find(|one| one["name"] == "gpus");
    assert_eq!(gpus.expect("the other one")["scalar"]["value"], 1.0, "{rest}");
    let own = ask(&cluster, &format!("http://{}/state", cluster.agent_addresses[1]), None).await;
    assert_eq!(own["resources"]["gpus"], 2.0, "{own}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_taken_back_is_for_those_who_know_that() {
    let revocable = |name: &str, value: f64| {
        let mut resource = scalar(name, value);
        resource["revocable"] = json!({});
        resource
    };
    let has =
        json!([scalar("cpus", 1.0), scalar("mem", 256.0), revocable("cpus", 2.0), revocable("mem", 512.0)]);
    let cluster = Cluster::start_flagged(&[], &[&[&format!("--resources={has}")]]).await;
    let master = &cluster.master_addresses[0];
    let kinds = |offer: &Value| -> Vec<(String, f64, bool)> {
        let resources = offer["resources"].as_array().into_iter().flatten();
        let mut kinds: Vec<_> = resources
            .map(|one| {
                let name = one["name"].as_str().expect("a name").to_owned();
                (name, one["scalar"]["value"].as_f64().expect("an amount"), one["revocable"].is_object())
            })
            .collect();
        kinds.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        kinds
    };

    let mut unaware = Scheduler::subscribe(master, &capable("unaware", &[])).await;
    let offer = unaware.offer().await;
    assert_eq!(kinds(&offer), [("cpus".to_owned(), 1.0, false), ("mem".to_owned(), 256.0, false)]);
    let mut aware = Scheduler::subscribe(master, &capable("aware", &["REVOCABLE_RESOURCES"])).await;
    let offer = aware.offer().await;
    assert_eq!(kinds(&offer), [("cpus".to_owned(), 2.0, true), ("mem".to_owned(), 512.0, true)]);

    let mut task = Scheduler::task(&offer, "cheap", "sleep 1000");
    task["resources"] = json!([revocable("cpus", 0.5), revocable("mem", 64.0)]);
    aware.launch(&offer, &[task]).await;
    aware.wait_state("cheap", "TASK_RUNNING").await;
    let offer = aware.offer().await;
    assert_eq!(kinds(&offer), [("cpus".to_owned(), 1.5, true), ("mem".to_owned(), 448.0, true)]);
    let listed = ask(&cluster, &format!("http://{master}/slaves"), None).await;
    let (total, used) = (&listed["slaves"][0]["resources"], &listed["slaves"][0]["used_resources"]);
    assert_eq!((&total["cpus"], &total["cpus_revocable"]), (&json!(1.0), &json!(2.0)), "{total}");
    assert_eq!((&used["cpus"], &used["cpus_revocable"]), (&json!(0.0), &json!(0.5)), "{used}");
    let own = ask(&cluster, &format!("http://{}/state", cluster.agent_addresses[0]), None).await;
    let total = &own["resources"];
    assert_eq!((&total["cpus"], &total["cpus_revocable"]), (&json!(1.0), &json!(2.0)), "{total}");

    let metrics = format!("http://{}/metrics/snapshot", cluster.agent_addresses[0]);
    let metrics = ask(&cluster, &metrics, None).await;
    let shares = ["slave/cpus_percent", "slave/cpus_revocable_percent"].map(|name| metrics[name].clone());
    assert_eq!(shares, [json!(0.0), json!(0.25)]);

    let kill = json!({ "task_id": { "value": "cheap" } });
    aware.call(json!({ "type": "KILL", "kill": kill })).await;
    assert_eq!(aware.end_of("cheap").await["state"], "TASK_KILLED");
}
