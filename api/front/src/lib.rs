//! How our servers meet their clients: the accept loop with its bounds, and a standby's way to its leader.

pub mod door;
pub mod standby;
