//! The `noop` engine.
