//! The `shell` engine.
