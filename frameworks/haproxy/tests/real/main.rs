//! The sidecar against a real HAProxy, with a supervisor and instances that only pretend.

mod instance;
mod load;
mod sidecar;
mod supervisor;

use std::time::Duration;

use instance::Instance;
use load::Load;
use serde_json::json;
use sidecar::{Sidecar, eventually};
use supervisor::Supervisor;

/// A supervisor with one app of so many healthy instances, and a sidecar that routes to them.
async fn cluster(instances: usize) -> (Supervisor, Vec<Instance>, Sidecar, u16) {
    let supervisor = Supervisor::start().await;
    let port = ports::free();
    let mut running = Vec::new();
    for number in 0..instances {
        running.push(Instance::start(&format!("web.{number}")).await);
    }
    supervisor.put_app("/web", port, json!({}), &running);
    let sidecar = Sidecar::start(&supervisor).await;
    for instance in &running {
        sidecar.until_routed(port, instance.name()).await;
    }
    (supervisor, running, sidecar, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_come_and_go_without_a_reload() {
    let (supervisor, mut running, sidecar, port) = cluster(1).await;
    let worker = sidecar.workers().await;

    let second = Instance::start("web.1").await;
    supervisor.running("/web", &second);
    supervisor.health("/web", &second, true);
    sidecar.until_routed(port, "web.1").await;

    supervisor.health("/web", &second, false);
    sidecar.until_only(port, &["web.0"]).await;
    supervisor.health("/web", &second, true);
    sidecar.until_routed(port, "web.1").await;

    supervisor.ended("/web", &running[0]);
    sidecar.until_only(port, &["web.1"]).await;
    running.remove(0).kill();

    // With the last one gone clients are told at once rather than refused.
    supervisor.ended("/web", &second);
    sidecar.until_status(port, 503).await;
    assert_eq!(sidecar.workers().await, worker, "HAProxy was not reloaded");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_replacement_under_load_fails_no_request() {
    let (supervisor, running, sidecar, port) = cluster(3).await;
    let load = Load::start(port);
    for (round, old) in running.into_iter().enumerate() {
        let new = Instance::start(&format!("web.new.{round}")).await;
        supervisor.running("/web", &new);
        supervisor.health("/web", &new, true);
        sidecar.until_routed(port, new.name()).await;
        supervisor.drain("/web", &old);
        supervisor.until_acknowledged(old.name()).await;
        supervisor.ended("/web", &old);
        old.kill();
        load.more(200).await;
        supervisor.keep(new);
    }
    let (requests, failures) = load.end().await;
    assert!(requests > 600, "{requests} requests");
    assert_eq!(failures, Vec::<String>::new(), "of {requests} requests");
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_the_request_under_way() {
    let (supervisor, running, sidecar, port) = cluster(2).await;
    let slow = &running[0];
    let request = load::slow_request(port, slow).await;
    supervisor.drain("/web", slow);
    sidecar.until_only(port, &["web.1"]).await;
    assert!(!supervisor.is_acknowledged("web.0"), "a request is still under way");
    slow.release();
    assert_eq!(request.await.unwrap(), "web.0");
    supervisor.until_acknowledged("web.0").await;
    sidecar.stop().await;
}

/// A reload hands new connections to a new worker. The request under way is the old one's, and counts all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_the_requests_of_an_older_worker() {
    let (supervisor, running, sidecar, port) = cluster(2).await;
    let slow = &running[0];
    let request = load::slow_request(port, slow).await;
    let another = ports::free();
    supervisor.put_app("/another", another, json!({}), &running[1..]);
    supervisor.posted("/another");
    sidecar.until_routed(another, "web.1").await;
    supervisor.drain("/web", slow);
    sidecar.until_only(port, &["web.1"]).await;
    // An instance that nobody is connected to is acknowledged meanwhile, so there was time for the other.
    supervisor.drain("/another", &running[1]);
    supervisor.until_acknowledged("web.1").await;
    assert!(!supervisor.is_acknowledged("web.0"), "a request is still under way");
    slow.release();
    assert_eq!(request.await.unwrap(), "web.0");
    supervisor.until_acknowledged("web.0").await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_feed_everything_goes_on() {
    let (supervisor, running, sidecar, port) = cluster(2).await;
    let workers = sidecar.workers().await;
    supervisor.set_down(true);
    sidecar.until_feed(false).await;
    sidecar.until_routed(port, "web.0").await;

    // Another sidecar on the same directory finds the HAProxy of the first and leaves it as it is.
    let sidecar = sidecar.restart(&supervisor).await;
    assert_eq!(sidecar.workers().await, workers);
    sidecar.until_routed(port, "web.1").await;

    // A HAProxy that dies is started again with the last good state.
    sidecar.kill_haproxy().await;
    sidecar.until_routed(port, "web.0").await;
    sidecar.until_routed(port, "web.1").await;
    assert_ne!(sidecar.workers().await, workers);

    // And when the feed is back, what happened meanwhile is caught up with.
    supervisor.remove_task("/web", &running[0]);
    supervisor.set_down(false);
    sidecar.until_only(port, &["web.1"]).await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_is_not_believed_at_once() {
    let (supervisor, _running, sidecar, port) = cluster(2).await;
    supervisor.clear();
    let lists = supervisor.lists();
    sidecar.refresh().await;
    eventually("another list", || async { supervisor.lists() > lists }).await;
    sidecar.until_metric("stoa_haproxy_held_lists", 1).await;
    sidecar.until_routed(port, "web.0").await;
    // The second list some seconds later says the same.
    sidecar.until_refused(port).await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_one_app_leaves_the_others_alone() {
    let (supervisor, mut running, sidecar, port) = cluster(1).await;
    running.push(Instance::start("bad.0").await);
    let (evil, taken, no_certificate) = (ports::free(), ports::free(), ports::free());
    let holder = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let labels = json!({
        "HAPROXY_0_MODE": "http\nlisten evil\n    bind :1",
        "HAPROXY_0_BACKEND_HTTP_OPTIONS": "garbage",
        "HAPROXY_0_BALANCE": "leastconn"
    });
    supervisor.put_app("/evil", evil, labels, &running[1..]);
    supervisor.put_app("/taken", taken, json!({}), &running[1..]);
    let labels = json!({ "HAPROXY_0_SSL_CERT": "/nowhere/cert.pem" });
    supervisor.put_app("/tls", no_certificate, labels, &running[1..]);
    supervisor.posted("/evil");
    sidecar.refresh().await;
    sidecar.until_routed(evil, "bad.0").await;
    sidecar.until_routed(port, "web.0").await;

    sidecar.until_rejected(&format!("taken_{taken}"), "another program listens there").await;
    sidecar.until_rejected(&format!("tls_{no_certificate}"), "/nowhere/cert.pem").await;
    let health = sidecar.health().await;
    assert_eq!(health["problems"]["/evil"].as_array().unwrap().len(), 2, "{health:#}");

    // Another version of an app that cannot be loaded is no reason to reload either.
    let reloads = sidecar.metric("stoa_haproxy_reloads_total").await;
    supervisor.put_app("/taken", taken, json!({ "HAPROXY_0_BALANCE": "first" }), &running[1..]);
    supervisor.posted("/taken");
    let lists = supervisor.lists();
    sidecar.refresh().await;
    eventually("another list", || async { supervisor.lists() > lists }).await;
    sidecar.until_rejected(&format!("taken_{taken}"), "another program listens there").await;
    assert_eq!(sidecar.metric("stoa_haproxy_reloads_total").await, reloads);

    // The port becomes free, and is tried again by and by; a change of the app is tried at once.
    drop(holder);
    let labels = json!({ "HAPROXY_0_BALANCE": "leastconn" });
    supervisor.put_app("/taken", taken, labels, &running[1..]);
    supervisor.posted("/taken");
    sidecar.until_routed(taken, "bad.0").await;
    sidecar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_names_and_paths_lead_to_their_apps() {
    let supervisor = Supervisor::start().await;
    let (shop, admin) = (Instance::start("shop").await, Instance::start("admin").await);
    let labels = json!({ "HAPROXY_0_VHOST": "shop.example" });
    supervisor.put_app("/shop", ports::free(), labels, std::slice::from_ref(&shop));
    let labels = json!({
        "HAPROXY_0_VHOST": "shop.example", "HAPROXY_0_PATH": "/admin",
        "HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH": "/admin"
    });
    supervisor.put_app("/admin", ports::free(), labels, std::slice::from_ref(&admin));
    let sidecar = Sidecar::start(&supervisor).await;
    sidecar.until_answer("http://shop.example/x", "shop /x").await;
    sidecar.until_answer("http://SHOP.example:80/admin/users", "admin /users").await;
    sidecar.until_answer("http://shop.example/users", "shop /users").await;
    sidecar.stop().await;
}

/// How long from the event "healthy" to the first server ready, and to the answer of the first request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthy_is_routed_within_milliseconds() {
    let (supervisor, _running, sidecar, port) = cluster(1).await;
    let mut waits = Vec::new();
    let client = reqwest::Client::new();
    for round in 0..100 {
        let name = format!("web.fast.{round}");
        let instance = Instance::start(&name).await;
        supervisor.running("/web", &instance);
        let began = std::time::Instant::now();
        supervisor.health("/web", &instance, true);
        instance.until_asked(&client, port).await;
        waits.push(began.elapsed());
        supervisor.ended("/web", &instance);
        sidecar.until_only(port, &["web.0"]).await;
    }
    waits.sort_unstable();
    println!(
        "healthy -> first request served: p50 {:?}, p99 {:?}, max {:?}",
        waits[50], waits[98], waits[99]
    );
    // A wait by design would be in each of them, what a busy machine does for a moment is not.
    assert!(waits[74] < Duration::from_millis(250), "{waits:?}");
    sidecar.stop().await;
}
