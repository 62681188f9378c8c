//! Ten thousand jobs at once on two workers.
