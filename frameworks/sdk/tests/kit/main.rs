//! The kit against masters made of sockets, a key-value space in memory and a script.

mod engine;
mod masters;
mod scheduler;
mod shared;
mod space;
