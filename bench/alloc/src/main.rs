//! Measurements of the allocator alone: no network, no encoding, no other part of the master; and one through the
//! master's core, up to an offer's bytes. One JSON line each.

mod cluster;
mod master;

use std::hint::black_box;
use std::time::Instant;

use cluster::{Cluster, Shape};
use master_core::alloc::{FrameworkChange, PolicyChange, Quota};
use model::resources::{Bag, Quantities};
use model::time::{Span, Time};

/// Repetitions of each measurement, after one that warms up.
const ROUNDS: usize = 15;

fn main() {
    let wide = Shape { agents: 10_000, frameworks: 100, roles: 10 };
    full_pass("full_pass", wide);
    full_pass("full_pass_one_role", Shape { agents: 20_000, frameworks: 2_000, roles: 1 });
    full_pass_with_quotas(wide);
    one_agent(wide);
    one_agent_at_a_limit(wide);
    one_agent_refused_by_all(wide);
    all_refused(wide);
    revived(wide);
    offer_after_free(wide);
}

/// All agents are free; one run gives each of them to somebody. The floor is the least such a run can do: copy each
/// agent's free resources once and name its new holder.
fn full_pass(name: &str, shape: Shape) {
    let mut cluster = Cluster::new(shape);
    let mut runs = Vec::new();
    let mut floors = Vec::new();
    for _ in 0..=ROUNDS {
        let start = Instant::now();
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert_eq!(grants.len(), shape.agents);
        let start = Instant::now();
        black_box(grants.clone());
        floors.push(start.elapsed().as_secs_f64());
        cluster.give_back(&grants, None);
    }
    report(name, shape, runs, Some(floors));
}

fn amounts(text: &str) -> Quantities {
    Quantities::of_bag(&Bag::parse(text).expect("a text of this program"), |_| true)
}

/// The full pass with a promise and a limit for every role, none of which binds: what counting costs.
fn full_pass_with_quotas(shape: Shape) {
    let mut cluster = Cluster::new(shape);
    let quota = Quota {
        guarantees: amounts("cpus:2400;mem:6553600"),
        limits: amounts("cpus:2400000;mem:6553600000"),
    };
    let quotas =
        (0..shape.roles).map(|n| (format!("role{n}").parse().expect("a lawful name"), quota.clone()));
    cluster.allocator.policy(PolicyChange::Quotas(quotas.collect()));
    let mut runs = Vec::new();
    for _ in 0..=ROUNDS {
        let start = Instant::now();
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert_eq!(grants.len(), shape.agents);
        cluster.give_back(&grants, None);
    }
    report("full_pass_with_quotas", shape, runs, None);
}

/// Every role is at its limit and most agents are free. A task ends, and as much is offered again.
fn one_agent_at_a_limit(shape: Shape) {
    let mut cluster = Cluster::new(shape);
    let part = format!("cpus:{};mem:6553600;disk:100000000", 24 * shape.agents / shape.roles / 10);
    let quota = Quota { guarantees: Quantities::new(), limits: amounts(&part) };
    let quotas =
        (0..shape.roles).map(|n| (format!("role{n}").parse().expect("a lawful name"), quota.clone()));
    cluster.allocator.policy(PolicyChange::Quotas(quotas.collect()));
    for grant in cluster.allocator.run(cluster.now, usize::MAX) {
        cluster
            .allocator
            .launched(&grant.agent, &grant.framework, &grant.role, &grant.resources)
            .expect("it is offered");
        cluster.tasks.push(grant);
    }
    let mut runs = Vec::new();
    for round in 0..=ROUNDS * 100 {
        let held = cluster.task(round);
        let at = round % cluster.tasks.len();
        let start = Instant::now();
        cluster
            .allocator
            .freed(&held.agent, &held.framework, &held.role, &held.resources)
            .expect("it is used");
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert!(!grants.is_empty());
        cluster.tasks.swap_remove(at);
        for grant in grants {
            cluster
                .allocator
                .launched(&grant.agent, &grant.framework, &grant.role, &grant.resources)
                .expect("it is offered");
            cluster.tasks.push(grant);
        }
    }
    report("one_agent_at_a_limit", shape, runs, None);
}

