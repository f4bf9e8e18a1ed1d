//! Small clusters in made-up time, always wanting more than there is: what roles have comes to be what their weights
//! and promises say, as fast as tasks end.

use std::collections::BTreeMap;

use model::resources::{Bag, Name, Quantities};
use model::role::Role;
use model::time::{Span, Time};
use proptest::prelude::*;

use super::super::{AgentFacts, Allocator, FrameworkChange, Grant, PolicyChange, Quota};
use crate::profile::Capabilities;

const AGENTS: u64 = 20;
const CPUS: u64 = 8;
const TICK: Span = Span::from_millis(100);
/// No task runs longer.
const LONGEST: Span = Span::from_secs(8);
/// What one tick frees and nobody has taken yet, with room for chance.
const SLACK: u64 = 12;

struct Cluster {
    allocator: Allocator,
    now: Time,
    tasks: Vec<(Time, Grant)>,
    /// The state of a generator of the simplest kind.
    random: u64,
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn bag(text: &str) -> Bag {
    Bag::parse(text).unwrap()
}

impl Cluster {
    fn new(random: u64) -> Self {
        let mut allocator = Allocator::default();
        for n in 0..AGENTS {
            let facts = AgentFacts {
                total: bag(&format!("cpus:{CPUS};mem:{}", CPUS * 100)),
                active: true,
                ..AgentFacts::default()
            };
            allocator.agent_up(format!("a{n}").into(), facts, []);
        }
        Self { allocator, now: Time::ZERO, tasks: Vec::new(), random: random | 1 }
    }

    /// A framework of its own in this role.
    fn join(&mut self, name: &str) {
        let change = FrameworkChange::Subscribed {
            roles: [role(name)].into(),
            suppressed: Default::default(),
            capabilities: Capabilities::default(),
            minimums: BTreeMap::new(),
            constraints: BTreeMap::new(),
        };
        self.allocator.framework(&format!("f-{name}").into(), change);
    }

    fn weigh(&mut self, name: &str, weight: u64) {
        let thousandths = weight * 1000;
        self.allocator.policy(PolicyChange::Weight { role: role(name), thousandths });
    }

    fn promise(&mut self, name: &str, cpus: u64) {
        let guarantees = Quantities::of_bag(&bag(&format!("cpus:{cpus};mem:{}", cpus * 100)), |_| true);
        let quota = Quota { guarantees, limits: Quantities::new() };
        self.allocator.policy(PolicyChange::Quotas([(role(name), quota)].into()));
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// What has ended is free, what is offered is filled with tasks of one cpu each, and the rest is declined.
    fn tick(&mut self) {
        self.now += TICK;
        let (ended, running) =
            std::mem::take(&mut self.tasks).into_iter().partition(|(end, _)| *end <= self.now);
        self.tasks = running;
        for (_, task) in ended {
            self.allocator.freed(&task.agent, &task.framework, &task.role, &task.resources).unwrap();
        }
        for mut grant in self.allocator.run(self.now, usize::MAX) {
            let one = bag("cpus:1;mem:100");
            while grant.resources.contains(&one) {
                self.allocator.launched(&grant.agent, &grant.framework, &grant.role, &one).unwrap();
                grant.resources.remove(&one);
                let lasts = Span::from_millis(500 + self.draw(LONGEST.as_millis() - 500));
                self.tasks.push((self.now + lasts, Grant { resources: one.clone(), ..grant.clone() }));
            }
            if !grant.resources.is_empty() {
                let Grant { framework, role, agent, resources } = grant;
                let refuse = Some(Span::from_secs(1));
                self.allocator.returned(self.now, &agent, &framework, &role, &resources, refuse).unwrap();
            }
        }
        self.allocator.check();
    }

    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            self.tick();
        }
    }

    /// Cpus in use by a role and those below it.
    fn has(&self, name: &str) -> u64 {
        let own = |grant: &Grant| grant.role == role(name) || role(name).is_ancestor_of(&grant.role);
        let used = self.tasks.iter().filter(|(_, grant)| own(grant));
        used.map(|(_, grant)| grant.resources.cpus().thousandths().unsigned_abs() / 1000).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One role has everything when the others come. Once its tasks have ended, each has what its weight says.
    #[test]
    fn shares_come_to_be_what_weights_say(random in any::<u64>(), weights in proptest::array::uniform3(1u64..5)) {
        let names = ["a", "b", "c"];
        let mut cluster = Cluster::new(random);
        for (name, weight) in names.iter().zip(weights) {
            cluster.weigh(name, weight);
        }
        cluster.join("a");
        cluster.pass(Span::from_secs(1));
        prop_assert_eq!(cluster.has("a"), AGENTS * CPUS);
        cluster.join("b");
        cluster.join("c");
        cluster.pass(LONGEST);
        for _ in 0..20 {
            cluster.tick();
            for (name, weight) in names.iter().zip(weights) {
                let fair = AGENTS * CPUS * weight / weights.iter().sum::<u64>();
                let has = cluster.has(name);
                prop_assert!(has.abs_diff(fair) <= SLACK, "{name} has {has} of {fair}");
            }
        }
    }

    /// Weights below a role divide what the role has, not what others have.
    #[test]
    fn weights_within_a_role_divide_its_own_share(random in any::<u64>(), weight in 1u64..5) {
        let mut cluster = Cluster::new(random);
        cluster.weigh("a/x", weight);
        for name in ["a/x", "a/y", "b"] {
            cluster.join(name);
        }
        cluster.pass(LONGEST + LONGEST);
        let half = AGENTS * CPUS / 2;
        prop_assert!(cluster.has("b").abs_diff(half) <= SLACK, "b has {}", cluster.has("b"));
        let fair = half * weight / (weight + 1);
        prop_assert!(cluster.has("a/x").abs_diff(fair) <= SLACK, "a/x has {} of {fair}", cluster.has("a/x"));
    }

    /// Others have everything, and weigh a hundred times as much, when a role is promised some of it. As soon as
    /// their tasks have ended it is there for it, whenever it comes, and all of it, in whatever role below it.
    #[test]
    fn a_guarantee_is_honoured_once_others_tasks_have_ended(
        random in any::<u64>(),
        promised in 1u64..=AGENTS * CPUS,
        late in 0u64..120,
        below in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(random);
        for name in ["b", "c"] {
            cluster.weigh(name, 100);
            cluster.join(name);
        }
        cluster.pass(Span::from_secs(2));
        prop_assert_eq!(cluster.has("b") + cluster.has("c"), AGENTS * CPUS);
        cluster.promise("a", promised);
        cluster.pass(Span::from_millis(late * 100));
        cluster.join(if below { "a/x" } else { "a" });
        let rest = LONGEST.as_millis().saturating_sub(late * 100);
        cluster.pass(Span::from_millis(rest) + TICK + TICK);
        let cpus = cluster.has("a");
        prop_assert!(cpus >= promised, "a has {cpus} of {promised}");
        for _ in 0..20 {
            cluster.tick();
            let free: u64 = (0..AGENTS)
                .filter_map(|n| cluster.allocator.free(&format!("a{n}").into()))
                .map(|free| free.scalar(&Name::Cpus).thousandths().unsigned_abs() / 1000)
                .sum();
            prop_assert!(cluster.has("a") + free >= promised, "what ends is kept for a");
        }
    }
}
