//! What agents and other masters see of a master's door.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::link::{Hello, ToAgent, ToMaster, to_agent, to_master};
use wire::{protobuf, recordio};

use crate::client::{Conversation, TestMaster, get, post, raw, until};
use serde_json::json;

const UPGRADE: &[u8] = b"GET /internal/link HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: stoa-link/1\r\n\r\n";

async fn frame(
    link: &mut Conversation,
    decoder: &mut recordio::Decoder,
    rest: &mut Bytes,
) -> Option<ToAgent> {
    loop {
        if let Some(payload) = decoder.decode(rest).expect("records") {
            return Some(protobuf::decode(&payload).expect("a frame"));
        }
        let mut more = vec![0; 4096];
        let count = link.stream.read(&mut more).await.expect("readable");
        if count == 0 {
            return None;
        }
        more.truncate(count);
        *rest = more.into();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_registers_is_pinged_and_is_missed() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    assert_eq!(get(at, "/internal/link").await.status, 426);
    let mut link = Conversation::open(at).await;
    link.send(UPGRADE).await;
    let head = link.head().await;
    assert_eq!((head.status, head.header("upgrade")), (101, Some("stoa-link/1")));
    let hello = Hello {
        info: wire::v1::AgentInfo { hostname: "box".into(), port: Some(5051), ..Default::default() },
        version: "0.1.0".into(),
        highest_term: 0,
        ..Default::default()
    };
    let hello = ToMaster { frame: Some(to_master::Frame::Hello(hello)) };
    let bytes = recordio::encode(&protobuf::encode(&hello));
    link.stream.get_mut().write_all(&bytes).await.expect("writable");
    let (mut decoder, mut rest) = (recordio::Decoder::new(1 << 20), Bytes::new());
    let welcome = frame(&mut link, &mut decoder, &mut rest).await.expect("an answer");
    assert!(welcome.term > 0, "orders are fenced by the term");
    let Some(to_agent::Frame::Welcome(welcome)) = welcome.frame else { panic!("{:?}", welcome.frame) };
    let agents = post(at, "/api/v1", &json!({"type": "GET_AGENTS"})).await.json();
    assert_eq!(agents["get_agents"]["agents"][0]["agent_info"]["id"]["value"], welcome.agent_id.value);
    assert_eq!(agents["get_agents"]["agents"][0]["active"], true);
    let mut pinged = false;
    while !pinged {
        let order = frame(&mut link, &mut decoder, &mut rest).await.expect("a ping comes");
        pinged = matches!(order.frame, Some(to_agent::Frame::Ping(_)));
    }
    drop(link);
    until("the agent is inactive or gone from the list", async || {
        let agents = post(at, "/api/v1", &json!({"type": "GET_AGENTS"})).await.json();
        agents["get_agents"]["agents"][0]["active"] != json!(true)
    })
    .await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_a_link_ends_the_link_and_nothing_else() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    for nonsense in [b"nonsense\n".as_slice(), b"99999999999\n", b"3\nabc", b"0\n0\n1\n\xff"] {
        let mut link = Conversation::open(at).await;
        link.send(UPGRADE).await;
        assert_eq!(link.head().await.status, 101);
        link.send(nonsense).await;
        assert!(link.closed().await);
    }
    assert_eq!(get(at, "/health").await.status, 200);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_reach_the_replica() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    assert_eq!(get(at, "/internal/raft").await.status, 426);
    assert_eq!(get(at, "/internal/raft/snapshot?index=7&term=7").await.status, 404);
    assert_eq!(
        raw(at, b"POST /internal/raft/hello HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await.status,
        400
    );
    for greeting in [b"\x00\x00\x00\x01\x09".as_slice(), b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = Conversation::open(at).await;
        stream
            .send(b"GET /internal/raft HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: stoa-raft/1\r\n\r\n")
            .await;
        assert_eq!(stream.head().await.status, 101);
        stream.send(greeting).await;
        assert!(stream.closed().await);
    }
    assert_eq!(get(at, "/health").await.status, 200);
    master.stop().await;
}
