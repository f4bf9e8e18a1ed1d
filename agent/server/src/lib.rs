//! The agent process: link to the master, checkpoints on disk, containers, HTTP routes

mod config;
mod error;

pub use config::Config;
pub use error::Error;
