//! Tests of preparing a DAG.
