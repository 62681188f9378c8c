//! What is known about runs, on disk.
