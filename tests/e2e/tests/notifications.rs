//! Owners of jobs are told when a job fails for good, also when the mail server is down and the scheduler is killed.

use std::sync::Arc;

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, START, Shape};
use e2e::ports;
use e2e::wait::{check, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// What a server was told, message by message.
type Told = Arc<Mutex<Vec<String>>>;

/// A chat room: takes a JSON document with each connection.
async fn room(listener: TcpListener, told: Told) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            bytes.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
            if serde_json::from_str::<Value>(&body).is_ok() {
                told.lock().await.push(body);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("written");
                break;
            }
        }
    }
}

/// A mail server: takes one message with each connection.
async fn post_office(listener: TcpListener, told: Told) {
    while let Ok((stream, _)) = listener.accept().await {
        told.lock().await.extend(letter(stream).await);
    }
}

async fn letter(stream: TcpStream) -> Option<String> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let (mut letter, mut data) = (None, false);
    write.write_all(b"220 here\r\n").await.ok()?;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match (data, line.as_str()) {
            (true, ".") => {
                data = false;
                "250 taken"
            }
            (true, _) => {
                letter.get_or_insert_with(String::new).push_str(&(line + "\n"));
                continue;
            }
            (false, "DATA") => {
                data = true;
                "354 go on"
            }
            (false, "QUIT") => "221 bye",
            (false, _) => "250 ok",
        };
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            break;
        }
    }
    letter
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_are_told_once_their_server_is_back() {
    let (rooms, letters) = (Told::default(), Told::default());
    let chat = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let chat_address = chat.local_addr().expect("an address");
    tokio::spawn(room(chat, Arc::clone(&rooms)));
    // Nobody listens there yet.
    let mail_address = format!("127.0.0.1:{}", ports::free());

    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let flags = [
        format!("--slack-url=http://{chat_address}/services/T1"),
        format!("--mail-server={mail_address}"),
        "--mail-from=Chronos <chronos@example.com>".to_owned(),
        "--cluster-name=test".to_owned(),
    ];
    let mut schedulers = Schedulers::start(&cluster, 1, &flags);
    schedulers.leader(&cluster).await;
    let job = json!({
        "name": "fails", "command": "exit 3", "owner": "owner@example.com", "retries": 0,
        "cpus": 0.1, "mem": 16, "disk": 1,
    });
    let url = format!("http://{}/v1/scheduler/iso8601", schedulers.addresses[0]);
    let answer = cluster.http.post(url).json(&job).send().await.expect("an answer");
    assert_eq!(answer.status(), 204);

    until("the chat room is told", START, async || {
        let rooms = rooms.lock().await;
        check(rooms.len() == 1, || format!("{rooms:?}"))
    })
    .await;
    let said: Value = serde_json::from_str(&rooms.lock().await[0]).expect("JSON");
    let said = said["text"].as_str().expect("text").to_owned();
    let wanted = "[test] [Chronos] job 'fails' failed, and its retries are exhausted: task ct:";
    assert!(said.starts_with(wanted) && said.contains("exited with status 3"), "{said}");

    // What waits, and why, is seen; also by the next scheduler.
    let waits = async |schedulers: &Schedulers| {
        until("the mail waits", START, async || {
            let seen = schedulers.get(&cluster, "/v1/scheduler/notifications").await?;
            let mail = seen["channels"].as_array().into_iter().flatten().find(|one| one["channel"] == "mail");
            let problem = mail.map(|mail| mail["lastProblem"].to_string()).unwrap_or_default();
            // The mail alone: what was said in the room waits until that is noted.
            let waiting: Vec<&Value> = seen["waiting"].as_array().into_iter().flatten().collect();
            let alone = waiting.len() == 1 && waiting[0]["to"] == "owner@example.com";
            check(alone && problem.contains("refused"), || seen.to_string())
        })
        .await;
    };
    waits(&schedulers).await;
    let metrics = cluster.http.get(format!("http://{}/metrics", schedulers.addresses[0]));
    let metrics = metrics.header("Accept", "text/plain;version=0.0.4").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("chronos_notifications_waiting{channel=\"mail\"} 1"), "{metrics}");
    assert!(metrics.contains("chronos_notifications{channel=\"slack\",outcome=\"sent\"} 1"), "{metrics}");
    schedulers.processes[0].kill();
    schedulers.processes[0].restart();
    waits(&schedulers).await;

    let office = TcpListener::bind(&mail_address).await.expect("the port");
    tokio::spawn(post_office(office, Arc::clone(&letters)));
    until("the mail is there", START, async || {
        let seen = schedulers.get(&cluster, "/v1/scheduler/notifications").await?;
        check(letters.lock().await.len() == 1 && seen["waiting"] == json!([]), || seen.to_string())
    })
    .await;
    // Long lines are wrapped on their way.
    let letter = letters.lock().await[0].replace("=\n", "");
    for part in ["From: Chronos <chronos@example.com>", "To: owner@example.com", "exited with status 3"] {
        assert!(letter.contains(part), "{part} is not in\n{letter}");
    }
    assert_eq!(rooms.lock().await.len(), 1, "what was sent is not sent again");
}
