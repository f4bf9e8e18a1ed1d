//! A small real web server, packed as a zip that agents fetch, and the file server they fetch it from.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::wait::{check, until};

/// From a change at the supervisor to what HAProxy does with a request, on a busy machine.
const ROUTED: Duration = Duration::from_secs(30);

/// The server's program: it answers with its version and pid, and ends in order on `SIGTERM`.
const SERVER: &str = r#"
import os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        version = open("version.txt").read().strip()
        body = f"{version} {os.environ['MESOS_TASK_ID']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

server = Server((os.environ.get("HOST", "127.0.0.1"), int(sys.argv[1])), Page)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"#;

/// Serves `/site-VERSION.zip` for two versions until the runtime ends.
pub async fn serve() -> SocketAddr {
    let routes = Router::new()
        .route("/site-1.zip", get(download))
        .with_state(archive("one"))
        .merge(Router::new().route("/site-2.zip", get(download)).with_state(archive("two")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn download(State(archive): State<Bytes>) -> impl IntoResponse {
    archive
}

/// The app that runs it, one instance, with a health check and a service port.
pub fn app(uri: &str, service_port: u16) -> Value {
    json!({
        "id": "/site",
        "cmd": "cd site && exec python3 server.py $PORT",
        "cpus": 0.1,
        "mem": 64,
        "instances": 1,
        "fetch": [{ "uri": uri }],
        "portDefinitions": [{ "port": service_port, "protocol": "tcp", "name": "http" }],
        "healthChecks": [{
            "protocol": "MESOS_HTTP", "path": "/", "portIndex": 0,
            "gracePeriodSeconds": 20, "delaySeconds": 0, "intervalSeconds": 1, "timeoutSeconds": 5, "maxConsecutiveFailures": 5
        }],
        "backoffSeconds": 0.2,
        "upgradeStrategy": { "minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0 }
    })
}

/// Waits until exactly `count` instances of `version` answer through HAProxy.
pub async fn wait_routed(cluster: &Cluster, url: &str, version: &str, count: usize) {
    until(&format!("{count} instances of `{version}` answer through {url}"), ROUTED, async || {
        let mut seen = BTreeSet::new();
        for _ in 0..count * 8 {
            // A connection of its own each time: HAProxy balances connections of a client over the servers.
            let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
            let answer =
                http.get(url).send().await.map_err(|error| format!("{error:?}\n{}", cluster.logs()))?;
            let status = answer.status();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if !status.is_success() {
                return Err(format!("{status}"));
            }
            seen.insert(text.trim().to_owned());
        }
        let right = seen.iter().filter(|text| text.starts_with(version)).count();
        check(right == count && seen.len() == count, || format!("{seen:?}"))
    })
    .await;
}

fn archive(version: &str) -> Bytes {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("site/server.py", SERVER), ("site/version.txt", version)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.finish().expect("an archive").into_inner().into()
}
