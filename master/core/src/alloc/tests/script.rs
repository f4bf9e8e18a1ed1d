//! A small language for transcripts. Each command prints what came of it; offers are named `o1, o2, ...` and what is
//! launched of them `t1, t2, ...`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use model::id::{AgentId, FrameworkId};
use model::resources::{Bag, Quantities};
use model::role::Role;
use model::time::{Span, Time};

use super::super::{
    AgentFacts, Allocator, FrameworkChange, Grant, Held, Minimum, Misuse, PolicyChange, Quota,
};
use crate::profile::Capabilities;

#[derive(Default)]
struct Stage {
    allocator: Allocator,
    now: Time,
    offers: BTreeMap<String, Grant>,
    tasks: BTreeMap<String, (AgentId, Held)>,
    said: String,
}

pub(super) fn play(script: &str) -> String {
    let mut stage = Stage::default();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(stage.said, "> {line}").unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        stage.command(words[0], &words[1..]);
        stage.allocator.check();
    }
    stage.said
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn bag(text: &str) -> Bag {
    Bag::parse(text).unwrap()
}

fn roles<'a>(words: impl IntoIterator<Item = &'a &'a str>) -> BTreeSet<Role> {
    words.into_iter().map(|word| role(word)).collect()
}

fn capabilities(words: &[&str]) -> Capabilities {
    let has = |name: &str| words.contains(&name);
    Capabilities {
        gpu: has("+gpu"),
        region_aware: has("+region_aware"),
        revocable: has("+revocable"),
        refinement: has("+refinement"),
        ..Capabilities::default()
    }
}

/// `>cpus:2` after a role asks for offers of at least so much in it; a bare `>` for any crumb.
fn minimums(words: &[&str]) -> BTreeMap<Role, Minimum> {
    let mut minimums = BTreeMap::new();
    for pair in words.windows(2) {
        if let Some(text) = pair[1].strip_prefix('>') {
            let amounts: Vec<_> =
                bag(text).iter().map(|item| (item.name().clone(), item.value().quantity())).collect();
            let sets = if amounts.is_empty() { vec![] } else { vec![amounts] };
            minimums.insert(role(pair[0]), Minimum(sets));
        }
    }
    minimums
}

impl Stage {
    fn command(&mut self, verb: &str, words: &[&str]) {
        match (verb, words) {
            ("agent", [id, total, rest @ ..]) => self.agent(id, total, rest),
            ("down", [id]) => self.allocator.agent_down(&(*id).into()),
            ("active", [id, active]) => {
                let result = self.allocator.agent_active(&(*id).into(), active.parse().unwrap());
                self.result(result);
            }
            ("total", [id, total]) => {
                let result = self.allocator.agent_total(&(*id).into(), bag(total));
                self.result(result);
            }
            ("subscribe", [id, rest @ ..]) => {
                let change = FrameworkChange::Subscribed {
                    roles: roles(rest.iter().filter(|word| !word.starts_with(['+', '>']))),
                    suppressed: Default::default(),
                    capabilities: capabilities(rest),
                    minimums: minimums(rest),
                    constraints: Default::default(),
                };
                self.allocator.framework(&(*id).into(), change);
            }
            ("suppress", [id, rest @ ..]) => {
                self.allocator.framework(&(*id).into(), FrameworkChange::Suppress(roles(rest)));
            }
            ("revive", [id, rest @ ..]) => {
                self.allocator.framework(&(*id).into(), FrameworkChange::Revive(roles(rest)));
            }
            ("disconnect", [id]) => self.allocator.framework(&(*id).into(), FrameworkChange::Disconnected),
            ("weight", [name, weight]) => {
                let thousandths = weight.parse().unwrap();
                self.allocator.policy(PolicyChange::Weight { role: role(name), thousandths });
            }
            ("quotas", rest) => {
                let amounts = |text: &str| Quantities::of_bag(&bag(text), |_| true);
                let quota = |words: &[&str]| {
                    let part = |mark| words.iter().find_map(|word| word.strip_prefix(mark));
                    let guarantees = amounts(part('>').unwrap_or_default());
                    (role(words[0]), Quota { guarantees, limits: amounts(part('<').unwrap_or_default()) })
                };
                let all = rest.split(|word| *word == "and").filter(|words| !words.is_empty()).map(quota);
                self.allocator.policy(PolicyChange::Quotas(all.collect()));
            }
            ("at", [millis]) => self.now = Time::from_millis(millis.parse().unwrap()),
            ("run", rest) => self.run(rest.first().map_or(usize::MAX, |budget| budget.parse().unwrap())),
            ("decline", [offer, refuse]) => self.decline(offer, refuse),
            ("lapse", [offer, pause]) => {
                let Grant { framework, role, agent, resources } = self.offers[*offer].clone();
                let pause = Span::from_millis(pause.parse().unwrap());
                let result = self.allocator.lapsed(self.now, &agent, &framework, &role, &resources, pause);
                self.result(result);
            }
            ("answered", [id]) => self.allocator.framework(&(*id).into(), FrameworkChange::Answered),
            ("order", []) => self.order(),
            ("launch", [offer, resources]) => self.launch(offer, bag(resources)),
            ("free", [task]) => {
                let (agent, held) = self.tasks.remove(*task).unwrap();
                let result = self.allocator.freed(&agent, &held.framework, &held.role, &held.resources);
                self.result(result);
            }
            ("why", [id, name, agent]) => {
                let why = self.allocator.why_agent(&(*id).into(), &role(name), &(*agent).into());
                writeln!(self.said, "{why:?}").unwrap();
            }
            ("why", [id, name]) => {
                let why = self.allocator.why(&(*id).into(), &role(name));
                writeln!(self.said, "{why:?}").unwrap();
            }
            _ => panic!("no such command: {verb} {words:?}"),
        }
    }

