//! What an oxidag engine is written against.
