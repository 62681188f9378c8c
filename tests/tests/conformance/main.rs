//! `oxidag engines test`: oxidag's own engines keep the rules, and each check finds the engine that breaks its rule.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod asked;
mod own;
mod rogue;
