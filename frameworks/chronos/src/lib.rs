//! The batch scheduler: runs jobs at their times, behind the Chronos v1 REST API.

pub mod core;
pub mod limits;
