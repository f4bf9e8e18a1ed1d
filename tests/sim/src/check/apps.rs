//! What runs of each app, beside what its user said last.

use std::collections::{BTreeMap, BTreeSet};

use marathon::core::id::{AppId, of_task};

use super::Findings;

/// What is promised.
pub const PROMISE: &str =
    "when all is well an app runs as many instances as were asked for last, of the newest definition";

/// A task that runs somewhere.
#[derive(Debug)]
struct Running {
    app: AppId,
    command: String,
    /// It does what it is there for.
    serves: bool,
}

/// Wishes and truth.
#[derive(Debug, Default)]
pub struct Apps {
    wanted: BTreeMap<AppId, (usize, String)>,
    running: BTreeMap<String, Running>,
    /// What was seen.
    pub findings: Findings,
}

impl Apps {
    /// A user's last word on an app was taken: so many instances that execute this.
    pub fn wanted(&mut self, app: &AppId, instances: usize, command: String) {
        self.wanted.insert(app.clone(), (instances, command));
    }

    /// A look at all machines begins.
    pub fn begin(&mut self) {
        self.running.clear();
    }

    /// A task runs. Those that belong to no app are none of its business.
    pub fn runs(&mut self, task: &str, command: &str, serves: bool) {
        if let Some(app) = of_task(task).and_then(|(instance, _)| instance.app()) {
            self.running.insert(task.to_owned(), Running { app, command: command.to_owned(), serves });
        }
    }

    /// Where truth and wishes differ.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (app, (instances, command)) in &self.wanted {
            let (new, old): (Vec<&Running>, Vec<&Running>) = self
                .running
                .values()
                .filter(|task| task.app == *app)
                .partition(|task| task.command == *command);
            if new.len() != *instances || !old.is_empty() {
                missing.push(format!(
                    "{app} runs {} instances of '{command}' and {} others, {instances} are wanted",
                    new.len(),
                    old.len()
                ));
            }
        }
        missing
    }

    /// Where what serves and what is routed differ.
    pub fn unrouted<'a>(&self, routed: impl Iterator<Item = &'a str>) -> Vec<String> {
        let routed: BTreeSet<&str> = routed.collect();
        let serving = self.running.iter().filter(|(_, task)| task.serves);
        let serving: BTreeSet<&str> = serving.map(|(task, _)| task.as_str()).collect();
        let mut missing = Vec::new();
        if let Some(task) = serving.difference(&routed).next() {
            missing.push(format!("does not lead to {task}"));
        }
        if let Some(task) = routed.difference(&serving).next() {
            missing.push(format!("leads to {task}, which does not serve"));
        }
        missing
    }

    /// All has come to rest, or should have.
    pub fn conclude(&mut self) {
        let missing = self.missing();
        self.findings.looks += self.wanted.len() as u64;
        for text in missing {
            self.findings.wrong(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serves_is_led_to_and_what_only_runs_is_not() {
        let app = AppId::parse("/shop", &AppId::root()).expect("lawful");
        let task = |number: u32| {
            let id = format!("00000000-0000-0000-0000-00000000000{number}");
            marathon::core::id::InstanceId::new(&app, &id).task(1).to_string()
        };
        let (well, ill) = (task(1), task(2));
        let mut apps = Apps::default();
        apps.runs(&well, "serve", true);
        apps.runs(&ill, "serve", false);
        assert!(apps.unrouted([well.as_str()].into_iter()).is_empty());
        assert!(!apps.unrouted([well.as_str(), ill.as_str()].into_iter()).is_empty());
        assert!(!apps.unrouted([].into_iter()).is_empty());
    }
}
