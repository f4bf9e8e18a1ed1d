//! The data directory: whose it is, and the log of records in it.
//!
//! `checkpoint/log-<generation>` holds frames, each the records that were synced together. A compaction writes the
//! next generation aside and puts it in place by its name; the older one goes when the newer one is safe.
//! `checkpoint/synced` says how far the log is safe, so that damage at its end is told from a torn write.

mod directory;
mod writer;

pub(crate) use directory::DataDir;
pub(crate) use writer::{Told, Writer};
