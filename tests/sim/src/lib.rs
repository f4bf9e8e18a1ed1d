//! A whole cluster in one process: virtual time, seeded faults, checked promises.
//!
//! | file | its one subject |
//! |---|---|
//! | `world/` | who is there, what happens next, the phases; what breaks, and who comes and goes among the masters |
//! | `context.rs`, `queue.rs` | time, the queue of events, what moves on the network |
//! | `net.rs`, `frame.rs` | connections, walls, and what travels |
//! | `clock.rs` | each machine's own idea of the time |
//! | `weather.rs`, `faults.rs` | what a seed chooses, and what it may break |
//! | `version.rs` | what the next version says that this one does not know |
//! | `machine/` | the real cores and clients, each with a driver for this world |
//! | `check/` | the promises, one checker each |
//! | `trace.rs` | a run as one number |
//!
//! The same seed and the same code give the same run, bit for bit: nothing here knows the real time, an address in
//! memory, or the order of a hash map.

pub mod check;
pub mod clock;
pub mod context;
mod faults;
pub mod frame;
pub mod machine;
pub mod net;
mod queue;
pub mod trace;
pub mod version;
pub mod weather;
pub mod world;

pub use world::{Choices, Report, run};
