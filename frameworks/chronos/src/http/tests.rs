//! Whom the API lets in.

use sdk::Masters;
use sdk::scheduler::{Runner, Settings};
use tokio::net::TcpListener;

use crate::core::scheduler;
use crate::driver::Batch;
use crate::http::Api;
use crate::notify::Channels;

#[tokio::test]
async fn whoever_does_not_know_the_secret_gets_nothing_but_a_pong() {
    let batch = Batch::new(scheduler::Settings::default(), "root", Channels::default());
    // It is never run: the door is before all else.
    let runner = Runner::new(Settings::new("chronos", &["127.0.0.1:1".to_owned()]), batch).unwrap();
    let guard = front::guard::Guard::of_one("ops:s3cret".parse().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let masters = (Masters::new(&["127.0.0.1:1".to_owned()]), None);
    let api = Api::new(&address.to_string(), Some(guard), masters, runner.handle());
    let server = tokio::spawn(api.serve(listener, std::future::pending()));
    let http = reqwest::Client::new();
    let ask = async |path: &str, said: Option<&str>| {
        let request = http.get(format!("http://{address}{path}"));
        let request = match said {
            Some(said) => request.header("authorization", said),
            None => request,
        };
        request.send().await.unwrap()
    };

    assert_eq!(ask("/ping", None).await.status(), 200);
    // The second is `ops:wrong`.
    for said in [None, Some("Basic b3BzOndyb25n"), Some("Bearer s3cret")] {
        for path in ["/v1/scheduler/jobs", "/scheduler/jobs", "/leader", "/metrics", "/version", "/nosuch"] {
            let answer = ask(path, said).await;
            assert_eq!(answer.status(), 401, "{path}");
            assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"Mesosphere\"");
            assert_eq!(answer.text().await.unwrap(), "", "{path}");
        }
    }
    assert_eq!(ask("/version", Some("Basic b3BzOnMzY3JldA==")).await.status(), 200);
    assert_eq!(ask("/nosuch", Some("Basic b3BzOnMzY3JldA==")).await.status(), 404);
    server.abort();
}
