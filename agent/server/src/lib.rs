//! The agent process: link to the master, checkpoints on disk, containers, HTTP routes

mod clock;
mod config;
mod containers;
mod driver;
mod error;
mod http;
mod janitor;
mod limits;
mod link;
mod machine;
mod process;
mod settings;
mod store;
mod volumes;

pub use config::Config;
pub use error::Error;
pub use front::logging::Logs;
pub use machine::share;
pub use process::{Containers, Process, run};
