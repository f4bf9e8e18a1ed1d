//! Client libraries that others wrote against the v1 API, unmodified, driven through one scenario.
//!
//! Each library has a folder with its pinned version and an adapter: a small program in the library's language that
//! takes commands, a line of JSON each, and says what it saw, a line each (`client` has the lines). What is tested is
//! said once, in `scenario`; adapters know nothing of it.

pub mod client;
pub mod install;
pub mod scenario;
