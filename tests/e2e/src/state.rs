//! Calls of the key-value API, as plain JSON: what a client without a library would send.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A transaction that puts one key.
pub fn put(namespace: &str, key: &str, value: &[u8]) -> Value {
    let put = json!({ "put": { "key": key, "value": STANDARD.encode(value) } });
    json!({ "type": "TXN", "namespace": namespace, "then": [put] })
}

pub fn get(namespace: &str, key: &str) -> Value {
    json!({ "type": "GET", "namespace": namespace, "key": key })
}

/// Whether the answer to a `get` has an entry with this value.
pub fn holds(answer: &Value, value: &[u8]) -> bool {
    answer["entry"]["value"] == STANDARD.encode(value)
}

/// Whether the answer to a `get` has an entry.
pub fn found(answer: &Value) -> bool {
    answer["entry"].is_object()
}
