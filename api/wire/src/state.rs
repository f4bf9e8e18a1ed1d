//! The shapes of `POST /api/v1/state`: the replicated key-value space, its leases and its watches.
//!
//! A call is one JSON object with a `type`, a `namespace` and the fields of its kind. An answer repeats the type
//! and gives the `revision` at which it is true: the index of the replicated log, which orders every change of
//! every namespace. Values are base64, keys are text. Unknown fields are refused, so that a misspelt `lease`
//! does not silently make a key immortal.
//!
//! ```json
//! {"type":"TXN","namespace":"marathon","request":"b0c1…",
//!  "compare":[{"key":"apps/web","modRevision":17}],
//!  "then":[{"put":{"key":"apps/web","value":"eyJpZCI6Ii93ZWIifQ=="}}],
//!  "else":[{"get":{"key":"apps/web"}}]}
//! ```
//!
//! `WATCH` is answered by a RecordIO stream of [`WatchRecord`]s, every other call by one [`Answer`], a call that
//! is refused by a [`Failure`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// The most entries one `RANGE` returns, and the number it returns when the call names none.
pub const RANGE_LIMIT: u32 = 1_000;

/// Opaque bytes, written as standard base64 with padding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Bytes);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Self(bytes.into())),
            Err(error) => Err(de::Error::custom(format!("not standard base64: {error}"))),
        }
    }
}

/// One call, as decoded by [`Call::from_slice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Reads one key. Linearizable: it sees every write acknowledged before it.
    Get(Get),
    /// Reads the keys under a prefix in order, a page at a time.
    Range(Range),
    /// Compares, then does all of one branch at one revision, or all of the other.
    Txn(Txn),
    /// Follows the changes under a prefix from a revision on.
    Watch(Watch),
    /// Makes a lease; keys put with it go when it ends.
    LeaseGrant(LeaseGrant),
    /// Puts the end of a lease off by its whole time to live.
    LeaseKeepalive(LeaseName),
    /// Ends a lease now; its keys are deleted.
    LeaseRevoke(LeaseName),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Get {
    pub namespace: String,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    pub namespace: String,
    /// Empty means every key of the namespace.
    #[serde(default)]
    pub prefix: String,
    /// The `next` of the page before: keys up to and including it are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// 1 to [`RANGE_LIMIT`]; a page may hold fewer because its bytes are bounded too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Txn {
    pub namespace: String,
    /// Chosen at random by the client. A repetition with the same id is answered with the first outcome and
    /// changes nothing, which makes it safe to send again after a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// All must hold for `then`; none given holds.
    #[serde(default)]
    pub compare: Vec<Compare>,
    #[serde(default)]
    pub then: Vec<Operation>,
    #[serde(default, rename = "else")]
    pub otherwise: Vec<Operation>,
}

/// A condition on one key. Exactly one of the targets is given. A key that does not exist has version and
/// revisions 0, and no value: it differs from every value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compare {
    pub key: String,
    /// How the key's property stands to the given one; `EQUAL` when left out.
    #[serde(default, skip_serializing_if = "is_equal")]
    pub is: Relation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mod_revision: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Relation {
    #[default]
    Equal,
    NotEqual,
    Less,
    Greater,
}

fn is_equal(relation: &Relation) -> bool {
    *relation == Relation::Equal
}

/// A step of a branch: an object with one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Operation {
    Put(Put),
    Delete(Key),
    Get(Key),
    Range(Page),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Put {
    pub key: String,
    pub value: Base64,
    /// The lease whose end deletes the key. Left out, the key stays, also if it was under a lease before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    pub key: String,
}

/// A range inside a transaction, in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Page {
    #[serde(default)]
    pub prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watch {
    pub namespace: String,
    #[serde(default)]
    pub prefix: String,
    /// The first revision wanted. After a read at revision r, r + 1 misses nothing. Left out: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseGrant {
    pub namespace: String,
    /// Chosen at random by the client. Granting an id again that is alive with the same time to live answers
    /// the lease as it stands.
    pub lease: String,
    /// Milliseconds without a keepalive after which the lease ends.
    pub ttl_millis: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseName {
    pub namespace: String,
    pub lease: String,
}

/// The answer to every call but `WATCH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Answer {
    Get(GetAnswer),
    Range(RangeAnswer),
    Txn(TxnAnswer),
    LeaseGrant(LeaseAnswer),
    LeaseKeepalive(LeaseAnswer),
    LeaseRevoke(RevokeAnswer),
}

