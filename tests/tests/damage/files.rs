//! Files of the store that were cut off or overwritten while no process ran.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{all_succeeded, dag, gate, noop, shown, sound, states, waits};

/// A store and a copy of it, from which it is restored after each damage.
struct Store {
    sandbox: Sandbox,
    copy: PathBuf,
}

impl Store {
    /// Of this sandbox, as it is now.
    fn of(sandbox: Sandbox) -> Self {
        let copy = sandbox.path().join("copy");
        fs::rename(sandbox.home(), &copy).unwrap();
        Self { sandbox, copy }
    }

    /// Those of the database.
    fn files(&self) -> impl Iterator<Item = &'static str> {
        let all = ["oxidag.db", "oxidag.db-wal", "oxidag.db-shm"];
        all.into_iter().filter(|file| self.copy.join(file).exists())
    }

    fn original(&self, file: &str) -> Vec<u8> {
        fs::read(self.copy.join(file)).unwrap()
    }

    /// Restores everything but one file, which holds this instead.
    fn with(&self, file: &str, bytes: &[u8]) -> &Sandbox {
        let home = self.sandbox.home();
        if home.exists() {
            fs::remove_dir_all(&home).unwrap();
        }
        copy_folder(&self.copy, &home);
        fs::write(home.join(file), bytes).unwrap();
        &self.sandbox
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A store with a run that has ended; all of the database is in its own file, or the newest of it in its log.
fn store(in_log: bool) -> Store {
    let sandbox = Sandbox::new();
    let tasks: Vec<Value> =
        (0..20).map(|i| noop(&format!("t{i}"), &[], &json!({"result": "x".repeat(300)}))).collect();
    sandbox.write("dag.json", &dag(&tasks));
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    if !in_log {
        let db = Connection::open(sandbox.home().join("oxidag.db")).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    Store::of(sandbox)
}

/// Uses the store in every way; where the run is still shown as a success, it is shown as it was.
fn use_all(sandbox: &Sandbox, run: &Value, damage: &str) {
    sound(sandbox, &["runs", "list"]);
    let shown = sound(sandbox, &["runs", "show", "r", "--json"]);
    if shown.status == Some(0) && shown.json()["state"] == "success" {
        assert_eq!(shown.json(), *run, "{damage}");
    }
    sound(sandbox, &["runs", "gantt", "r"]);
    sound(sandbox, &["runs", "logs", "r", "t0"]);
    let new = sound(sandbox, &["run", "dag.json", "--run-id", "new", "--format", "json"]);
    if new.status == Some(0) {
        let shown = sound(sandbox, &["runs", "show", "new", "--json"]);
        assert!(shown.status == Some(0) && shown.json()["state"] == "success", "{damage}: {shown:#?}");
    }
}

/// Lengths at which something begins, ends or is missing a byte.
fn cuts(length: usize) -> Vec<usize> {
    let page = 4096;
    let mut cuts =
        vec![0, 1, 16, 24, 31, 32, 33, 99, 100, 101, 512, page - 1, page, page + 1, 2 * page, 3 * page + 7];
    cuts.extend([length / 2, length.saturating_sub(page), length.saturating_sub(1)]);
    cuts.retain(|cut| *cut < length);
    cuts
}

#[test]
fn a_database_that_was_cut_off_is_refused_or_used_for_what_it_is() {
    for in_log in [false, true] {
        let store = store(in_log);
        let run = shown(store.with("lock", b""), "r");
        for file in store.files() {
            let whole = store.original(file);
            for cut in cuts(whole.len()) {
                let damage = format!("{file} of {} bytes cut to {cut}, in log: {in_log}", whole.len());
                use_all(store.with(file, &whole[..cut]), &run, &damage);
            }
        }
    }
}

#[test]
fn a_database_that_was_overwritten_is_refused_or_used_for_what_it_is() {
    let mut rng = Rng::with_seed(1);
    for in_log in [false, true] {
        let store = store(in_log);
        let run = shown(store.with("lock", b""), "r");
        for file in store.files() {
            let whole = store.original(file);
            let pages = (0..whole.len()).step_by(4096).map(|at| at..(at + 4096).min(whole.len()));
            for part in pages.chain([0..16.min(whole.len()), 0..whole.len()]) {
                let mut bytes = whole.clone();
                bytes[part.clone()].iter_mut().for_each(|byte| *byte = rng.u8(..));
                use_all(
                    store.with(file, &bytes),
                    &run,
                    &format!("{file}: garbage in {part:?}, in log: {in_log}"),
                );
            }
        }
    }
}

#[test]
fn a_database_that_is_not_one_is_named_with_what_to_do() {
    let store = store(false);
    let sandbox = store.with("oxidag.db", &[b'x'; 5000]);
    for arguments in [&["runs", "list"] as &[&str], &["run", "dag.json"]] {
        let ended = sound(sandbox, arguments).expect_status(2);
        assert!(
            ended.stderr.contains("oxidag.db is not a file of oxidag, or it is damaged"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(fs::read(sandbox.home().join("oxidag.db")).unwrap(), [b'x'; 5000], "it was written to");
}

const JOURNAL: &str = "journal/r.journal";

/// A store with a run whose process was killed; most of it is in the journal alone.
fn interrupted() -> Store {
    let sandbox = Sandbox::new();
    let after = (0..3).map(|i| noop(&format!("t{i}"), &["gate"], &json!({"fail": i % 2})));
    let after = after.map(|mut task| {
        task["retries"] = json!(1);
        task["retry_delay"] = json!(0);
        task
    });
    let hang = json!({"task_id": "hang", "script": {"engine": "noop", "inline": ""}, "dependencies": ["t0"],
        "params": {"async": true, "delay_ms": 300}});
    // However late it is killed, the run is not at its end.
    let last = waits("last", "end", &["hang"]);
    let tasks: Vec<Value> = [gate(&[]), hang, last].into_iter().chain(after).collect();
    sandbox.write("dag.json", &dag(&tasks));
    let mut run = Running::start(sandbox.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]));
    run.until_task("gate", "running");
    // While somebody else has the database, everything stays in the journal.
    let db = Connection::open(sandbox.home().join("oxidag.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    sandbox.write("go", "");
    run.until_task("hang", "deferred");
    run.kill();
    drop(db);
    Store::of(sandbox)
}

fn finished(run: &Value) -> Vec<&str> {
    states(run).into_iter().filter(|(_, state)| *state == "success").map(|(task, _)| task).collect()
}

#[test]
fn a_journal_cut_anywhere_is_recovered_up_to_there() {
    let store = interrupted();
    let whole = store.original(JOURNAL);
    let mut before = Value::Null;
    for length in 0..=whole.len() {
        let run = shown(store.with(JOURNAL, &whole[..length]), "r");
        assert_eq!((&run["state"], &run["interrupted"]), (&json!("running"), &json!(true)), "{length}");
        if let Some(lost) = before.get("tasks").and_then(|_| {
            let now = finished(&run);
            finished(&before).into_iter().find(|task| !now.contains(task))
        }) {
            panic!("{lost} is lost where the journal has {length} bytes and not one less");
        }
        before = run;
    }
    assert!(finished(&before).contains(&"t0"), "the sample holds nothing: {before}");
}

#[test]
fn a_run_whose_journal_was_cut_is_resumed() {
    let store = interrupted();
    store.sandbox.write("end", "");
    let whole = store.original(JOURNAL);
    for length in (0..whole.len()).step_by(97).chain([whole.len()]) {
        let sandbox = store.with(JOURNAL, &whole[..length]);
        sound(sandbox, &["resume", "r", "--format", "json"]).expect_status(0);
        all_succeeded(&shown(sandbox, "r"));
    }
}

#[test]
fn a_journal_with_a_wrong_byte_is_recovered_up_to_there_or_named() {
    let store = interrupted();
    let whole = store.original(JOURNAL);
    for place in (0..whole.len()).filter(|place| *place < 40 || place % 13 == 0) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        let sandbox = store.with(JOURNAL, &bytes);
        let ended = sound(sandbox, &["runs", "show", "r", "--json"]);
        match ended.status {
            Some(0) => assert_eq!(ended.json()["interrupted"], true, "{place}"),
            _ => assert!(
                ended.stderr.contains("r.journal is not a file of oxidag, or it is damaged"),
                "{ended:#?}"
            ),
        }
    }
}
