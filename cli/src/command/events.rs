//! `stoa events`: the supervisor's stream, a line an event, until Ctrl-C.

use futures_util::StreamExt;
use reqwest::Method;

use super::http::Api;

/// The longest line of a stream that is kept: a longer one is not an event of ours.
const LONGEST_LINE: usize = 1 << 20;

pub(crate) async fn follow(api: &Api, types: &[String]) -> Result<(), String> {
    let filters: Vec<(&str, &str)> = types.iter().map(|name| ("event_type", name.as_str())).collect();
    let request =
        api.request(Method::GET, "/v2/events").query(&filters).header("Accept", "text/event-stream");
    let mut stream = api.send(request).await?.bytes_stream();
    let mut line = Vec::new();
    let mut name = String::new();
    while let Some(chunk) = stream.next().await {
        for byte in chunk.map_err(|error| format!("the stream broke off: {error}"))? {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > LONGEST_LINE {
                    return Err(format!("the stream has a line of more than {LONGEST_LINE} bytes"));
                }
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches('\r');
            if let Some(event) = text.strip_prefix("event:") {
                event.trim().clone_into(&mut name);
            } else if let Some(data) = text.strip_prefix("data:") {
                match api.json {
                    true => outln!("{}", data.trim()),
                    false => outln!("{name:<32} {}", data.trim()),
                }
            }
            line.clear();
        }
    }
    Err("the server closed the stream".to_owned())
}
