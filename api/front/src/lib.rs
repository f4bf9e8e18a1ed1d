//! How our servers meet their clients: the accept loop with its bounds, who may ask, and a standby's way to its leader.

pub mod credential;
pub mod door;
pub mod guard;
pub mod standby;
