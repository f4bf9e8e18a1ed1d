//! Fetching from real servers and files, archives of strangers included.

mod attacks;
mod ordinary;
mod rig;
