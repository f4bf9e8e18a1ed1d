//! What is said, and to whom: one notice becomes a letter for each channel and address.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Channels;
use crate::core::definition::Definition;
use crate::core::hook::Channel;
use crate::core::job::Status;
use crate::core::message::{Event, Notice};
use crate::core::schedule::iso8601;
use crate::limits;

/// One message to one address by one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) channel: Channel,
    /// An address of `owner`; empty for rooms of a chat service, and for a job without an owner.
    pub(crate) to: String,
    pub(crate) job: String,
    pub(crate) subject: String,
    pub(crate) message: String,
    /// The job as the HTTP channel tells of it; empty for the others.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) details: Map<String, Value>,
}

impl Letter {
    /// The body that a service of this kind takes.
    pub(crate) fn document(&self) -> Value {
        match self.channel {
            Channel::Http => {
                let mut document = self.details.clone();
                let texts = [("subject", &self.subject), ("message", &self.message), ("to", &self.to)];
                for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                    document.insert(name.to_owned(), json!(text));
                }
                Value::Object(document)
            }
            // Chronos sends an empty object of what has no message, which chat services refuse.
            _ if self.message.is_empty() => json!({"text": self.subject}),
            _ => json!({"text": format!("{}: {}", self.subject, self.message)}),
        }
    }
}

/// The letters of a notice. `status` is what has become of the job so far.
pub(super) fn letters(channels: &Channels, notice: &Notice, status: &Status) -> Vec<Letter> {
    let definition = &*notice.definition;
    let subject = subject(&channels.cluster, notice);
    let letter = |channel: Channel, to: &str| Letter {
        channel,
        to: to.to_owned(),
        job: definition.name.clone(),
        subject: subject.clone(),
        message: cut(&notice.message),
        details: if channel == Channel::Http { details(definition, status) } else { Map::new() },
    };
    let owners: Vec<&str> =
        definition.owner.split(',').map(str::trim).filter(|owner| !owner.is_empty()).collect();
    let owners = &owners[..owners.len().min(limits::OWNERS)];
    let mut letters = Vec::new();
    for channel in channels.open().filter(|channel| definition.tells(notice.event, *channel)) {
        match channel {
            Channel::Mail => letters.extend(owners.iter().map(|owner| letter(channel, owner))),
            Channel::Http if !owners.is_empty() => {
                letters.extend(owners.iter().map(|owner| letter(channel, owner)));
            }
            // A room is one reader, however many owners there are.
            Channel::Http | Channel::Slack | Channel::Mattermost => letters.push(letter(channel, "")),
        }
    }
    letters
}

fn subject(cluster: &str, notice: &Notice) -> String {
    let cluster = if cluster.is_empty() { String::new() } else { format!("[{cluster}] ") };
    let told = match notice.event {
        Event::Started => "has started",
        Event::Succeeded => "succeeded",
        Event::Deleted => "was deleted",
        Event::Disabled => "was disabled",
        Event::Paused => "is suspended",
        Event::RetriesExhausted => "failed, and its retries are exhausted",
        Event::Missed => "missed a due time",
        Event::Late => "is late",
    };
    format!("{cluster}[Chronos] job '{}' {told}", notice.definition.name)
}

