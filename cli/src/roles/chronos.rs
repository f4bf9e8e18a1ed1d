//! `stoa chronos`: its flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chronos::{Channels, Hook, Mail, RunError, Secret, Security};
use clap::{Args, ValueEnum};
use model::time::Span;

use super::{Common, Door, Ending, Identity, play, sentence};
use crate::signals;

/// The batch scheduler: the Chronos v1 REST API
#[derive(Args, Clone, Debug)]
pub(crate) struct ChronosArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    door: Door,
    /// The masters; any of them will do
    #[arg(
        long,
        env = "STOA_CHRONOS_MASTER",
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        default_value = "127.0.0.1:5050"
    )]
    master: Vec<String>,
    /// The address of its API
    #[arg(long, env = "STOA_CHRONOS_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:4400")]
    listen: SocketAddr,
    /// The address others reach its API by; absent: the one it listens on
    #[arg(long, env = "STOA_CHRONOS_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The role whose share of the cluster it uses
    #[arg(long, env = "STOA_CHRONOS_ROLE", value_name = "ROLE", default_value = "*")]
    role: String,
    /// The user of jobs that name none; absent: the agent's choice
    #[arg(long, env = "STOA_CHRONOS_USER", value_name = "NAME")]
    user: Option<String>,
    /// How many seconds after a failed attempt the next one is made, for jobs that say nothing themselves
    #[arg(long, env = "STOA_CHRONOS_FAILURE_RETRY", value_name = "SECONDS", default_value_t = 60)]
    failure_retry: u32,
    /// Failed runs in a row after which a job is disabled; 0: never
    #[arg(long, env = "STOA_CHRONOS_DISABLE_AFTER_FAILURES", value_name = "RUNS", default_value_t = 0)]
    disable_after_failures: u64,
    /// The key-value namespace of its records; instances of one scheduler share it
    #[arg(long, env = "STOA_CHRONOS_NAMESPACE", value_name = "NAME", default_value = "chronos")]
    namespace: String,
    #[command(flatten)]
    notify: Notify,
}

/// Where owners of jobs are told what went wrong.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Notifications")]
struct Notify {
    /// Named in the subject of notifications
    #[arg(long, env = "STOA_CHRONOS_CLUSTER_NAME", value_name = "NAME", default_value = "")]
    cluster_name: String,
    /// Mail goes to this server; without it, none is sent
    #[arg(long, env = "STOA_CHRONOS_MAIL_SERVER", value_name = "HOST:PORT", requires = "mail_from")]
    mail_server: Option<String>,
    /// The sender of mail
    #[arg(long, env = "STOA_CHRONOS_MAIL_FROM", value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// The account at the mail server
    #[arg(long, env = "STOA_CHRONOS_MAIL_USER", value_name = "NAME", requires = "mail_password_file")]
    mail_user: Option<String>,
    /// A file with its password
    #[arg(long, env = "STOA_CHRONOS_MAIL_PASSWORD_FILE", value_name = "FILE")]
    mail_password_file: Option<PathBuf>,
    /// How the connection to it is protected; absent: by STARTTLS, which a server may lack where no password is sent
    #[arg(long, env = "STOA_CHRONOS_MAIL_SECURITY", value_name = "HOW")]
    mail_security: Option<MailSecurity>,
    /// An incoming webhook of Slack
    #[arg(long, env = "STOA_CHRONOS_SLACK_URL", value_name = "URL", hide_env_values = true)]
    slack_url: Option<String>,
    /// An incoming webhook of Mattermost
    #[arg(long, env = "STOA_CHRONOS_MATTERMOST_URL", value_name = "URL", hide_env_values = true)]
    mattermost_url: Option<String>,
    /// A service that takes each notification, with the job's figures, as a JSON object of texts
    #[arg(long, env = "STOA_CHRONOS_HTTP_NOTIFICATION_URL", value_name = "URL", hide_env_values = true)]
    http_notification_url: Option<String>,
    /// A file with USER:PASSWORD for it
    #[arg(long, env = "STOA_CHRONOS_HTTP_NOTIFICATION_CREDENTIALS_FILE", value_name = "FILE")]
    http_notification_credentials_file: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum MailSecurity {
    /// Not at all
    None,
    /// By STARTTLS if the server offers it
    IfOffered,
    /// By STARTTLS, or nothing is sent
    Starttls,
    /// TLS from the first byte
    Tls,
}

impl From<MailSecurity> for Security {
    fn from(security: MailSecurity) -> Self {
        match security {
            MailSecurity::None => Self::None,
            MailSecurity::IfOffered => Self::IfOffered,
            MailSecurity::Starttls => Self::StartTls,
            MailSecurity::Tls => Self::Tls,
        }
    }
}

impl Notify {
    /// # Errors
    /// A file that cannot be read, in a sentence.
    fn channels(self) -> Result<Channels, String> {
        let hook = |url: Option<String>| url.map(|url| Hook { url, credentials: None });
        let mut http = hook(self.http_notification_url);
        if let (Some(hook), Some(file)) = (&mut http, &self.http_notification_credentials_file) {
            let text = secret(file)?;
            let (user, password) =
                text.split_once(':').ok_or_else(|| format!("{}: must be USER:PASSWORD", file.display()))?;
            hook.credentials = Some(Secret { user: user.to_owned(), password: password.to_owned() });
        }
        let credentials = match (self.mail_user, &self.mail_password_file) {
            (Some(user), Some(file)) => Some(Secret { user, password: secret(file)? }),
            _ => None,
        };
        let careful = if credentials.is_some() { Security::StartTls } else { Security::IfOffered };
        let mail = self.mail_server.map(|server| Mail {
            server,
            from: self.mail_from.unwrap_or_default(),
            credentials,
            security: self.mail_security.map_or(careful, Security::from),
        });
        let (slack, mattermost) = (hook(self.slack_url), hook(self.mattermost_url));
        Ok(Channels { cluster: self.cluster_name, mail, slack, mattermost, http })
    }
}

/// What a file says, but for the line's end.
fn secret(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

pub(crate) fn main(args: ChronosArgs) -> ExitCode {
    let channels = args.notify.channels();
    let credential = match args.identity.credential() {
        Ok(credential) => credential,
        Err(problem) => return crate::usage(&problem),
    };
    let config = chronos::Config {
        credential,
        guard: args.door.guard(),
        masters: args.master,
        listen: args.listen,
        advertise: args.advertise.unwrap_or_default(),
        role: args.role,
        user: args.user.unwrap_or_default(),
        failure_retry: Span::from_secs(args.failure_retry.into()),
        disable_after_failures: args.disable_after_failures,
        namespace: args.namespace,
        channels: Channels::default(),
    };
    play(&args.common, async {
        let config = match channels {
            Ok(channels) => chronos::Config { channels, ..config },
            Err(sentence) => return Ending::Refused(sentence),
        };
        match chronos::run(config, signals::shutdown()).await {
            Ok(()) => Ending::Done,
            Err(error @ (RunError::Config(_) | RunError::Listen { .. })) => Ending::Refused(sentence(&error)),
            Err(error) => Ending::Failed(sentence(&error)),
        }
    })
}
