//! Sends what the outbox says is due: a task for each channel, so that a mail server that hangs holds up no chat room.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use reqwest::StatusCode;
use sdk::leadership::Standing;
use sdk::scheduler::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::outbox::{Next, Outcome};
use super::{Channel, Letter};
use super::{Channels, Hook, Mail, Security};
use crate::driver::{Batch, now};
use crate::limits;

/// Starts a task for each channel that is set up. `bell` rings when something was written.
///
/// # Errors
/// A setting makes no sense: a sentence about it.
pub(crate) fn start(
    channels: &Channels,
    handle: &Handle<Batch>,
    bell: &watch::Receiver<()>,
) -> Result<JoinSet<()>, String> {
    let mut couriers = JoinSet::new();
    for channel in channels.open() {
        let sender = Sender::new(channels, channel)?;
        couriers.spawn(carry(channel, sender, handle.clone(), bell.clone()));
    }
    Ok(couriers)
}

/// Ends with the scheduler.
async fn carry(channel: Channel, sender: Sender, handle: Handle<Batch>, mut bell: watch::Receiver<()>) {
    let mut standing = handle.standing();
    while standing.wait_for(|standing| matches!(standing, Standing::Leading(_))).await.is_ok() {
        bell.mark_unchanged();
        let next = handle.ask(move |batch, step| batch.next_letter(channel, step)).await;
        let told = match next {
            Ok(Next::Send(number, letter)) => {
                let outcome = sender.send(&letter).await;
                tell(&letter, &outcome);
                // Who leads no more has no say: the next leader sends it again.
                handle.ask(move |batch, step| batch.letter_ended(number, outcome, step)).await.map(drop)
            }
            Ok(Next::At(until)) => {
                let pause = Duration::from_millis((until - now()).as_millis());
                // Woken early, by whatever is written meanwhile, it asks and waits once more.
                let _ = tokio::time::timeout(pause, bell.changed()).await;
                Ok(())
            }
            Ok(Next::Nothing) => {
                if bell.changed().await.is_err() {
                    return;
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        if told.is_err() && standing.changed().await.is_err() {
            return;
        }
    }
}

fn tell(letter: &Letter, outcome: &Outcome) {
    let (channel, to, job) = (letter.channel.name(), &letter.to, &letter.job);
    match outcome {
        Outcome::Sent => tracing::info!(channel, to, job, "notified"),
        Outcome::Failed(problem) => tracing::warn!(channel, to, job, problem, "a notification has to wait"),
        Outcome::Refused(problem) => {
            tracing::error!(channel, to, job, problem, "a notification is not wanted")
        }
    }
}

enum Sender {
    Mail { transport: Box<SmtpTransport>, from: Mailbox },
    Hook { http: reqwest::Client, hook: Hook },
}

impl Sender {
    fn new(channels: &Channels, channel: Channel) -> Result<Self, String> {
        let hook = match channel {
            Channel::Mail => None,
            Channel::Slack => channels.slack.as_ref(),
            Channel::Mattermost => channels.mattermost.as_ref(),
            Channel::Http => channels.http.as_ref(),
        };
        match (&channels.mail, hook) {
            (_, Some(hook)) => hooked(channel, hook),
            (Some(mail), None) => mailing(mail),
            (None, None) => Err(format!("notifications by {} are not set up", channel.name())),
        }
    }

    async fn send(&self, letter: &Letter) -> Outcome {
        match self {
            Self::Mail { transport, from } => match message(from, letter) {
                Err(problem) => Outcome::Refused(problem),
                Ok(message) => {
                    let transport = transport.clone();
                    // It blocks, and each of its steps has a limit of time.
                    let sent = tokio::task::spawn_blocking(move || transport.send(&message)).await;
                    sent.map_or_else(
                        |error| Outcome::Failed(error.to_string()),
                        |sent| mailed(sent.map(drop)),
                    )
                }
            },
            Self::Hook { http, hook } => {
                let mut request = http.post(&hook.url).json(&letter.document());
                if let Some(secret) = &hook.credentials {
                    request = request.basic_auth(&secret.user, Some(&secret.password));
                }
                match request.send().await {
                    Ok(answer) => answered(answer.status()),
                    // The URL of a webhook is its password.
                    Err(error) => Outcome::Failed(root(&error.without_url())),
                }
            }
        }
    }
}

fn hooked(channel: Channel, hook: &Hook) -> Result<Sender, String> {
    let url =
        reqwest::Url::parse(&hook.url).map_err(|error| format!("the {} URL: {error}", channel.name()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("the {} URL must begin with http:// or https://", channel.name()));
    }
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(limits::LETTER_SEND)
        .build()
        .map_err(|error| format!("the {} channel: {error}", channel.name()))?;
    Ok(Sender::Hook { http, hook: hook.clone() })
}

fn mailing(mail: &Mail) -> Result<Sender, String> {
    let bad = |field: &str, rule: String| format!("the mail {field} {rule}");
    let from = mail.from.parse().map_err(|error| bad("sender", format!("'{}': {error}", mail.from)))?;
    let (host, port) = mail
        .server
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .ok_or_else(|| bad("server", format!("'{}' must be HOST:PORT", mail.server)))?;
    let parameters =
        || TlsParameters::new(host.to_owned()).map_err(|error| bad("server", format!("'{host}': {error}")));
    let tls = match mail.security {
        Security::None => Tls::None,
        Security::IfOffered => Tls::Opportunistic(parameters()?),
        Security::StartTls => Tls::Required(parameters()?),
        Security::Tls => Tls::Wrapper(parameters()?),
    };
    let mut builder =
        SmtpTransport::builder_dangerous(host).port(port).tls(tls).timeout(Some(limits::LETTER_SEND));
    if let Some(secret) = &mail.credentials {
        builder = builder.credentials(Credentials::new(secret.user.clone(), secret.password.clone()));
    }
    Ok(Sender::Mail { transport: Box::new(builder.build()), from })
}

fn message(from: &Mailbox, letter: &Letter) -> Result<Message, String> {
    let to = letter.to.parse().map_err(|error| format!("'{}' is no mail address: {error}", letter.to))?;
    let text = if letter.message.is_empty() { &letter.subject } else { &letter.message };
    Message::builder()
        .from(from.clone())
        .to(to)
        .subject(letter.subject.as_str())
        .body(text.clone())
        .map_err(|error| error.to_string())
}

/// Answers that speak of the account and not of the letter: an operator mends it, and the letter goes then.
const ABOUT_THE_ACCOUNT: [u16; 4] = [530, 534, 535, 538];

fn mailed(sent: Result<(), lettre::transport::smtp::Error>) -> Outcome {
    match sent {
        Ok(()) => Outcome::Sent,
        Err(error) => {
            let account = error.status().is_some_and(|code| ABOUT_THE_ACCOUNT.contains(&code.into()));
            let told = short(error.to_string() + ": " + &root(&error));
            if error.is_permanent() && !account { Outcome::Refused(told) } else { Outcome::Failed(told) }
        }
    }
}

fn answered(status: StatusCode) -> Outcome {
    let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_success() {
        Outcome::Sent
    } else if status.is_server_error() || later.contains(&status) {
        Outcome::Failed(status.to_string())
    } else {
        Outcome::Refused(status.to_string())
    }
}

/// What lies at the bottom of an error: the upper layers only say that something failed.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    short(causes.last().map(ToString::to_string).unwrap_or_default())
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::PROBLEM_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn letter(channel: Channel, to: &str) -> Letter {
        let (subject, message) = ("[Chronos] job 'a' failed".to_owned(), "exit 3, größer".to_owned());
        Letter { channel, to: to.to_owned(), job: "a".to_owned(), subject, message, details: Map::new() }
    }

    fn mail(server: String) -> Sender {
        let from = "Chronos <chronos@example.com>".to_owned();
        mailing(&Mail { server, from, credentials: None, security: Security::None }).expect("a sender")
    }

    fn hook(url: String) -> Sender {
        let secret = super::super::Secret { user: "u".to_owned(), password: "p".to_owned() };
        hooked(Channel::Slack, &Hook { url, credentials: Some(secret) }).expect("a sender")
    }

    /// A mail server that knows one conversation; what it was told comes back. `refuses` is its answer to the addressee.
    async fn post_office(listener: TcpListener, refuses: Option<&'static str>) -> String {
        let (stream, _) = listener.accept().await.expect("a client");
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let (mut told, mut data) = (String::new(), false);
        write.write_all(b"220 here\r\n").await.expect("written");
        while let Some(line) = lines.next_line().await.expect("read") {
            told.push_str(&line);
            told.push('\n');
            let answer = match (data, line.split([' ', ':']).next().unwrap_or_default()) {
                (true, ".") => {
                    data = false;
                    "250 taken"
                }
                (true, _) => continue,
                (false, "RCPT") => refuses.unwrap_or("250 ok"),
                (false, "DATA") => {
                    data = true;
                    "354 go on"
                }
                (false, "QUIT") => "221 bye",
                (false, _) => "250 ok",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await.expect("written");
            if line == "QUIT" {
                break;
            }
        }
        told
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        (listener, address)
    }

    #[tokio::test]
    async fn mail_goes_by_smtp() {
        let (listener, address) = listen().await;
        let office = tokio::spawn(post_office(listener, None));
        let sender = mail(address);
        let sent = sender.send(&letter(Channel::Mail, "owner@example.com")).await;
        drop(sender);
        assert_eq!(sent, Outcome::Sent);
        let told = office.await.expect("the server lives");
        for part in [
            "MAIL FROM:<chronos@example.com>",
            "RCPT TO:<owner@example.com>",
            "Subject: [Chronos] job 'a' failed",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
    }

    #[tokio::test]
    async fn a_mail_server_says_never_or_later() {
        for (answer, wanted) in [
            ("550 no such user", "Refused"),
            ("451 try again later", "Failed"),
            ("535 who are you", "Failed"),
            ("421 shutting down", "Failed"),
        ] {
            let (listener, address) = listen().await;
            let office = tokio::spawn(post_office(listener, Some(answer)));
            let sent = mail(address).send(&letter(Channel::Mail, "owner@example.com")).await;
            let told = format!("{sent:?}");
            assert!(told.starts_with(wanted), "{answer}: {told}");
            assert!(told.contains(&answer[4..]), "{answer}: {told}");
            office.abort();
        }
    }

    #[tokio::test]
    async fn a_server_that_is_down_is_tried_again_and_an_address_that_is_none_is_not() {
        let (listener, address) = listen().await;
        drop(listener);
        let sender = mail(address.clone());
        let sent = sender.send(&letter(Channel::Mail, "owner@example.com")).await;
        assert!(matches!(&sent, Outcome::Failed(why) if why.contains("refused")), "{sent:?}");
        let sent = sender.send(&letter(Channel::Mail, "not an address")).await;
        assert!(matches!(&sent, Outcome::Refused(why) if why.contains("not an address")), "{sent:?}");
        let sent = hook(format!("http://{address}/secret")).send(&letter(Channel::Slack, "")).await;
        assert!(matches!(&sent, Outcome::Failed(why) if !why.contains("secret")), "{sent:?}");
    }

    /// Answers one request with this status; gives back its head and body.
    async fn room(listener: TcpListener, status: &'static str) -> (String, Value) {
        let (mut stream, _): (TcpStream, _) = listener.accept().await.expect("a client");
        let mut told = Vec::new();
        let (head, body) = loop {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).await.expect("read");
            told.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&told).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Ok(document) = serde_json::from_str(body)
            {
                break (head.to_owned(), document);
            }
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("written");
        (head, body)
    }

    #[tokio::test]
    async fn a_chat_room_gets_one_line_of_text() {
        for (status, wanted) in [
            ("200 OK", Outcome::Sent),
            ("429 Too Many Requests", Outcome::Failed("429 Too Many Requests".to_owned())),
            ("503 Service Unavailable", Outcome::Failed("503 Service Unavailable".to_owned())),
            ("404 Not Found", Outcome::Refused("404 Not Found".to_owned())),
        ] {
            let (listener, address) = listen().await;
            let told = tokio::spawn(room(listener, status));
            let sent = hook(format!("http://{address}/services/T0")).send(&letter(Channel::Slack, "")).await;
            assert_eq!(sent, wanted);
            let (head, body) = told.await.expect("the server lives");
            assert_eq!(body, json!({"text": "[Chronos] job 'a' failed: exit 3, größer"}));
            assert!(head.starts_with("POST /services/T0 "), "{head}");
            assert!(head.to_lowercase().contains("authorization: basic dtpw"), "{head}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_their_name() {
        let refused = |server: &str, from: &str| {
            let mail = Mail {
                server: server.to_owned(),
                from: from.to_owned(),
                credentials: None,
                security: Security::None,
            };
            mailing(&mail).err().unwrap_or_default()
        };
        assert!(refused("localhost", "a@example.com").starts_with("the mail server 'localhost' must be"));
        assert!(refused("localhost:25", "nobody").starts_with("the mail sender 'nobody'"));
        let url = |url: &str| {
            hooked(Channel::Slack, &Hook { url: url.to_owned(), credentials: None }).err().unwrap_or_default()
        };
        assert_eq!(url("ftp://x/"), "the slack URL must begin with http:// or https://");
        assert!(url("nonsense").starts_with("the slack URL"));
    }
}
