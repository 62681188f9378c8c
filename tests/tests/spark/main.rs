//! The engine `spark`: on the fake's clusters and batches, whose scripts run for real, on a stand-in for Livy, and by a
//! stand-in for `spark-submit`. Spark itself is in the test `spark_full`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod batch;
mod cluster;
mod crash;
mod livy;
mod many;
mod mistakes;
mod submit;
mod support;
