//! Changes of apps that their user was told are made.

use std::collections::BTreeMap;

use marathon::core::id::AppId;
use marathon::core::version::Version;
use marathon::supervisor::message::{Command, Reply};
use marathon::supervisor::state::State;

use super::Findings;
use crate::net::ConnId;

/// What is promised.
pub const PROMISE: &str =
    "an acknowledged change of an app is in what every later leader shows, until another takes its place";

/// What a change makes of an app.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Deleted,
    /// So many instances that execute this.
    Defined {
        command: Option<String>,
        instances: i64,
    },
    /// The same anew, in this version.
    Restarted(Version),
}

/// A change that a leader has decided on.
#[derive(Debug)]
struct Change {
    /// By which the leader leads.
    token: u64,
    /// On which its caller waits.
    conn: ConnId,
    outcome: Outcome,
    acknowledged: bool,
}

/// All that may be seen of each app.
#[derive(Debug, Default)]
pub struct Changes {
    /// The last change of each app that was acknowledged, and those decided on after it.
    apps: BTreeMap<AppId, Vec<Change>>,
    /// The newest leader that has shown what is stored.
    token: u64,
    /// What was seen.
    pub findings: Findings,
}

impl Changes {
    /// The leader of this token has taken a call, and will answer it when it is stored.
    pub fn decided(&mut self, token: u64, conn: ConnId, command: &Command, reply: &Reply) {
        let (app, outcome) = match (command, reply) {
            (Command::Delete { app, .. }, _) => (app, Outcome::Deleted),
            (Command::Update { app, document, .. }, _) => {
                let (command, instances) = (document.cmd.clone(), document.instances.unwrap_or_default());
                (app, Outcome::Defined { command, instances })
            }
            (Command::Restart { app, .. }, Reply::Deployed { version, .. }) => {
                (app, Outcome::Restarted(*version))
            }
            _ => return,
        };
        let changes = self.apps.entry(app.clone()).or_default();
        // One that was leader before may yet take calls, which take effect before its successor's or not at all.
        let place = changes.partition_point(|change| change.token <= token);
        changes.insert(place, Change { token, conn, outcome, acknowledged: false });
    }

    /// The caller is told that its change is made.
    pub fn acknowledged(&mut self, conn: ConnId) {
        for changes in self.apps.values_mut() {
            if let Some(at) = changes.iter().position(|change| change.conn == conn) {
                changes[at].acknowledged = true;
                changes.drain(..at);
            }
        }
    }

    /// The leader of this token shows what is stored. One that was leader before may say so late.
    pub fn viewed(&mut self, token: u64, view: &State) {
        if token < self.token {
            return;
        }
        self.token = token;
        for (app, changes) in &self.apps {
            let Some(last) = changes.iter().rposition(|change| change.acknowledged) else { continue };
            let is = view.definition(app);
            let fits = |change: &Change| match (&change.outcome, is) {
                (Outcome::Deleted, is) => is.is_none(),
                (Outcome::Defined { command, instances }, Some(is)) => {
                    is.cmd == *command && i64::from(is.instances) == *instances
                }
                (Outcome::Restarted(version), Some(is)) => is.version == *version,
                (_, None) => false,
            };
            self.findings.look(changes[last..].iter().any(fits), || {
                let is = is.map(|is| (&is.cmd, is.instances, is.version));
                format!("the leader of token {token} has {app} as {is:?}, after {changes:?}")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use marathon::core::app::AppDefinition;
    use marathon::core::id::DeploymentId;
    use marathon::supervisor::message::UpdateOptions;
    use marathon::supervisor::state::App;
    use model::time::Time;
    use wire::marathon::App as Document;

    use super::*;

    fn shop() -> AppId {
        AppId::parse("/shop", &AppId::root()).expect("lawful")
    }

    /// What is stored when the shop runs this, in this version.
    fn stored(command: &str, at: u64) -> State {
        let version = Version(Time::from_millis(at));
        let mut definition = AppDefinition::with_defaults(shop(), "apps");
        (definition.cmd, definition.instances, definition.version) = (Some(command.to_owned()), 1, version);
        let app = App {
            id: shop(),
            current: Some(version),
            versions: BTreeMap::from([(version, Arc::new(definition))]),
            last_failure: None,
            damaged: false,
        };
        let mut state = State::default();
        state.apps.insert(shop(), Arc::new(app));
        state
    }

    fn put(command: &str) -> Command {
        let cmd = Some(command.to_owned());
        let document = Box::new(Document { cmd, instances: Some(1), ..Document::default() });
        Command::Update {
            app: shop(),
            document,
            options: UpdateOptions { force: true, partial: true, create: true },
        }
    }

    fn deployed(at: u64) -> Reply {
        let version = Version(Time::from_millis(at));
        Reply::Deployed { version, deployment: DeploymentId::from("d"), created: false }
    }

    /// The first change was acknowledged by a leader, and the second is under way.
    fn history() -> Changes {
        let mut changes = Changes::default();
        changes.decided(1, ConnId(1), &put("one"), &deployed(1));
        changes.acknowledged(ConnId(1));
        changes.decided(1, ConnId(2), &put("two"), &deployed(2));
        changes
    }

    fn lawful(mut changes: Changes, token: u64, view: &State) -> bool {
        changes.viewed(token, view);
        changes.findings.wrong.is_empty()
    }

    #[test]
    fn what_was_acknowledged_is_missed_and_what_was_not_may_be_there_or_not() {
        assert!(lawful(history(), 2, &stored("one", 1)));
        assert!(lawful(history(), 2, &stored("two", 2)));
        assert!(!lawful(history(), 2, &State::default()), "the app is not there");
        let mut changes = history();
        changes.acknowledged(ConnId(2));
        assert!(!lawful(changes, 2, &stored("one", 1)), "the second change is lost");
    }

    #[test]
    fn a_deletion_and_a_restart_can_be_lost_as_well() {
        let mut changes = history();
        changes.decided(1, ConnId(3), &Command::Delete { app: shop(), force: true }, &deployed(3));
        changes.acknowledged(ConnId(3));
        assert!(!lawful(changes, 2, &stored("two", 2)));
        let mut changes = history();
        changes.decided(1, ConnId(3), &Command::Restart { app: shop(), force: true }, &deployed(3));
        changes.acknowledged(ConnId(3));
        assert!(!lawful(changes, 2, &stored("two", 2)));
    }

    #[test]
    fn what_a_deposed_leader_decides_counts_before_what_its_successor_has_acknowledged() {
        let mut changes = history();
        changes.decided(2, ConnId(3), &put("three"), &deployed(3));
        changes.acknowledged(ConnId(3));
        changes.decided(1, ConnId(4), &put("four"), &deployed(4));
        assert!(!lawful(changes, 2, &stored("four", 4)));
        assert!(lawful(history(), 0, &stored("two", 2)), "an older leader's view is of no interest");
    }
}
