//! The batch scheduler: runs jobs at their times, behind the Chronos v1 REST API.
//!
//! [`core`] holds what is decided: schedules, jobs, runs, and one passive machine with inputs and effects. The driver has the
//! kit for schedulers run it, `http` is its API,
//! and `notify` tells owners of jobs what went wrong.

pub mod core;
mod driver;
mod http;
pub mod limits;
mod notify;

pub use driver::{Batch, Config, RunError, run};
pub use notify::{Channels, Hook, Mail, Secret, Security};