/// A key as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub key: String,
    pub value: Base64,
    /// 1 when created, one more with each put since.
    pub version: u64,
    pub create_revision: u64,
    pub mod_revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetAnswer {
    pub revision: u64,
    /// `null` when the key does not exist.
    pub entry: Option<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RangeAnswer {
    pub revision: u64,
    pub entries: Vec<Entry>,
    /// Present when keys were left out: the `after` of the next page. Pages are read at different revisions; a
    /// watch from the first page's revision + 1 brings them to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TxnAnswer {
    /// Where the writes took effect; for a repetition, where they first did.
    pub revision: u64,
    /// Whether all compares held, so that `then` was done rather than `else`.
    pub succeeded: bool,
    /// True for a repetition: nothing was done this time and `results` is empty.
    pub replayed: bool,
    /// One for each operation of the branch taken.
    pub results: Vec<OperationAnswer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OperationAnswer {
    Put {},
    Delete {
        /// Whether the key existed.
        existed: bool,
    },
    Get {
        entry: Option<Entry>,
    },
    Range {
        entries: Vec<Entry>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseAnswer {
    pub revision: u64,
    pub lease: String,
    pub ttl_millis: u64,
    /// The revision at which the lease was granted: higher for every later holder, so it fences earlier ones.
    pub token: u64,
    /// Keepalives seen so far.
    pub renewals: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeAnswer {
    pub revision: u64,
    /// Whether there was such a lease; false for a repetition.
    pub existed: bool,
}

/// A record of a watch stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WatchRecord {
    /// The first record: events from this revision on will follow.
    Started { revision: u64 },
    /// Whole revisions in order; every event up to `revision` has been sent.
    Events { revision: u64, events: Vec<Event> },
    /// Nothing to tell; every event up to `revision` has been sent. Serves as heartbeat.
    Progress { revision: u64 },
    /// Events the watcher asked for are no longer kept. The last record: read the keys, then watch from there.
    Compacted {
        /// The newest revision whose events are gone.
        revision: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Event {
    Put { entry: Entry },
    Delete { key: String, revision: u64 },
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A sentence naming the rule.
    pub error: String,
    /// Where in the call: `then[2].put.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Why a body is not a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct CallError {
    /// The path of the offending field, or `body`.
    pub field: String,
    pub reason: String,
}

impl CallError {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

const KINDS: &str = "GET, RANGE, TXN, WATCH, LEASE_GRANT, LEASE_KEEPALIVE, LEASE_REVOKE";

impl Call {
    /// Reads a call. The fields are decoded in a second step, by type, because an internally tagged enum loses
    /// the path of what it could not read.
    ///
    /// # Errors
    /// What is not JSON, lacks a type, has an unknown or missing field, or a value of the wrong type, by its path.
    pub fn from_slice(body: &[u8]) -> Result<Self, CallError> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| CallError::new("body", error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(CallError::new("body", "must be a JSON object"));
        };
        let kind = match fields.shift_remove("type") {
            Some(Value::String(kind)) => kind,
            Some(_) => return Err(CallError::new("type", "must be a string")),
            None => return Err(CallError::new("type", format!("is required: one of {KINDS}"))),
        };
        let fields = Value::Object(fields);
        match kind.as_str() {
            "GET" => Ok(Self::Get(decode(fields)?)),
            "RANGE" => Ok(Self::Range(decode(fields)?)),
            "TXN" => Ok(Self::Txn(decode(fields)?)),
            "WATCH" => Ok(Self::Watch(decode(fields)?)),
            "LEASE_GRANT" => Ok(Self::LeaseGrant(decode(fields)?)),
            "LEASE_KEEPALIVE" => Ok(Self::LeaseKeepalive(decode(fields)?)),
            "LEASE_REVOKE" => Ok(Self::LeaseRevoke(decode(fields)?)),
            other => Err(CallError::new("type", format!("`{other}` is not one of {KINDS}"))),
        }
    }

    /// The namespace the call is about.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Get(call) => &call.namespace,
            Self::Range(call) => &call.namespace,
            Self::Txn(call) => &call.namespace,
            Self::Watch(call) => &call.namespace,
            Self::LeaseGrant(call) => &call.namespace,
            Self::LeaseKeepalive(call) | Self::LeaseRevoke(call) => &call.namespace,
        }
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Tagged<'a, T> {
            r#type: &'a str,
            #[serde(flatten)]
            fields: &'a T,
        }
        fn tagged<S: Serializer, T: Serialize>(s: S, kind: &str, fields: &T) -> Result<S::Ok, S::Error> {
            Tagged { r#type: kind, fields }.serialize(s)
        }
        match self {
            Self::Get(call) => tagged(serializer, "GET", call),
            Self::Range(call) => tagged(serializer, "RANGE", call),
            Self::Txn(call) => tagged(serializer, "TXN", call),
            Self::Watch(call) => tagged(serializer, "WATCH", call),
            Self::LeaseGrant(call) => tagged(serializer, "LEASE_GRANT", call),
            Self::LeaseKeepalive(call) => tagged(serializer, "LEASE_KEEPALIVE", call),
            Self::LeaseRevoke(call) => tagged(serializer, "LEASE_REVOKE", call),
        }
    }
}

fn decode<T: DeserializeOwned>(fields: Value) -> Result<T, CallError> {
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // A missing or unknown field is reported at its parent; the reason names it.
        CallError::new(if path == "." { "body".to_owned() } else { path }, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(body: &str, expected: &Expect) {
        let text = match Call::from_slice(body.as_bytes()) {
            Ok(call) => serde_json::to_string(&call).unwrap(),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn calls_are_read_and_written() {
        check(
            r#"{"type":"GET","namespace":"m","key":"a"}"#,
            &expect![[r#"{"type":"GET","namespace":"m","key":"a"}"#]],
        );
        check(
            r#"{"type":"RANGE","namespace":"m"}"#,
            &expect![[r#"{"type":"RANGE","namespace":"m","prefix":""}"#]],
        );
        check(
            r#"{"type":"TXN","namespace":"m","request":"r1","compare":[{"key":"a","exists":false},{"key":"b","is":"LESS","version":3}],"then":[{"put":{"key":"a","value":"aGk=","lease":"l"}},{"delete":{"key":"c"}}],"else":[{"get":{"key":"a"}},{"range":{"prefix":"x/","limit":5}}]}"#,
            &expect![[
                r#"{"type":"TXN","namespace":"m","request":"r1","compare":[{"key":"a","exists":false},{"key":"b","is":"LESS","version":3}],"then":[{"put":{"key":"a","value":"aGk=","lease":"l"}},{"delete":{"key":"c"}}],"else":[{"get":{"key":"a"}},{"range":{"prefix":"x/","limit":5}}]}"#
            ]],
        );
        check(
            r#"{"type":"WATCH","namespace":"m","prefix":"x/","from":9}"#,
            &expect![[r#"{"type":"WATCH","namespace":"m","prefix":"x/","from":9}"#]],
        );
        check(
            r#"{"type":"LEASE_GRANT","namespace":"m","lease":"l","ttlMillis":5000}"#,
            &expect![[r#"{"type":"LEASE_GRANT","namespace":"m","lease":"l","ttlMillis":5000}"#]],
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("{", &expect!["error: body: EOF while parsing an object at line 1 column 1"]);
        check("[]", &expect!["error: body: must be a JSON object"]);
        check(
            r#"{"namespace":"m"}"#,
            &expect![
                "error: type: is required: one of GET, RANGE, TXN, WATCH, LEASE_GRANT, LEASE_KEEPALIVE, LEASE_REVOKE"
            ],
        );
        check(r#"{"type":7}"#, &expect!["error: type: must be a string"]);
        check(
            r#"{"type":"FETCH"}"#,
            &expect![
                "error: type: `FETCH` is not one of GET, RANGE, TXN, WATCH, LEASE_GRANT, LEASE_KEEPALIVE, LEASE_REVOKE"
            ],
        );
        check(r#"{"type":"GET","namespace":"m"}"#, &expect!["error: body: missing field `key`"]);
        check(
            r#"{"type":"GET","namespace":"m","key":1}"#,
            &expect!["error: key: invalid type: integer `1`, expected a string"],
        );
        check(
            r#"{"type":"GET","namespace":"m","key":"a","keys":"b"}"#,
            &expect!["error: keys: unknown field `keys`, expected `namespace` or `key`"],
        );
        check(
            r#"{"type":"TXN","namespace":"m","then":[{"put":{"key":"a","value":"%"}}]}"#,
            &expect!["error: then[0].put.value: not standard base64: Invalid symbol 37, offset 0."],
        );
        check(
            r#"{"type":"TXN","namespace":"m","then":[{"put":{"key":"a","value":"","leese":"x"}}]}"#,
            &expect![
                "error: then[0].put.leese: unknown field `leese`, expected one of `key`, `value`, `lease`"
            ],
        );
        check(
            r#"{"type":"TXN","namespace":"m","then":[{"move":{}}]}"#,
            &expect![
                "error: then[0]: unknown variant `move`, expected one of `put`, `delete`, `get`, `range`"
            ],
        );
        check(
            r#"{"type":"TXN","namespace":"m","compare":[{"key":"a","is":"ABOUT","version":1}]}"#,
            &expect![
                "error: compare[0].is: unknown variant `ABOUT`, expected one of `EQUAL`, `NOT_EQUAL`, `LESS`, `GREATER`"
            ],
        );
        check(
            r#"{"type":"LEASE_GRANT","namespace":"m","lease":"l","ttlMillis":-1}"#,
            &expect!["error: ttlMillis: invalid value: integer `-1`, expected u64"],
        );
        let deep = "[".repeat(100_000);
        check(
            &format!(r#"{{"type":"TXN","namespace":"m","then":{deep}"#),
            &expect!["error: body: recursion limit exceeded at line 1 column 164"],
        );
    }

    #[test]
    fn answers_are_documented_shapes() {
        let entry = Entry {
            key: "a".into(),
            value: Base64(Bytes::from_static(b"hi")),
            version: 1,
            create_revision: 7,
            mod_revision: 7,
            lease: None,
        };
        let answers = [
            Answer::Get(GetAnswer { revision: 7, entry: None }),
            Answer::Range(RangeAnswer { revision: 7, entries: vec![entry.clone()], next: Some("a".into()) }),
            Answer::Txn(TxnAnswer {
                revision: 7,
                succeeded: true,
                replayed: false,
                results: vec![
                    OperationAnswer::Put {},
                    OperationAnswer::Delete { existed: true },
                    OperationAnswer::Get { entry: Some(entry) },
                ],
            }),
            Answer::LeaseGrant(LeaseAnswer {
                revision: 8,
                lease: "l".into(),
                ttl_millis: 5000,
                token: 8,
                renewals: 0,
            }),
        ];
        let mut text = String::new();
        for answer in &answers {
            let line = serde_json::to_string(answer).unwrap();
            assert_eq!(&serde_json::from_str::<Answer>(&line).unwrap(), answer);
            text += &line;
            text.push('\n');
        }
        let record =
            WatchRecord::Events { revision: 9, events: vec![Event::Delete { key: "a".into(), revision: 9 }] };
        text += &serde_json::to_string(&record).unwrap();
        expect![[r#"
            {"type":"GET","revision":7,"entry":null}
            {"type":"RANGE","revision":7,"entries":[{"key":"a","value":"aGk=","version":1,"createRevision":7,"modRevision":7}],"next":"a"}
            {"type":"TXN","revision":7,"succeeded":true,"replayed":false,"results":[{"put":{}},{"delete":{"existed":true}},{"get":{"entry":{"key":"a","value":"aGk=","version":1,"createRevision":7,"modRevision":7}}}]}
            {"type":"LEASE_GRANT","revision":8,"lease":"l","ttlMillis":5000,"token":8,"renewals":0}
            {"type":"EVENTS","revision":9,"events":[{"type":"DELETE","key":"a","revision":9}]}"#]].assert_eq(&text);
    }
}
