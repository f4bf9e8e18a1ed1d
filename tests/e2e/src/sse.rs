//! A reader of `/v2/events` that notes the number, type and payload of what it gets.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

/// One numbered event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub kind: String,
    pub data: String,
}

/// Why a stream was not opened.
#[derive(Debug)]
pub struct Refused {
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// An open stream.
pub struct Events {
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    unread: String,
}

/// Every type an app's life has, the ones that are only told to those who ask included.
const KINDS: [&str; 20] = [
    "api_post_event",
    "status_update_event",
    "add_health_check_event",
    "remove_health_check_event",
    "failed_health_check_event",
    "health_status_changed_event",
    "unhealthy_instance_kill_event",
    "group_change_success",
    "group_change_failed",
    "deployment_info",
    "deployment_step_success",
    "deployment_step_failure",
    "deployment_success",
    "deployment_failed",
    "app_terminated_event",
    "instance_changed_event",
    "instance_health_changed_event",
    "unknown_instance_terminated_event",
    "instance_draining_event",
    "framework_message_event",
];

impl Events {
    /// Opens the stream at a supervisor that leads, from after the event `seen`; `None` begins with what comes.
    ///
    /// # Errors
    /// It is not there, it does not lead, or it refuses.
    pub async fn open(address: &str, seen: Option<u64>) -> Result<Self, Refused> {
        let refused = |status, why| Refused { status, why };
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(std::time::Duration::from_secs(2))
            .build()
            .map_err(|error| refused(None, error.to_string()))?;
        let kinds: Vec<String> =
            KINDS.iter().chain(&SCHEDULER).map(|kind| format!("event_type={kind}")).collect();
        let url = format!("http://{address}/v2/events?{}", kinds.join("&"));
        let mut request = http.get(&url).header("Accept", "text/event-stream");
        if let Some(seen) = seen {
            request = request.header("Last-Event-ID", seen);
        }
        let answer = request.send().await.map_err(|error| refused(None, format!("{url}: {error:?}")))?;
        let status = answer.status();
        if status != 200 {
            return Err(refused(Some(status.as_u16()), format!("{url}: {status}")));
        }
        Ok(Self { bytes: answer.bytes_stream().boxed(), unread: String::new() })
    }

    /// The next event; `None` when the stream has ended, however.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.unread.find("\r\n\r\n") {
                let frame: String = self.unread.drain(..end + 4).collect();
                if let Some(event) = parse(&frame) {
                    return Some(event);
                }
            }
            let bytes = self.bytes.next().await?.ok()?;
            self.unread.push_str(std::str::from_utf8(&bytes).expect("frames are ASCII in these tests"));
        }
    }
}

/// What happens between the supervisor and the masters.
const SCHEDULER: [&str; 3] =
    ["scheduler_registered_event", "scheduler_reregistered_event", "scheduler_disconnected_event"];

/// A frame with a number. Others are signs of life or greetings.
fn parse(frame: &str) -> Option<Event> {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let id = field("id: ")?.parse().expect("a number");
    Some(Event { id, kind: field("event: ").expect("a type"), data: field("data: ").expect("a payload") })
}
