//! The `oxidag` command.
fn main() {}