    fn agent(&mut self, id: &str, total: &str, rest: &[&str]) {
        let facts = AgentFacts {
            total: bag(total),
            active: true,
            remote: rest.contains(&"remote"),
            ..AgentFacts::default()
        };
        let mut used = Vec::new();
        for words in rest.windows(4).filter(|words| words[0] == "used") {
            let held = Held { framework: words[1].into(), role: role(words[2]), resources: bag(words[3]) };
            self.tasks.insert(format!("t{}", self.tasks.len() + 1), (id.into(), held.clone()));
            used.push(held);
        }
        self.allocator.agent_up(id.into(), facts, used);
    }

    fn run(&mut self, budget: usize) {
        for grant in self.allocator.run(self.now, budget) {
            let name = format!("o{}", self.offers.len() + 1);
            let Grant { framework, role, agent, resources } = &grant;
            writeln!(self.said, "{name}: {framework} {role} {agent} {resources}").unwrap();
            self.offers.insert(name, grant);
        }
        match self.allocator.next_deadline() {
            Some(Time::ZERO) => self.said.push_str("more to do\n"),
            Some(time) => writeln!(self.said, "next at {}", time.as_millis()).unwrap(),
            None => {}
        }
    }

    /// Who waits, in the order in which they are asked.
    fn order(&mut self) {
        let mut places: Vec<(usize, String)> = Vec::new();
        let ids: BTreeSet<FrameworkId> = self.allocator.tallies().map(|(id, ..)| id.clone()).collect();
        for id in ids {
            for account in self.allocator.accounts(&id, None, None, 0) {
                let Some(ahead) = account.ahead else { continue };
                places.push((ahead, format!("{id} {} {}", account.role, account.standing.word())));
            }
        }
        places.sort();
        for (_, line) in places {
            writeln!(self.said, "{line}").unwrap();
        }
    }

    fn decline(&mut self, offer: &str, refuse: &str) {
        let refuse = refuse.parse().ok().map(Span::from_millis);
        let Grant { framework, role, agent, resources } = self.offers[offer].clone();
        let result = self.allocator.returned(self.now, &agent, &framework, &role, &resources, refuse);
        self.result(result);
    }

    fn launch(&mut self, offer: &str, resources: Bag) {
        let grant = self.offers.get_mut(offer).unwrap();
        let Grant { framework, role, agent, .. } = grant.clone();
        let result = self.allocator.launched(&agent, &framework, &role, &resources);
        if result.is_ok() {
            grant.resources.remove(&resources);
            let held = Held { framework, role, resources };
            self.tasks.insert(format!("t{}", self.tasks.len() + 1), (agent, held));
        }
        self.result(result);
    }

    fn result(&mut self, result: Result<(), Misuse>) {
        if let Err(misuse) = result {
            writeln!(self.said, "{misuse}").unwrap();
        }
    }
}
