//! A master that asks who comes.

use std::os::unix::fs::PermissionsExt;

use e2e::cluster::START;
use e2e::ports;
use e2e::process::Process;
use e2e::wait::{check, until};
use serde_json::{Value, json};

use crate::book::Book;
use crate::http::{JSON, ask};
use crate::refusals::record;

pub(crate) async fn walk(book: &mut Book) {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("credentials");
    std::fs::write(&list, "p1 secret operator,framework\n").expect("written");
    std::fs::set_permissions(&list, PermissionsExt::from_mode(0o600)).expect("its owner's alone");
    let at = &format!("127.0.0.1:{}", ports::free());
    let flags = vec![
        "master".to_owned(),
        format!("--listen={at}"),
        format!("--data-dir={}", folder.path().join("data").display()),
        format!("--credentials={}", list.display()),
    ];
    let _master = Process::start(folder.path(), "guarded", flags);
    until("it leads", START, async || {
        let healthy = tokio::net::TcpStream::connect(at).await.is_ok()
            && ask(at, "GET /health HTTP/1.1", "", b"").await.status == 200;
        check(healthy, || "not yet".to_owned())
    })
    .await;
    // `p1:secret` and `p1:nope`.
    let (right, wrong) = ("Authorization: Basic cDE6c2VjcmV0\r\n", "Authorization: Basic cDE6bm9wZQ==\r\n");
    book.answer("health of a guarded master", &ask(at, "GET /health HTTP/1.1", "", b"").await);
    book.answer("read of a stranger", &ask(at, "GET /state HTTP/1.1", "", b"").await);
    book.answer("read with a wrong secret", &ask(at, "GET /state HTTP/1.1", wrong, b"").await);
    let bearer = "Authorization: Bearer x\r\n";
    book.answer("read with another scheme", &ask(at, "GET /state HTTP/1.1", bearer, b"").await);
    book.answer("read of one who is known", &ask(at, "GET /roles HTTP/1.1", right, b"").await);
    book.answer("GET /version", &ask(at, "GET /version HTTP/1.1", "", b"").await);
    let health = br#"{"type":"GET_HEALTH"}"#;
    book.answer("call of a stranger", &ask(at, "POST /api/v1 HTTP/1.1", JSON, health).await);
    book.answer("GET_HEALTH", &ask(at, "POST /api/v1 HTTP/1.1", &format!("{JSON}{right}"), health).await);
    let subscribe = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": {
        "user": "root", "name": "bad", "roles": ["*"], "principal": "p2",
        "capabilities": [{ "type": "MULTI_ROLE" }] } } })
    .to_string();
    let line = "POST /api/v1/scheduler HTTP/1.1";
    book.answer("SUBSCRIBE of a stranger", &ask(at, line, JSON, subscribe.as_bytes()).await);
    let headers = format!("{JSON}{right}");
    book.answer("SUBSCRIBE for another principal", &ask(at, line, &headers, subscribe.as_bytes()).await);
    // For oneself, said or not.
    for principal in [json!("p1"), json!(null)] {
        let mut call: Value = serde_json::from_str(&subscribe).expect("just written");
        let info = call["subscribe"]["framework_info"].as_object_mut().expect("an object");
        info.insert("principal".to_owned(), principal);
        info.retain(|_, value| !value.is_null());
        book.json(
            "event SUBSCRIBED",
            200,
            &record(&ask(at, line, &headers, call.to_string().as_bytes()).await),
        );
    }
}
