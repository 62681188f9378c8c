//! Tests of the scripts that are files, and of what is asked of the others.

use std::fs;

use super::*;
use crate::buckets::Object;

fn stored(location: Location, bucket: &str, name: &str) -> Script {
    let (bucket, name) = (bucket.to_owned(), name.to_owned());
    let source = ScriptSource::Stored { location, bucket, folder: "f".to_owned(), name };
    Script { engine: "sql".into(), source }
}

fn local(bucket: &str, name: &str) -> Script {
    stored(Location::Local, bucket, name)
}

const SQL: Kind<'static> = Kind { suffix: ".sql", other_suffixes: &[], by_reference: false, verbatim: false };

fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("b/f")).unwrap();
    root
}

#[test]
fn a_script_is_found_by_its_place_and_its_engines_suffix() {
    let root = root();
    fs::write(root.path().join("b/f/x.sql"), "select 1").unwrap();
    let script = Scripts::new(root.path().to_owned()).load(&local("b", "x"), SQL).unwrap();
    assert_eq!(&*script.text, "select 1");
}

#[test]
fn a_name_that_has_a_suffix_gets_no_other() {
    let others = [".jar".to_owned(), ".sql".to_owned()];
    let kind = Kind { suffix: ".py", other_suffixes: &others, by_reference: true, verbatim: false };
    let names = ["a", "a.py", "a.jar", "a.b"].map(|name| kind.file_name(name));
    assert_eq!(names, ["a.py", "a.py", "a.jar", "a.b.py"]);
    let plain = Kind { suffix: "", other_suffixes: &[], by_reference: false, verbatim: false };
    assert_eq!(plain.file_name("a"), "a");
}

#[test]
fn a_shared_script_is_read_once() {
    let root = root();
    let path = root.path().join("b/f/x.sql");
    fs::write(&path, "select 1").unwrap();
    let mut scripts = Scripts::new(root.path().to_owned());
    let first = scripts.load(&local("b", "x"), SQL).unwrap();
    fs::remove_file(path).unwrap();
    assert_eq!(scripts.load(&local("b", "x"), SQL).unwrap(), first);
}

#[test]
fn a_link_out_of_the_bucket_is_refused() {
    let root = root();
    fs::write(root.path().join("outside.sql"), "select 1").unwrap();
    fs::write(root.path().join("b/inside.sql"), "select 1").unwrap();
    std::os::unix::fs::symlink("../../outside.sql", root.path().join("b/f/out.sql")).unwrap();
    std::os::unix::fs::symlink("../inside.sql", root.path().join("b/f/in.sql")).unwrap();
    let mut scripts = Scripts::new(root.path().to_owned());
    assert!(matches!(scripts.load(&local("b", "out"), SQL), Err(ScriptError::Outside { .. })));
    assert!(scripts.load(&local("b", "in"), SQL).is_ok());
}

#[test]
fn what_is_missing_or_not_text_is_told() {
    let root = root();
    fs::write(root.path().join("b/f/latin.sql"), b"caf\xe9").unwrap();
    let mut scripts = Scripts::new(root.path().to_owned());
    assert!(matches!(scripts.load(&local("b", "latin"), SQL), Err(ScriptError::NotUtf8 { at: 3, .. })));
    assert!(matches!(scripts.load(&local("b", "no"), SQL), Err(ScriptError::Missing(_))));
    assert!(matches!(scripts.load(&local("no", "no"), SQL), Err(ScriptError::Missing(_))));
    fs::create_dir(root.path().join("b/f/folder.sql")).unwrap();
    assert!(matches!(scripts.load(&local("b", "folder"), SQL), Err(ScriptError::NotAScript(_))));
}

#[test]
fn who_takes_places_gets_no_text() {
    let root = root();
    let path = root.path().canonicalize().unwrap().join("b/f/my script.sql");
    fs::write(&path, b"caf\xe9 {braces}").unwrap();
    let by_reference = Kind { by_reference: true, ..SQL };
    let mut scripts = Scripts::new(root.path().to_owned());
    let script = scripts.load(&local("b", "my script"), by_reference).unwrap();
    assert_eq!((&*script.text, &script.path), ("", &None));
    let uri = script.uri.as_deref().unwrap();
    assert!(uri.starts_with("file:///") && uri.ends_with("/b/f/my%20script.sql"), "{uri}");
    assert!(matches!(scripts.load(&local("b", "no"), by_reference), Err(ScriptError::Missing(_))));

    let script = stored(Location::Gcs, "b", "x");
    assert_eq!(Scripts::to_fetch(&script, by_reference), None);
    let loaded = scripts.load(&script, by_reference).unwrap();
    assert_eq!((loaded.uri.as_deref(), &*loaded.name), (Some("gs://b/f/x.sql"), "gs://b/f/x.sql"));
    // A row has no place that a service could read.
    let row = stored(Location::Database, "B", "x");
    assert_eq!(Scripts::to_fetch(&row, by_reference).unwrap().to_string(), "database:B/f/x");
}

#[test]
fn what_was_fetched_is_loaded_and_nothing_else() {
    let mut scripts = Scripts::new(PathBuf::new());
    let place = Scripts::to_fetch(&stored(Location::S3, "b", "x"), SQL).unwrap();
    assert_eq!(place, Remote::Object(Object::parse("s3://b/f/x.sql").unwrap()));
    scripts.take(Fetched { texts: vec![(place, Ok("select 1".into()))], ..Fetched::default() });
    let script = scripts.load(&stored(Location::S3, "b", "x"), SQL).unwrap();
    assert_eq!((&*script.text, script.uri.as_deref()), ("select 1", Some("s3://b/f/x.sql")));
    let other = scripts.load(&stored(Location::S3, "b", "y"), SQL);
    assert!(matches!(other, Err(ScriptError::NotFetched("s3"))));
}
