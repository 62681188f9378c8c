//! The engines that oxidag comes with. The example in C is tested so in `engine_c`.

use oxidag_tests::{Sandbox, engine, root};
use serde_json::Value;

/// All checks of an engine with the cases in its folder.
fn report(name: &str) -> Value {
    let sandbox = Sandbox::new();
    let cases = root().join("engines").join(name).join("conformance.toml").display().to_string();
    let library = engine(name).display().to_string();
    let ended = sandbox.oxidag(&["engines", "test", &library, "--cases", &cases, "--json"]);
    ended.expect_status(0).json()
}

/// The names of the checks that came to this.
fn names<'r>(report: &'r Value, result: &str) -> Vec<&'r str> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["result"] == result).map(|check| check["check"].as_str().unwrap()).collect()
}

/// Nothing that a script can do makes these engines panic.
const PANICS: [&str; 5] = ["panic_create", "panic_validate", "panic_task", "panic_cancel", "panic_destroy"];

#[test]
fn noop_keeps_every_rule() {
    let report = report("noop");
    // It panics where a task asks for it, and nowhere else.
    let not_tested = ["panic_create", "panic_blocks", "panic_validate", "panic_cancel", "panic_destroy"];
    assert_eq!(names(&report, "not_tested"), not_tested, "{report:#}");
    assert_eq!(names(&report, "not_applicable"), ["crash_after_checkpoint"], "{report:#}");
    assert_eq!((&report["failed"], &report["passed"]), (&0.into(), &21.into()), "{report:#}");
}

#[test]
fn shell_keeps_every_rule() {
    let report = report("shell");
    assert_eq!(names(&report, "not_tested"), PANICS, "{report:#}");
    assert_eq!(names(&report, "not_applicable"), ["panic_blocks"], "{report:#}");
}

#[test]
fn sql_keeps_every_rule() {
    let report = report("sql");
    assert_eq!(names(&report, "not_tested"), PANICS, "{report:#}");
    assert_eq!(names(&report, "not_applicable"), ["crash_after_checkpoint", "panic_blocks"], "{report:#}");
}

/// Those whose services are not here.
#[test]
fn engines_of_services_keep_the_rules_that_need_no_service() {
    for name in ["bq", "cloud_function", "duckdb", "iac", "spark"] {
        let (sandbox, library) = (Sandbox::new(), engine(name).display().to_string());
        let report = sandbox.oxidag(&["engines", "test", &library, "--json"]).expect_status(0).json();
        let passed = names(&report, "passed");
        let all = ["handshake", "schema", "create", "config_refused", "malformed"];
        assert_eq!(passed[..5], all, "{name}: {report:#}");
    }
}