/// Every value is text, as receivers written for Chronos expect.
fn details(definition: &Definition, status: &Status) -> Map<String, Value> {
    let plain = serde_json::to_value(definition).unwrap_or_default();
    let mut details = Map::new();
    details.insert("job".to_owned(), json!(definition.name));
    for name in ["command", "cpus", "mem", "softError", "executor", "executorFlags", "retries"] {
        let text = match &plain[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        details.insert(name.to_owned(), json!(cut(&text)));
    }
    let time = |time: Option<model::time::Time>| json!(time.map(iso8601).unwrap_or_default());
    details.insert("errorCount".to_owned(), json!(status.error_count.to_string()));
    let in_a_row = status.errors_since_last_success.to_string();
    details.insert("errorsSinceLastSuccess".to_owned(), json!(in_a_row));
    details.insert("successCount".to_owned(), json!(status.success_count.to_string()));
    details.insert("lastError".to_owned(), time(status.last_error));
    details.insert("lastSuccess".to_owned(), time(status.last_success));
    details.insert("uris".to_owned(), json!(cut(&definition.uris.join(","))));
    details
}

/// What a letter has room for.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(limits::LETTER_TEXT_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;

    use super::super::{Hook, Mail, Security};
    use super::*;

    fn channels() -> Channels {
        let hook = || Some(Hook { url: "http://127.0.0.1:1/".to_owned(), credentials: None });
        Channels {
            cluster: "east".to_owned(),
            mail: Some(Mail {
                server: "127.0.0.1:25".to_owned(),
                from: "chronos@example.com".to_owned(),
                credentials: None,
                security: Security::None,
            }),
            slack: hook(),
            mattermost: hook(),
            http: hook(),
        }
    }

    fn notice(event: Event, owner: &str, message: &str) -> Notice {
        let document =
            json!({"name": "a", "command": "echo", "owner": owner, "cpus": 0.5, "uris": ["u", "v"]});
        let definition = Arc::new(Definition::read(document).expect("a job"));
        Notice { event, definition, message: message.to_owned() }
    }

    #[test]
    fn mail_and_http_reach_each_owner_and_a_room_is_told_once() {
        let notice = notice(Event::RetriesExhausted, "x@example.com, y@example.com,", "exit 3");
        let letters = letters(&channels(), &notice, &Status::default());
        let lines: Vec<String> =
            letters.iter().map(|letter| format!("{} to '{}'", letter.channel.name(), letter.to)).collect();
        expect![[r#"
            mail to 'x@example.com'
            mail to 'y@example.com'
            slack to ''
            mattermost to ''
            http to 'x@example.com'
            http to 'y@example.com'"#]]
        .assert_eq(&lines.join("\n"));
        expect![[r#"{"text":"[east] [Chronos] job 'a' failed, and its retries are exhausted: exit 3"}"#]]
            .assert_eq(&letters[2].document().to_string());
        expect![[r#"
            {
              "job": "a",
              "command": "echo",
              "cpus": "0.5",
              "mem": "0",
              "softError": "false",
              "executor": "",
              "executorFlags": "",
              "retries": "2",
              "errorCount": "0",
              "errorsSinceLastSuccess": "0",
              "successCount": "0",
              "lastError": "",
              "lastSuccess": "",
              "uris": "u,v",
              "subject": "[east] [Chronos] job 'a' failed, and its retries are exhausted",
              "message": "exit 3",
              "to": "x@example.com"
            }"#]]
        .assert_eq(&format!("{:#}", letters[4].document()));
    }

    #[test]
    fn without_an_owner_nobody_gets_mail_and_without_a_message_the_subject_says_it() {
        let letters = letters(&channels(), &notice(Event::Deleted, " ", ""), &Status::default());
        let told: Vec<&str> = letters.iter().map(|letter| letter.channel.name()).collect();
        assert_eq!(told, ["slack", "mattermost", "http"]);
        assert_eq!(letters[0].document(), json!({"text": "[east] [Chronos] job 'a' was deleted"}));
        assert!(letters[2].document().get("to").is_none());
    }

    #[test]
    fn a_job_with_ten_thousand_owners_fills_no_queue() {
        let owners = vec!["x@example.com"; 10_000].join(",");
        let letters = letters(&channels(), &notice(Event::Deleted, &owners, ""), &Status::default());
        assert_eq!(letters.len(), 2 * limits::OWNERS + 2);
        let long = "ö".repeat(1 << 20);
        let letters = super::letters(&channels(), &notice(Event::Missed, "", &long), &Status::default());
        assert!(letters.iter().all(|letter| letter.message.len() <= limits::LETTER_TEXT_BYTES));
    }
}
