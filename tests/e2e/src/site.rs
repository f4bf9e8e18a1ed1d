//! A small real web server, packed as a zip that agents fetch, and the file server they fetch it from.

use std::io::Write;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;

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

fn archive(version: &str) -> Bytes {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("site/server.py", SERVER), ("site/version.txt", version)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.finish().expect("an archive").into_inner().into()
}
