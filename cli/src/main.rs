//! The one program: a sub-command per role.

fn main() {}
