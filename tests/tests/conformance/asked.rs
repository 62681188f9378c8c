//! What is asked of the kit: without cases, with wrong ones, with secrets.

use oxidag_tests::{Sandbox, engine};

#[test]
fn without_cases_what_can_be_tested_is_and_the_rest_is_said() {
    let sandbox = Sandbox::new();
    let library = engine("noop").display().to_string();
    let arguments = ["engines", "test", &library, "--only", "success", "--only", "failure"];
    let text = sandbox.oxidag(&arguments).expect_status(0).stdout;
    assert!(text.contains("success                  passed"), "{text}");
    assert!(
        text.contains("failure                  not tested      the cases have no `tasks.failure`"),
        "{text}"
    );
    assert!(text.contains("--cases FILE"), "{text}");
    let strict = sandbox.oxidag(&[&arguments[..], &["--strict"]].concat());
    assert!(strict.expect_status(1).stdout.contains("1 not tested"));
}

#[test]
fn an_engine_that_takes_no_empty_script_is_not_at_fault() {
    let sandbox = Sandbox::new();
    let library = engine("sql").display().to_string();
    let text = sandbox.oxidag(&["engines", "test", &library, "--only", "success"]).expect_status(0).stdout;
    assert!(text.contains("say in `tasks.success` of the cases what succeeds"), "{text}");
}

#[test]
fn a_wrong_request_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("cases.toml", "[tasks.sucess]\n");
    let library = engine("noop").display().to_string();
    let refused = |arguments: &[&str]| {
        let ended = sandbox.oxidag(&[&["engines", "test"], arguments].concat()).expect_status(2);
        assert_eq!(ended.stdout, "");
        ended.stderr
    };
    assert!(refused(&["./gone.so"]).contains("cannot read the library ./gone.so"));
    assert!(refused(&["."]).contains(". is no file"));
    assert!(refused(&[&library, "--cases", "gone.toml"]).contains("cannot read the cases gone.toml"));
    let mistake = refused(&[&library, "--cases", "cases.toml"]);
    assert!(mistake.contains("cases.toml: line 1: unknown field `sucess`"), "{mistake}");
    assert!(refused(&[&library, "--timeout", "0s"]).contains("nothing ends in no time"));
    assert!(refused(&[&library, "--only", "everything"]).contains("everything"));
}

#[test]
fn connections_are_parameters_and_print_as_stars() {
    let sandbox = Sandbox::new();
    sandbox.write("secret.txt", "a very secret word");
    let cases =
        "[tasks.failure]\nscript = 'echo \"$A_b\" >&2; exit 1'\n[connections]\nA_b = {file = 'secret.txt'}\n";
    sandbox.write("cases.toml", cases);
    let library = engine("shell").display().to_string();
    let arguments = ["engines", "test", &library, "--cases", "cases.toml", "--only", "failure"];
    let text = sandbox.oxidag(&arguments).expect_status(0).stdout;
    assert!(text.contains("exit status 1: ***") && !text.contains("secret"), "{text}");
}
