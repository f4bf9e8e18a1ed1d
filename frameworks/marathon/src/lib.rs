//! The app supervisor: keeps apps running as their users described them, behind the Marathon v2 REST API.
//!
//! [`core`] holds what is decided, as pure functions and small machines; [`supervisor`] puts them together into one
//! passive machine with inputs and effects; `driver` runs it against the masters, `http` is its API.

pub mod core;
pub mod driver;
mod http;
pub mod limits;
pub mod supervisor;

pub use driver::{Config, RunError, run, serve};
pub use http::embedded;
