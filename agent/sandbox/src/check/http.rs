//! HTTP probes: a GET is answered with the right status, by way of redirections if need be (spec mesos-v1, 10.7).

use std::time::Duration;

use reqwest::{Client, redirect};

use super::ProbeError;
use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// `https` instead of `http`; certificates are not verified, since the probe asks a process of this machine by address.
    pub tls: bool,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// Path with query, with or without the leading slash.
    pub path: String,
    /// Statuses of the last answer that pass; empty means 200 to 399. A redirection that says where to is not the last.
    pub statuses: Vec<u16>,
}

impl HttpProbe {
    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{open}{}{close}:{}{slash}{}", self.host, self.port, self.path)
    }

    fn accepts(&self, status: u16) -> bool {
        if self.statuses.is_empty() { (200..400).contains(&status) } else { self.statuses.contains(&status) }
    }
}

/// Every probe makes its own connection: a kept one would go on working for a server that no longer accepts any.
pub(super) fn client() -> Result<Client, ProbeError> {
    Client::builder()
        .redirect(redirect::Policy::limited(limits::PROBE_REDIRECTS))
        .pool_max_idle_per_host(0)
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .user_agent("stoa-health-check")
        .build()
        .map_err(|error| ProbeError::Invalid(reason(&error)))
}

pub(super) async fn run(client: &Client, probe: &HttpProbe, timeout: Duration) -> Result<u16, ProbeError> {
    let answer = client.get(probe.url()).timeout(timeout).send().await.map_err(|error| {
        if error.is_redirect() {
            ProbeError::Redirects(limits::PROBE_REDIRECTS)
        } else if error.is_timeout() {
            ProbeError::Timeout(timeout)
        } else if error.is_builder() {
            ProbeError::Invalid(reason(&error))
        } else {
            ProbeError::Connect(reason(&error))
        }
    })?;
    // The body is not read: dropping the answer closes the connection.
    let status = answer.status().as_u16();
    if probe.accepts(status) { Ok(status) } else { Err(ProbeError::Status(status)) }
}

/// The innermost cause names the fault ("connection refused"); the outer layers only say that there was one.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error.url() {
        Some(url) => format!("{url}: {cause}"),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with these bytes, then holds the connection open.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        port
    }

    fn probe(port: u16, path: &str) -> HttpProbe {
        HttpProbe { tls: false, host: "127.0.0.1".into(), port, path: path.into(), statuses: vec![] }
    }

    async fn ask(probe: &HttpProbe, timeout: Duration) -> Result<u16, ProbeError> {
        run(&client().unwrap(), probe, timeout).await
    }

    #[tokio::test]
    async fn statuses_decide() {
        let patience = Duration::from_secs(10);
        let port = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(ask(&probe(port, "health"), patience).await, Ok(204));
        let port = server("HTTP/1.1 304 Not Modified\r\n\r\n").await;
        assert_eq!(ask(&probe(port, "/"), patience).await, Ok(304), "it does not say where to");
        let port = server("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(ask(&probe(port, "/"), patience).await, Err(ProbeError::Status(500)));
        let port = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let only = HttpProbe { statuses: vec![503], ..probe(port, "/") };
        assert_eq!(ask(&only, patience).await, Err(ProbeError::Status(200)));
    }

    /// A server whose every answer sends on to the same place.
    async fn sending_on(to: impl Fn(u16) -> String) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", to(port));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn redirections_are_followed_and_what_is_at_their_end_decides() {
        let patience = Duration::from_secs(10);
        for (answer, found) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(204)),
            ("HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n", Err(ProbeError::Status(503))),
        ] {
            let end = server(answer).await;
            let port = sending_on(|_| format!("http://127.0.0.1:{end}/there")).await;
            assert_eq!(ask(&probe(port, "/"), patience).await, found);
        }
        let gone = sending_on(|_| "http://127.0.0.1:1/".to_owned()).await;
        let found = ask(&probe(gone, "/"), patience).await;
        assert!(matches!(found, Err(ProbeError::Connect(_))), "{found:?}");
    }

    #[tokio::test]
    async fn redirections_in_a_circle_are_no_health() {
        let port = sending_on(|port| format!("http://127.0.0.1:{port}/")).await;
        let found = ask(&probe(port, "/"), Duration::from_secs(10)).await;
        assert_eq!(found, Err(ProbeError::Redirects(limits::PROBE_REDIRECTS)));
    }

    #[tokio::test]
    async fn an_endless_body_does_not_hold_the_probe() {
        let port = server("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx").await;
        assert_eq!(ask(&probe(port, "/"), Duration::from_secs(10)).await, Ok(200));
    }

    #[tokio::test]
    async fn silence_is_a_time_out() {
        let port = server("").await;
        let timeout = Duration::from_millis(50);
        assert_eq!(ask(&probe(port, "/"), timeout).await, Err(ProbeError::Timeout(timeout)));
    }

    #[test]
    fn addresses_become_urls() {
        assert_eq!(probe(80, "a?b=c").url(), "http://127.0.0.1:80/a?b=c");
        let six = HttpProbe { tls: true, host: "::1".into(), ..probe(443, "/") };
        assert_eq!(six.url(), "https://[::1]:443/");
    }
}
