//! What the measurements share: the floors of this machine and the summary of a series.

pub mod events;
pub mod floor;
pub mod scheduler;
pub mod series;
