//! Which events of a job its owners want to hear of, and by what.

use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::message::Event;

/// By what an owner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Mail,
    Slack,
    Mattermost,
    Http,
}

impl Channel {
    /// In the order in which they are told of.
    pub const ALL: [Self; 4] = [Self::Mail, Self::Slack, Self::Mattermost, Self::Http];

    /// As settings and documents have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Slack => "slack",
            Self::Mattermost => "mattermost",
            Self::Http => "http",
        }
    }
}

impl Definition {
    /// Whether an event is told by this channel. What Chronos tells of, and what is late or missed, is told by all
    /// unless the job says otherwise; a start and a success, of which there are many, only where it asks for them.
    pub fn tells(&self, event: Event, channel: Channel) -> bool {
        let (wanted, unless_said) = match event {
            Event::Started => (&self.on_start, false),
            Event::Succeeded => (&self.on_success, false),
            Event::RetriesExhausted => (&self.on_failure, true),
            Event::Late | Event::Missed => (&self.on_late, true),
            Event::Deleted | Event::Disabled | Event::Paused => return true,
        };
        wanted.as_ref().map_or(unless_said, |channels| channels.contains(&channel))
    }

    /// Whether anybody wants to hear of it.
    pub(super) fn tells_of(&self, event: Event) -> bool {
        Channel::ALL.into_iter().any(|channel| self.tells(event, channel))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_success_is_told_to_those_who_ask_and_a_failure_to_all_who_do_not_decline() {
        let plain = Definition::default();
        assert!(!plain.tells_of(Event::Succeeded) && !plain.tells_of(Event::Started));
        assert!(Channel::ALL.into_iter().all(|channel| plain.tells(Event::RetriesExhausted, channel)));
        let job = json!({ "name": "a", "onSuccess": ["slack"], "onFailure": ["mail"], "onLate": [], "onStart": ["http"] });
        let job: Definition = serde_json::from_value(job).unwrap();
        assert!(job.tells(Event::Succeeded, Channel::Slack) && !job.tells(Event::Succeeded, Channel::Mail));
        assert!(job.tells(Event::RetriesExhausted, Channel::Mail));
        assert!(!job.tells(Event::RetriesExhausted, Channel::Slack));
        assert!(!job.tells_of(Event::Late) && !job.tells_of(Event::Missed));
        assert!(job.tells(Event::Started, Channel::Http) && job.tells(Event::Deleted, Channel::Slack));
    }
}
