//! The `sql` engine.