/// All agents are used up. A task's last update arrives at the master, and the offer of what it leaves is written.
fn offer_after_free(shape: Shape) {
    let mut busy = master::Busy::new(shape);
    let runs = (0..=ROUNDS * 100).map(|round| busy.end_one(round).as_secs_f64()).collect();
    report("offer_after_free", shape, runs, None);
}

/// All agents are used up but for a rest too small to offer. A task ends somewhere, and what it used is offered.
fn one_agent(shape: Shape) {
    let mut cluster = Cluster::used_up(shape);
    let mut runs = Vec::new();
    for round in 0..=ROUNDS * 100 {
        let held = cluster.task(round);
        let start = Instant::now();
        cluster
            .allocator
            .freed(&held.agent, &held.framework, &held.role, &held.resources)
            .expect("it is used");
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert_eq!(grants.len(), 1);
        let grant = &grants[0];
        cluster
            .allocator
            .launched(&grant.agent, &grant.framework, &grant.role, &grant.resources)
            .expect("it is offered");
        cluster.tasks[round % shape.agents] = grant.clone();
    }
    report("one_agent", shape, runs, None);
}

/// The same when every framework has refused that agent, so that all of them are asked in vain: the dearest case.
fn one_agent_refused_by_all(shape: Shape) {
    let mut cluster = Cluster::new(shape);
    cluster.refuse_everything();
    let mut runs = Vec::new();
    for round in 0..=ROUNDS * 100 {
        let agent = cluster.agent(round);
        let start = Instant::now();
        cluster.allocator.agent_active(&agent, true).expect("the agent is known");
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert!(grants.is_empty());
    }
    report("one_agent_refused_by_all", shape, runs, None);
}

/// A pass over all agents, each refused by every framework.
fn all_refused(shape: Shape) {
    let mut cluster = Cluster::new(shape);
    cluster.refuse_everything();
    let mut runs = Vec::new();
    for _ in 0..=ROUNDS {
        for n in 0..shape.agents {
            let agent = cluster.agent(n);
            cluster.allocator.agent_active(&agent, true).expect("the agent is known");
        }
        let start = Instant::now();
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert!(grants.is_empty());
    }
    report("all_refused", shape, runs, None);
}

/// Everybody refused everything; one framework revives and is offered all agents.
fn revived(shape: Shape) {
    let mut cluster = Cluster::new(shape);
    cluster.refuse_everything();
    let mut runs = Vec::new();
    for round in 0..=ROUNDS {
        let framework = cluster.framework(round);
        let start = Instant::now();
        cluster.allocator.framework(&framework, FrameworkChange::Revive(Default::default()));
        let grants = cluster.allocator.run(cluster.now, usize::MAX);
        runs.push(start.elapsed().as_secs_f64());
        assert_eq!(grants.len(), shape.agents);
        cluster.give_back(&grants, Some(Span::from_days(1)));
        assert!(cluster.allocator.run(cluster.now, usize::MAX).is_empty());
        cluster.now += Span::from_millis(1);
        assert!(cluster.now < Time::from_secs(1));
    }
    report("revived", shape, runs, None);
}

/// Drops the round that warmed up, and prints the rest in milliseconds.
fn report(name: &str, shape: Shape, mut runs: Vec<f64>, floors: Option<Vec<f64>>) {
    let Shape { agents, frameworks, roles } = shape;
    let of = |times: &mut Vec<f64>, part: f64| {
        times.sort_by(f64::total_cmp);
        times[((times.len() - 1) as f64 * part) as usize] * 1000.0
    };
    runs.remove(0);
    let rounds = runs.len();
    let (p50, p99, max) = (of(&mut runs, 0.5), of(&mut runs, 0.99), of(&mut runs, 1.0));
    let floor = floors.map_or(String::new(), |mut floors| {
        floors.remove(0);
        format!(r#","floor_ms_p50":{:.3}"#, of(&mut floors, 0.5))
    });
    println!(
        r#"{{"bench":"alloc/{name}","agents":{agents},"frameworks":{frameworks},"roles":{roles},"rounds":{rounds},"ms_p50":{p50:.4},"ms_p99":{p99:.4},"ms_max":{max:.4}{floor}}}"#
    );
}
