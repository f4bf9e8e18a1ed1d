//! Clients of the public APIs: scheduler sessions, key-value state
