//! What a connection may cost.

use std::time::Duration;

use front::door::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::world::Server;
use crate::http::BOUNDS;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn who_says_nothing_or_half_a_head_is_cut_off() {
    let bounds = Bounds { head: Duration::from_millis(100), ..BOUNDS };
    let server = Server::standby_within(None, bounds).await;
    for said in ["", "GET /ping HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = TcpStream::connect(&server.address).await.unwrap();
        client.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Reset or closed: both are an end.
        let _ = timeout(SOON, client.read_to_end(&mut answer)).await.expect("it is cut off");
    }
    assert_eq!(server.send("GET", "/ping", None, &[]).await.status(), 200);
}

#[tokio::test]
async fn beyond_the_bound_connections_wait_for_others_to_end() {
    let server = Server::standby_within(None, Bounds { connections: 1, ..BOUNDS }).await;
    let mut first = TcpStream::connect(&server.address).await.unwrap();
    first.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut byte = [0; 1];
    timeout(SOON, first.read_exact(&mut byte)).await.unwrap().unwrap();
    let mut second = TcpStream::connect(&server.address).await.unwrap();
    second
        .write_all(b"GET /metrics/prometheus HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await.is_err(), "it waits");
    drop(first);
    let mut answer = String::new();
    timeout(SOON, second.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.contains("marathon_http_connections_full_total 2"), "{answer}");
}

#[tokio::test]
async fn a_head_has_its_bounds() {
    let server = Server::standby(None).await;
    let many = (0..200).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    for (head, status) in [(many, "431"), (format!("X: {}\r\n", "y".repeat(300 << 10)), "431")] {
        let mut client = TcpStream::connect(&server.address).await.unwrap();
        // It may be refused before all of it is sent.
        let _ = client.write_all(format!("GET /ping HTTP/1.1\r\n{head}\r\n").as_bytes()).await;
        let mut answer = [0; 12];
        timeout(SOON, client.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
    }
}

#[tokio::test]
async fn whoever_does_not_know_the_secret_gets_nothing_but_a_pong() {
    let server = Server::guarded("ops:s3cret").await;
    assert_eq!(server.send("GET", "/ping", None, &[]).await.status(), 200);
    for headers in [
        &[][..],
        &[("authorization", "Basic b3BzOndyb25n")],
        &[("authorization", "Bearer s3cret")],
        &[("authorization", "token=s3cret")],
    ] {
        for path in ["/v2/apps", "/v2/events", "/metrics", "/version", "/", "/ui/", "/nosuch"] {
            let answer = server.send("GET", path, None, headers).await;
            assert_eq!(answer.status(), 401, "{path}");
            assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"Mesosphere\"");
            assert_eq!(answer.text().await.unwrap(), r#"{"message":"Credentials are missing or wrong"}"#);
        }
    }
    let right = [("authorization", "Basic b3BzOnMzY3JldA==")];
    assert_eq!(server.send("GET", "/version", None, &right).await.status(), 200);
}
