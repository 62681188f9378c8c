//! What an ops team relies on: the library that was locked and no other, files that nobody else can write, and a look at a
//! library that runs none of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use oxidag_tests::{Sandbox, engine};
use serde_json::Value;

const DAG: &str = "dag_id: d\ntasks:\n  - {task_id: a, script: {engine: noop, inline: ''}}\n";

/// A copy of the engine `noop` in the sandbox, as `./noop.so` of its plugins.toml.
fn environment() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let library = sandbox.path().join("noop.so");
    fs::copy(engine("noop"), &library).unwrap();
    sandbox.write("plugins.toml", "[engines.noop]\npath = './noop.so'\n");
    sandbox.write("dag.yaml", DAG);
    (sandbox, library)
}

/// The library `own.so` of the file `own.c`.
fn compile(sandbox: &Sandbox) {
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o", "own.so", "own.c"]).current_dir(sandbox.path());
    assert!(cc.status().unwrap().success());
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Another file that is as good an engine: what follows the end of a library is not looked at by the system.
fn replace(library: &Path) {
    let mut bytes = fs::read(library).unwrap();
    bytes.push(0);
    fs::write(library, bytes).unwrap();
}

fn sha256(sandbox: &Sandbox, library: &str) -> String {
    let said = sandbox.oxidag(&["engines", "inspect", library, "--json"]).expect_status(0).json();
    said["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn a_library_that_is_not_the_locked_one_is_refused_with_both_hashes() {
    let (sandbox, library) = environment();
    let before = sha256(&sandbox, "./noop.so");
    let said = sandbox.oxidag(&["engines", "lock"]).expect_status(0).stdout;
    assert!(said.starts_with(&format!("new      ./noop.so 0.1.0 sha256:{before}\n")), "{said}");
    assert!(said.ends_with("1 library file locked in plugins.lock\n"), "{said}");
    sandbox.oxidag(&["run", "dag.yaml"]).expect_status(0);
    sandbox.oxidag(&["engines", "lock", "--check"]).expect_status(0);

    replace(&library);
    let after = sha256(&sandbox, "./noop.so");
    let refused = sandbox.oxidag(&["run", "dag.yaml"]).expect_status(2).stderr;
    for part in [&before, &after, "dag.yaml:3:26", "plugins.lock", "oxidag engines lock"] {
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    let listed = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    assert_eq!((&listed[0]["state"], &listed[0]["sha256"]), (&"refused".into(), &after.clone().into()));
    let check = sandbox.oxidag(&["engines", "lock", "--check", "--json"]).expect_status(1).json();
    assert_eq!(check["changes"][0]["library"], "./noop.so");
    assert!(check["changes"][0]["to"].as_str().unwrap().ends_with(&after), "{check}");
    sandbox.oxidag(&["run", "dag.yaml"]).expect_status(2);

    sandbox.oxidag(&["engines", "lock"]).expect_status(0);
    sandbox.oxidag(&["run", "dag.yaml"]).expect_status(0);
}

#[test]
fn one_lock_file_serves_all_environments() {
    let (sandbox, library) = environment();
    sandbox.oxidag(&["engines", "lock"]).expect_status(0);
    let copy = |name: &str| fs::copy(&library, sandbox.path().join(name)).unwrap();
    copy("other.so");
    sandbox.write("plugins.prod.toml", "[engines.noop]\npath = './other.so'\n");
    let refused = sandbox.oxidag(&["run", "dag.yaml", "--env", "prod"]).expect_status(2).stderr;
    assert!(
        refused.contains("other.so is not in ") && refused.contains("`oxidag engines lock`"),
        "{refused}"
    );
    let said = sandbox.oxidag(&["engines", "lock"]).expect_status(0).stdout;
    assert!(said.contains("new      ./other.so") && said.contains("2 library files locked"), "{said}");
    sandbox.oxidag(&["run", "dag.yaml"]).expect_status(0);
    sandbox.oxidag(&["run", "dag.yaml", "--env", "prod"]).expect_status(0);
    // What is not here can be locked where it is.
    sandbox.write("plugins.dev.toml", "[engines.noop]\npath = './third.so'\n");
    let refused = sandbox.oxidag(&["engines", "lock"]).expect_status(2).stderr;
    assert!(refused.contains("environment `dev`") && refused.contains("one by one with --env"), "{refused}");
    sandbox.oxidag(&["engines", "lock", "--env", "prod"]).expect_status(0);
    copy("third.so");
    let said = sandbox.oxidag(&["engines", "lock", "--env", "dev"]).expect_status(0).stdout;
    assert!(said.contains("new      ./third.so") && said.contains("3 library files locked"), "{said}");
    // What no file names any more goes.
    sandbox.write("plugins.prod.toml", "");
    let said = sandbox.oxidag(&["engines", "lock"]).expect_status(0).stdout;
    assert!(said.contains("removed  ./other.so") && said.contains("2 library files locked"), "{said}");
}

#[test]
fn a_lock_file_is_written_by_a_request_that_can_be_met() {
    let sandbox = Sandbox::new();
    let lock = || sandbox.oxidag(&["engines", "lock"]).expect_status(2).stderr;
    fs::remove_file(sandbox.path().join("plugins.toml")).unwrap();
    assert!(lock().contains("there is no plugins.toml to lock"));
    sandbox.write("plugins.toml", "[engines.gone]\npath = './gone.so'\n");
    let refused = lock();
    assert!(refused.contains("`gone`") && refused.contains("gone.so"), "{refused}");
    sandbox.write("plugins.lock", "[libraries.x]\nsha256 = 'short'\n");
    assert!(lock().contains("plugins.lock:2:10: sha256 must be 64 hexadecimal digits"), "{}", lock());
}

#[test]
fn a_lock_file_that_is_gone_is_no_licence() {
    let (sandbox, _) = environment();
    std::os::unix::fs::symlink("nowhere", sandbox.path().join("plugins.lock")).unwrap();
    let refused = sandbox.oxidag(&["run", "dag.yaml"]).expect_status(2).stderr;
    assert!(refused.contains("cannot read") && refused.contains("plugins.lock"), "{refused}");
}

#[test]
fn a_lock_holds_for_those_who_link_to_its_plugins_too() {
    let (sandbox, library) = environment();
    sandbox.oxidag(&["engines", "lock"]).expect_status(0);
    let folder = sandbox.path().join("linked");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("../plugins.toml", folder.join("plugins.toml")).unwrap();
    // Its paths count from the link.
    fs::copy(&library, folder.join("noop.so")).unwrap();
    let run = ["run", "dag.yaml", "--plugins", "linked/plugins.toml"];
    sandbox.oxidag(&run).expect_status(0);
    replace(&folder.join("noop.so"));
    let refused = sandbox.oxidag(&run).expect_status(2).stderr;
    assert!(refused.contains("SHA-256") && refused.contains("plugins.lock"), "{refused}");
    // One beside the link counts before it.
    fs::write(folder.join("plugins.lock"), "").unwrap();
    let refused = sandbox.oxidag(&run).expect_status(2).stderr;
    assert!(refused.contains("is not in linked/plugins.lock"), "{refused}");
    sandbox.oxidag(&["engines", "lock", "--plugins", "linked/plugins.toml"]).expect_status(0);
    sandbox.oxidag(&run).expect_status(0);
}

#[test]
fn what_others_can_write_above_a_file_is_what_they_can_write() {
    let (sandbox, library) = environment();
    let deep = sandbox.path().join("open/engines");
    fs::create_dir_all(&deep).unwrap();
    fs::rename(&library, deep.join("noop.so")).unwrap();
    sandbox.write("plugins.toml", "[engines.noop]\npath = './open/engines/noop.so'\n");
    sandbox.oxidag(&["run", "dag.yaml"]).expect_status(0);
    set_mode(&sandbox.path().join("open"), 0o777);
    let refused = sandbox.oxidag(&["run", "dag.yaml"]).expect_status(2).stderr;
    assert!(
        refused.contains("others can write the folder ") && refused.contains("open (mode 0777)"),
        "{refused}"
    );
    sandbox.oxidag(&["run", "dag.yaml", "--allow-writable"]).expect_status(0);
}

#[test]
fn a_version_of_any_characters_is_locked_and_shown_without_them() {
    let sandbox = Sandbox::new();
    // The version has a DEL, and what clears a terminal.
    let source = r#"
struct { char magic[16]; unsigned major, minor; char plugin_api[32], rustc[96], target[64], engine[64], version[32]; }
    oxidag_engine_handshake = { "oxidag engine\0\0\1", 1, 0, "", "", "", "own", "1\x7f\033[2J" };
"#;
    sandbox.write("own.c", source);
    compile(&sandbox);
    sandbox.write("plugins.toml", "[engines.own]\npath = './own.so'\n");
    let said = sandbox.oxidag(&["engines", "lock"]).expect_status(0).stdout;
    assert!(said.contains("new      ./own.so 1"), "{said}");
    assert!(!said.contains(['\x7f', '\x1b']), "{said:?}");
    sandbox.oxidag(&["engines", "lock", "--check"]).expect_status(0);
}

#[test]
fn what_others_can_write_is_used_only_when_asked_for() {
    let (sandbox, library) = environment();
    sandbox.write("plugins.prod.toml", "");
    sandbox.oxidag(&["engines", "lock"]).expect_status(0);
    for (file, place) in [
        ("plugins.toml", "plugins.toml (mode 0666)"),
        ("plugins.prod.toml", "plugins.prod.toml (mode 0666)"),
        ("plugins.lock", "plugins.lock (mode 0666)"),
        ("noop.so", "noop.so (mode 0666)"),
    ] {
        let path = sandbox.path().join(file);
        set_mode(&path, 0o666);
        let run = ["run", "dag.yaml", "--env", "prod"];
        let refused = sandbox.oxidag(&run).expect_status(2).stderr;
        for part in [place, "others can write", "chmod go-w", "--allow-writable"] {
            assert!(refused.contains(part), "{part} is not in {refused}");
        }
        sandbox.oxidag(&[&run[..], &["--allow-writable"]].concat()).expect_status(0);
        set_mode(&path, 0o644);
    }
    set_mode(&library, 0o666);
    let refused = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    assert_eq!(refused[0]["state"], "refused", "{refused}");
    let lock = sandbox.oxidag(&["engines", "lock"]).expect_status(2).stderr;
    assert!(lock.contains("`noop`: others can write"), "{lock}");
}

#[test]
fn a_look_at_a_file_runs_none_of_its_code() {
    let sandbox = Sandbox::new();
    // The constructor runs as soon as the library is opened.
    let source = r#"
#include <stdio.h>
#include <stdlib.h>
struct { char magic[16]; unsigned major, minor; char texts[288]; } oxidag_engine_handshake =
    { "oxidag engine\0\0\1", 1, 0, "" };
__attribute__((constructor)) static void ran(void) { fclose(fopen(getenv("RAN"), "w")); }
"#;
    sandbox.write("own.c", source);
    compile(&sandbox);
    let ran = sandbox.path().join("ran");
    let inspect = |more: &[&str]| {
        let arguments = [&["engines", "inspect", "./own.so", "--json"], more].concat();
        oxidag_tests::Ended::from(sandbox.command(&arguments).env("RAN", &ran).output().unwrap())
    };
    let said: Value = inspect(&[]).expect_status(0).json();
    assert_eq!((said["abi"].as_str(), said["state"].as_str()), (Some("1.0"), Some("compatible")));
    assert!(said.get("config_schema").is_none() && !ran.exists());
    // The same library, opened.
    assert!(inspect(&["--describe"]).expect_status(2).stderr.contains("not laid out so"));
    assert!(ran.exists());
}

#[test]
fn a_library_for_another_processor_is_told_by_its_file() {
    let (sandbox, library) = environment();
    let mut bytes = fs::read(&library).unwrap();
    // `e_machine` of the ELF header: EM_S390.
    bytes[18..20].copy_from_slice(&22_u16.to_le_bytes());
    fs::write(&library, bytes).unwrap();
    let refused = sandbox.oxidag(&["run", "dag.yaml"]).expect_status(2).stderr;
    assert!(refused.contains("noop.so was built for") && refused.contains("this machine is"), "{refused}");
    let said = sandbox.oxidag(&["engines", "inspect", "./noop.so", "--json"]).expect_status(1).json();
    assert_eq!(said["state"], "refused", "{said}");
}

#[test]
fn the_current_folder_is_never_searched() {
    let (sandbox, library) = environment();
    fs::rename(&library, sandbox.path().join("libmine.so")).unwrap();
    sandbox.write("plugins.toml", "[engines.noop]\npath = 'mine'\n");
    for path in ["", ".", ":", "./"] {
        let mut command = sandbox.command(&["run", "dag.yaml"]);
        let ended = oxidag_tests::Ended::from(command.env("OXIDAG_ENGINE_PATH", path).output().unwrap());
        assert!(ended.expect_status(2).stderr.contains("libmine.so is in none of"), "{path:?}");
    }
    let mut command = sandbox.command(&["run", "dag.yaml"]);
    let ended =
        oxidag_tests::Ended::from(command.env("OXIDAG_ENGINE_PATH", sandbox.path()).output().unwrap());
    let _: oxidag_tests::Ended = ended.expect_status(0);
}
