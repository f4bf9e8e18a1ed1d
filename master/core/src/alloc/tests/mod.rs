//! Transcripts of the allocator, and its laws against an allocator that looks at everything.

mod agents;
mod converging;
mod ignoring;
mod laws;
mod oracle;
mod refusing;
mod script;
mod sharing;
