//! Bytes to messages and back: the only crate that knows serde and protobuf
