//! What an engine must not be built with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use oxidag_tests::root;

/// What the compiler says of plugin-api alone, with this panic strategy. Its dependencies are not given, so it
/// never succeeds.
fn compiled(panic: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "-C",
            &format!("panic={panic}"),
        ])
        .args(["--cap-lints", "allow", "--out-dir"])
        .arg(folder.path())
        .arg(root().join("plugin-api/src/lib.rs"))
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_engine_that_aborts_on_panic_does_not_compile_and_is_told_why() {
    let why = "must not be compiled with panic = \"abort\"";
    assert!(compiled("abort").contains(why));
    assert!(!compiled("unwind").contains(why));
}
