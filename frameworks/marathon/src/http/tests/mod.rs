//! The API over real sockets, on a supervisor whose store and master answer at once.

mod apps;
mod door;
mod events;
mod standby;
mod wire_profile;
mod world;
