//! `oxidag engines new`: what it makes builds, passes its own tests, and runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use oxidag_tests::{Ended, Sandbox, built, root};

/// A crate in a sandbox. Both kinds build in one folder, since nearly all that is built is the same.
struct Made {
    sandbox: Sandbox,
    target: PathBuf,
}

impl Made {
    fn new(options: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let api = root().join("plugin-api");
        let arguments = ["engines", "new", "mine", "--plugin-api", api.to_str().unwrap()];
        let made = sandbox.oxidag(&[&arguments, options].concat()).expect_status(0);
        assert!(made.stdout.contains("made the engine mine"), "{}", made.stdout);
        // The versions that are there already, so that nothing has to be fetched.
        std::fs::copy(root().join("Cargo.lock"), sandbox.path().join("mine/Cargo.lock")).unwrap();
        Self { sandbox, target: built().join("engine-new") }
    }

    fn folder(&self) -> PathBuf {
        self.sandbox.path().join("mine")
    }

    /// Cargo in the crate, as its author calls it.
    fn cargo(&self, arguments: &[&str]) -> Ended {
        let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        cargo.args(arguments).current_dir(self.folder());
        cargo.env("CARGO_TARGET_DIR", &self.target).env("CARGO_NET_OFFLINE", "true");
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
        cargo.env("OXIDAG", built().join(format!("oxidag{}", std::env::consts::EXE_SUFFIX)));
        let ended: Ended = cargo.output().unwrap().into();
        ended.expect_status(0)
    }

    /// Runs the example on the library that was built, as the crate's plugins.toml names it.
    fn run_example(&self) -> Ended {
        let library = library();
        let place = self.folder().join("target/debug");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::copy(self.target.join("debug").join(&library), place.join(&library)).unwrap();
        let mut oxidag = self.sandbox.command(&["run", "example.yaml", "--format", "json"]);
        let ended: Ended = oxidag.current_dir(self.folder()).output().unwrap().into();
        ended.expect_status(0)
    }
}

fn library() -> String {
    format!("{}oxidag_engine_mine{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

#[test]
fn what_is_made_builds_passes_its_tests_and_runs() {
    // One after the other: they share what they build.
    for options in [&[][..], &["--async"][..]] {
        let made = Made::new(options);
        let _ = made.cargo(&["fmt", "--check"]);
        let tested = made.cargo(&["test"]).stdout;
        for test in ["it_stops_between_two_lines_when_asked_or_late", "a_dag_runs_on_the_library"] {
            assert!(tested.contains(&format!("{test} ... ok")), "{tested}");
        }
        let _ = made.cargo(&["build"]);
        let lines = made.run_example().json_lines();
        let told: Vec<_> = lines.iter().filter(|e| e["event"] == "log").map(|e| &e["line"]).collect();
        assert_eq!(told, ["hello", "and goodbye"]);
        let library = made.folder().join("target/debug").join(library());
        let cases = made.folder().join("conformance.toml");
        let (library, cases) = (library.to_str().unwrap(), cases.to_str().unwrap());
        let kit = made.sandbox.oxidag(&["engines", "test", library, "--cases", cases]).expect_status(0);
        assert!(kit.stdout.contains("cancel_during"), "{}", kit.stdout);
    }
}

#[test]
fn a_request_that_cannot_be_met_makes_nothing() {
    let sandbox = Sandbox::new();
    let there = sandbox.write("there/file", "mine");
    let path = there.parent().unwrap().to_str().unwrap();
    for (arguments, why) in [
        (&["Not A Name"][..], "cannot be the name of an engine"),
        (&["../up"], "cannot be the name of an engine"),
        (&["there"], "there is there already"),
        (&["mine", "--path", path], "is there already"),
        (&["mine", "--plugin-api", path], "is not the folder of oxidag-plugin-api"),
    ] {
        let refused = sandbox.oxidag(&[&["engines", "new"], arguments].concat()).expect_status(2);
        assert!(refused.stderr.contains(why) && refused.stdout.is_empty(), "{}", refused.stderr);
    }
    assert!(!sandbox.path().join("mine").exists());
    assert_eq!(std::fs::read_to_string(there).unwrap(), "mine");
}

/// What the manifest of a new crate says of its plugin-api.
fn dependency(sandbox: &Sandbox, folder: &Path) -> String {
    let manifest = std::fs::read_to_string(sandbox.path().join(folder).join("Cargo.toml")).unwrap();
    manifest.lines().find(|line| line.starts_with("oxidag-plugin-api")).unwrap().to_owned()
}

#[test]
fn the_plugin_api_is_that_of_the_checkout_around_it_or_else_the_published_one() {
    let sandbox = Sandbox::new();
    let _ = sandbox.oxidag(&["engines", "new", "alone"]).expect_status(0);
    let manifest = std::fs::read_to_string(root().join("plugin-api/Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap();
    let minor = version.trim_end_matches('"').rsplit_once('.').unwrap().0;
    assert_eq!(
        dependency(&sandbox, Path::new("alone")),
        format!("oxidag-plugin-api = {{ version = \"{minor}\" }}")
    );

    sandbox.write("checkout/plugin-api/Cargo.toml", "[package]\nname = \"oxidag-plugin-api\"\n");
    let _ =
        sandbox.oxidag(&["engines", "new", "inside", "--path", "checkout/engines/inside"]).expect_status(0);
    assert_eq!(
        dependency(&sandbox, Path::new("checkout/engines/inside")),
        "oxidag-plugin-api = { path = \"../../plugin-api\" }"
    );
    let mut from_inside = sandbox.command(&["engines", "new", "outside", "--path", "../outside"]);
    let from_inside: Ended =
        from_inside.current_dir(sandbox.path().join("checkout")).output().unwrap().into();
    let _ = from_inside.expect_status(0);
    let api = sandbox.path().canonicalize().unwrap().join("checkout/plugin-api");
    assert_eq!(
        dependency(&sandbox, Path::new("outside")),
        format!("oxidag-plugin-api = {{ path = {api:?} }}")
    );
}
