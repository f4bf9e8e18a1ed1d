//! How our servers meet their clients: the accept loop with its bounds, who may ask, a standby's way to its leader,
//! how much is logged, and when a stream is given up; and what is common to the bodies they are sent.

pub mod credential;
pub mod door;
pub mod guard;
pub mod logging;
pub mod packed;
pub mod probe;
pub mod standby;
