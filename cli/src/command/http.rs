//! Requests of the prompt's commands: one place that follows redirects and turns a server's error into a sentence.

use front::credential::Credential;
use front::guard;
use reqwest::header::{AUTHORIZATION, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::Target;

/// A master may send us to another; more hops than this are a circle.
const REDIRECTS: usize = 5;

/// One of the APIs, and whether its answers are wanted raw.
pub(crate) struct Api {
    http: Client,
    base: String,
    credential: Option<Credential>,
    pub(crate) json: bool,
}

impl Api {
    pub(crate) fn marathon(target: &Target) -> Self {
        Self::new(&target.marathon, target.credential.clone(), target.json)
    }

    pub(crate) fn chronos(target: &Target) -> Self {
        Self::new(&target.chronos, target.credential.clone(), target.json)
    }

    pub(crate) fn master(target: &Target) -> Self {
        Self::new(&target.master, target.credential.clone(), target.json)
    }

    fn new(address: &str, credential: Option<Credential>, json: bool) -> Self {
        let base = match address.contains("://") {
            true => address.trim_end_matches('/').to_owned(),
            false => format!("http://{address}"),
        };
        // Redirects are followed here: the library would drop the credentials on the way to another master. Only a broken TLS
        // set-up of the machine fails here; without TLS there is nothing to fail.
        let http = Client::builder().redirect(Policy::none()).build().unwrap_or_default();
        Self { http, base, credential, json }
    }

    /// The same API of another server.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self::new(address, self.credential.clone(), self.json)
    }

    /// The answer, wherever the server says that it is to be had, the credentials going along.
    async fn follow(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let mut request = request.build()?;
        for _ in 0..REDIRECTS {
            let again = request.try_clone();
            let answer = self.http.execute(request).await?;
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = location
                .filter(|_| answer.status().is_redirection())
                .and_then(|location| answer.url().join(location).ok());
            match (again, target) {
                (Some(mut next), Some(target)) => {
                    *next.url_mut() = target;
                    request = next;
                }
                _ => return Ok(answer),
            }
        }
        self.http.execute(request).await
    }

    /// The status, and for an error its sentence.
    pub(crate) async fn outcome(&self, request: RequestBuilder) -> Result<(StatusCode, String), String> {
        let answer = self.follow(request).await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        Ok((status, if status.is_success() { body } else { refusal(status, &body) }))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request =
            self.http.request(method, format!("{}{path}", self.base)).header("Accept", "application/json");
        match &self.credential {
            Some(own) => request.header(AUTHORIZATION, guard::authorization(own)),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(self.request(Method::GET, path)).await
    }

    /// The answer's JSON, `null` when the body is empty.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Value, String> {
        let answer = self.send(request).await?;
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|error| format!("{} answered something that is not JSON: {error}", self.base))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let answer = self.follow(request).await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.text().await.unwrap_or_default();
        Err(refusal(status, &body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> String {
        let mut cause: &dyn std::error::Error = error;
        while let Some(below) = cause.source() {
            cause = below;
        }
        format!("{} cannot be asked: {cause}", self.base)
    }

    /// Prints the raw answer when that is wanted and says whether it did.
    pub(crate) fn raw(&self, value: &Value) -> bool {
        if self.json {
            outln!("{value:#}");
        }
        self.json
    }
}

/// What the server said, with the field each complaint concerns.
fn refusal(status: StatusCode, body: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        let text = body.trim();
        if status == StatusCode::UNAUTHORIZED {
            return format!("{status}: say who you are by STOA_CREDENTIAL or --credential");
        }
        return if text.is_empty() { status.to_string() } else { format!("{status}: {text}") };
    };
    let mut text = value["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    for detail in value["details"].as_array().into_iter().flatten() {
        let path = detail["path"].as_str().unwrap_or("");
        for error in detail["errors"].as_array().into_iter().flatten() {
            text.push_str(&format!("\n  {path}: {}", error.as_str().unwrap_or_default()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each request alike; what it was asked, one head after the other.
    async fn server(answer: String) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.split();
            let mut heads = Vec::new();
            let mut lines = BufReader::new(read).lines();
            let mut head = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if !line.is_empty() {
                    head.push_str(&line);
                    head.push('\n');
                    continue;
                }
                heads.push(std::mem::take(&mut head));
                write.write_all(answer.as_bytes()).await.unwrap();
                write.shutdown().await.unwrap();
                break;
            }
            heads
        });
        (address, asked)
    }

    #[tokio::test]
    async fn credentials_go_along_to_the_master_that_leads() {
        let (leader, led) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned()).await;
        let moved = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: //{leader}/weights\r\nContent-Length: 0\r\n\r\n"
        );
        let (standby, stood) = server(moved).await;
        let api = Api::new(&standby, Some("ops:op-pw".parse().unwrap()), false);
        assert_eq!(api.get("/weights").await.unwrap(), serde_json::json!({}));
        for asked in [stood, led] {
            let heads = asked.await.unwrap();
            assert!(heads[0].contains("authorization: Basic b3BzOm9wLXB3\n"), "{heads:?}");
        }
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_told_how_to() {
        let refused = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 17\r\n\r\n401 Unauthorized.";
        let (address, asked) = server(refused.to_owned()).await;
        let error = Api::new(&address, None, false).get("/state").await.unwrap_err();
        assert_eq!(error, "401 Unauthorized: say who you are by STOA_CREDENTIAL or --credential");
        let heads = asked.await.unwrap();
        assert!(!heads[0].to_lowercase().contains("authorization"), "{heads:?}");
    }

    #[test]
    fn a_validation_error_names_each_field() {
        let body = r#"{"message":"Object is not valid","details":[{"path":"/cpus","errors":["got -1.0, expected 0.0 or more"]}]}"#;
        assert_eq!(
            refusal(StatusCode::UNPROCESSABLE_ENTITY, body),
            "Object is not valid\n  /cpus: got -1.0, expected 0.0 or more"
        );
    }

    #[test]
    fn plain_text_is_kept_with_its_status() {
        assert_eq!(
            refusal(StatusCode::SERVICE_UNAVAILABLE, "no leader\n"),
            "503 Service Unavailable: no leader"
        );
    }
}
