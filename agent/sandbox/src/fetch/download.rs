//! Getting the bytes: over HTTP, or from this machine.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, redirect};
use url::Url;

use super::budget::{Patience, Reporter};
use super::error::Reason;
use super::{FetchLimits, Phase};
use crate::directory::Owner;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

pub(super) fn client(limits: &FetchLimits) -> Result<Client, Reason> {
    let most = limits.redirects;
    let policy = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > most {
            attempt.error(format!("more than {most} redirections"))
        } else if attempt.previous().last().is_some_and(|from| from.scheme() == "https")
            && attempt.url().scheme() != "https"
        {
            attempt.error("a redirection from https to http")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .redirect(policy)
        .connect_timeout(CONNECT)
        .user_agent(concat!("stoa/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Reason::Http(reason(&error)))
}

/// Downloads into a file, at most as much as is allowed.
pub(super) async fn http(
    client: &Client,
    url: &Url,
    mut to: File,
    limits: &FetchLimits,
    patience: &Patience,
    reporter: &Reporter,
) -> Result<(), Reason> {
    let stalled = |_| Reason::Stalled(limits.stall);
    let failed = |error: reqwest::Error| Reason::Http(reason(&error));
    let answer = tokio::time::timeout(limits.stall, client.get(url.clone()).send()).await.map_err(stalled)?;
    let mut answer = answer.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(Reason::Status(answer.status().as_u16()));
    }
    let total = answer.content_length();
    if total.is_some_and(|total| total > limits.file_bytes) {
        return Err(Reason::TooLarge(limits.file_bytes));
    }
    let mut got = 0;
    while let Some(chunk) =
        tokio::time::timeout(limits.stall, answer.chunk()).await.map_err(stalled)?.map_err(failed)?
    {
        got += chunk.len() as u64;
        if got > limits.file_bytes {
            return Err(Reason::TooLarge(limits.file_bytes));
        }
        // Into the page cache: a few microseconds, not worth a hop to another thread.
        to.write_all(&chunk).map_err(|source| Reason::Write { path: "the download".into(), source })?;
        patience.check(limits)?;
        reporter.report(Phase::Fetching, got, total);
    }
    match total {
        Some(announced) if announced != got => Err(Reason::Short { got, announced }),
        _ => Ok(()),
    }
}

/// The innermost cause names the fault; the outer layers only say that there was one.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Opens a file of this machine with the rights of the user who will own the copy: the agent may read everything, its tasks may not.
pub(super) fn open_as(path: &Path, owner: Option<Owner>) -> Result<File, Reason> {
    let open = || {
        // Not waiting for the other end of a named pipe.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(Reason::Read)?;
        if file.metadata().map_err(Reason::Read)?.is_file() { Ok(file) } else { Err(Reason::NotFile) }
    };
    match owner {
        Some(owner) if nix::unistd::geteuid().is_root() && owner.uid != 0 => {
            // Credentials belong to a thread as far as the kernel is concerned; this one ends with them.
            let result = std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    become_user(owner).map_err(|error| Reason::Setup("the rights of the user", error))?;
                    open()
                });
                thread.join()
            });
            result.unwrap_or_else(|_| Err(Reason::Cancelled))
        }
        _ => open(),
    }
}

/// Gives up this thread's power over files, for good.
fn become_user(owner: Owner) -> std::io::Result<()> {
    let check = |result: libc::c_long| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: raw calls with numbers and a null pointer for an empty list. They change the calling thread alone; the C library's wrappers
    // would change all threads.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
        check(libc::syscall(libc::SYS_setresgid, owner.gid, owner.gid, owner.gid))?;
        check(libc::syscall(libc::SYS_setresuid, owner.uid, owner.uid, owner.uid))
    }
}
