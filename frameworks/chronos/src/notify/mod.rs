//! Notifications: what owners of jobs are told, by mail and by the webhooks of chat services.
//!
//! A notice is stored in the step that caused it and removed when it was sent, so a failover loses none; one that was sent
//! just before the scheduler died is sent twice. `outbox` decides what is sent when, `courier` sends.

mod courier;
mod letter;
mod outbox;

pub(crate) use self::courier::start;
pub(crate) use self::letter::Letter;
pub(crate) use self::outbox::{Lane, Next, Outbox, Outcome, Posted};
pub(crate) use crate::core::hook::Channel;
use crate::core::job::Status;
use crate::core::message::Notice;

/// Where notifications go. Without any channel they are only written to the log.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    /// Named in subjects. Empty: not named.
    pub cluster: String,
    pub mail: Option<Mail>,
    /// An incoming webhook of Slack.
    pub slack: Option<Hook>,
    /// An incoming webhook of Mattermost.
    pub mattermost: Option<Hook>,
    /// A service that takes the job's figures as a JSON object of texts.
    pub http: Option<Hook>,
}

/// A server for mail, and how to speak to it.
#[derive(Debug, Clone)]
pub struct Mail {
    /// `host:port`.
    pub server: String,
    /// The sender's address.
    pub from: String,
    /// User and password.
    pub credentials: Option<Secret>,
    pub security: Security,
}

/// A URL that takes a POST for each notification.
#[derive(Debug, Clone)]
pub struct Hook {
    pub url: String,
    /// User and password of basic authentication.
    pub credentials: Option<Secret>,
}

/// A user and a password, which no log shows.
#[derive(Clone)]
pub struct Secret {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    None,
    /// By STARTTLS if the server offers it.
    IfOffered,
    /// By STARTTLS, or nothing is sent.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

impl Channels {
    /// Those that are set up.
    pub(crate) fn open(&self) -> impl Iterator<Item = Channel> {
        let set = [self.mail.is_some(), self.slack.is_some(), self.mattermost.is_some(), self.http.is_some()];
        Channel::ALL.into_iter().zip(set).filter(|(_, set)| *set).map(|(channel, _)| channel)
    }

    pub(crate) fn letters(&self, notice: &Notice, status: &Status) -> Vec<Letter> {
        letter::letters(self, notice, status)
    }
}
