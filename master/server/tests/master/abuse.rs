//! Bad input: each kind gets an error that says what is wrong, and the master goes on.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::sleep;

use crate::client::{Conversation, JSON, TestMaster, framework, get, raw, request};

const PATH: &str = "/api/v1/scheduler";

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.try_finish()).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_may_be_packed_or_chunked() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let gzip = format!("{JSON}Content-Encoding: gzip\r\n");
    let call = br#"{"type":"GET_HEALTH"}"#;
    assert_eq!(raw(at, &request("/api/v1", &gzip, &packed(call))).await.status, 200);
    let chunked =
        b"POST /api/v1 HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                    15\r\n{\"type\":\"GET_HEALTH\"}\r\n0\r\n\r\n";
    assert_eq!(raw(at, chunked).await.status, 200);

    let announced = format!("POST {PATH} HTTP/1.1\r\n{JSON}Content-Length: 99999999\r\n\r\n");
    let large = raw(at, announced.as_bytes()).await;
    assert_eq!(large.status, 413, "refused by its announcement alone");
    let bomb = packed(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(raw(at, &request(PATH, &gzip, &bomb)).await.status, 413);
    assert_eq!(raw(at, &request(PATH, &gzip, b"not packed")).await.status, 400);
    assert_eq!(raw(at, &request(PATH, &format!("{JSON}Content-Encoding: br\r\n"), b"x")).await.status, 415);

    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let nested = [br#"{"type":"SUBSCRIBE","x":"#.as_slice(), &deep, b"}"].concat();
    assert_eq!(raw(at, &request(PATH, JSON, &nested)).await.status, 400);
    assert_eq!(get(at, "/health").await.status, 200);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_and_nonsense_is_told_so() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    assert!((400..500).contains(&raw(at, long.as_bytes()).await.status));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(raw(at, format!("GET /health HTTP/1.1\r\n{many}\r\n").as_bytes()).await.status, 431);
    assert_eq!(raw(at, b"NONSENSE\r\n\r\n").await.status, 400);
    assert_eq!(raw(at, b"POST /api/v1 HTTP/1.1\r\nContent-Length: many\r\n\r\n").await.status, 400);
    for target in ["/%", "/%zz", "/%00", "/..", "/../../etc/passwd", "/master/..%2f..", "*"] {
        let status = raw(at, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).await.status;
        assert!(status == 404 || status == 400, "{target}: {status}");
    }
    assert_eq!(get(at, "/health").await.status, 200);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_not_held_up_by_those_who_will_not_end() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    // One that sends half a head, one that sends half a body, one that subscribes and never reads.
    let mut half_head = Conversation::open(at).await;
    half_head.send(b"GET /health HT").await;
    let mut half_body = Conversation::open(at).await;
    half_body.send(format!("POST {PATH} HTTP/1.1\r\n{JSON}Content-Length: 100\r\n\r\n{{").as_bytes()).await;
    let mut silent = Conversation::open(at).await;
    silent.send(&request(PATH, JSON, framework("silent").to_string().as_bytes())).await;
    // Long enough for all three to have arrived; whether they have is of no account for the claim.
    sleep(Duration::from_millis(100)).await;
    let took = master.stop().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(half_head.closed().await && half_body.closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_refused_and_a_directory_has_one_owner() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let elsewhere = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
    let empty = temp.path().join("untouched");
    let error = TestMaster::start("127.0.0.1:0", &elsewhere, &empty).await.err().expect("not listed");
    assert!(error.is_refusal(), "{error}");
    assert!(!empty.exists(), "nothing is written");

    let master = TestMaster::alone(temp.path()).await;
    let second = TestMaster::start("127.0.0.1:0", &[], temp.path()).await.err().expect("locked");
    assert!(second.is_refusal() && second.to_string().contains("in use by another process"), "{second}");
    let taken = TestMaster::start(&master.address.to_string(), &[], &empty).await.err().expect("taken");
    assert!(taken.is_refusal() && taken.to_string().contains("cannot listen"), "{taken}");
    master.stop().await;
}
