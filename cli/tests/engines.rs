//! `oxidag engines`.

use oxidag_tests::{Sandbox, engine};

#[test]
fn engines_are_listed_whether_they_load_or_not() {
    let sandbox = Sandbox::new();
    let text = format!(
        "[engines.noop]\npath = {noop:?}\n[engines.strict]\npath = {noop:?}\nconfig = {{colour = 'red'}}\n[engines.gone]\npath = './gone.so'\n[engines.pinned]\npath = {noop:?}\nsha256 = '{}'\n",
        "0".repeat(64),
        noop = engine("noop"),
    );
    sandbox.write("plugins.toml", &text);
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    let find = |name: &str| {
        let all = list.as_array().into_iter().flatten();
        all.clone().find(|engine| engine["name"] == name).unwrap_or_else(|| panic!("{name}: {list}"))
    };
    let noop = find("noop");
    assert_eq!(
        (noop["state"].as_str(), noop["version"].is_string(), noop.get("error")),
        (Some("loaded"), true, None)
    );
    assert_eq!(noop["isolation"], "in-process");
    let error = |name| {
        assert_eq!(find(name)["state"], "refused");
        find(name)["error"].as_str().unwrap_or_default()
    };
    assert!(error("gone").contains("gone.so"));
    assert!(error("strict").starts_with("its configuration is refused"));
    assert!(error("pinned").contains("SHA-256"));
    assert!(find("strict")["version"].is_string(), "its library is good");
    let table = sandbox.oxidag(&["engines", "list"]).expect_status(0).stdout;
    assert!(
        table.starts_with("ENGINE  STATE    VERSION")
            && table.contains("ISOLATION")
            && table.contains("\ngone: cannot read"),
        "{table}"
    );
}

#[test]
fn an_engine_is_inspected_by_its_name_or_its_file() {
    let sandbox = Sandbox::new();
    let named = sandbox.oxidag(&["engines", "inspect", "sql", "--json"]).expect_status(0).json();
    assert_eq!((named["engine"].as_str(), named["state"].as_str()), (Some("sql"), Some("loaded")));
    assert_eq!(named["isolation"], "in-process");
    assert_eq!(named["sha256"].as_str().map(str::len), Some(64));
    assert!(named["config_schema"]["properties"]["url"].is_object(), "{named}");
    let path = engine("noop").display().to_string();
    let file = sandbox.oxidag(&["engines", "inspect", &path]).expect_status(0).stdout;
    assert!(
        file.contains("engine        noop\n")
            && file.contains("\nbuilt with    rustc ")
            && !file.contains("config_schema"),
        "{file}"
    );
    let asked = sandbox.oxidag(&["engines", "inspect", &path, "--describe"]).expect_status(0).stdout;
    assert!(asked.contains("state         compatible\n") && asked.contains("config_schema\n{"), "{asked}");
}

#[test]
fn what_is_no_engine_cannot_be_inspected() {
    let sandbox = Sandbox::new();
    sandbox.write("no.so", "no library");
    let refused = |engine| sandbox.oxidag(&["engines", "inspect", engine]).expect_status(2).stderr;
    assert!(refused("bq").starts_with("error: there is no engine `bq`; plugins.toml has: noop, shell, sql"));
    assert!(refused("no.so").contains("say ./no.so"));
    assert!(refused(".").starts_with("error: there is no engine"));
    assert!(refused("./").contains("./ is no file"));
    assert!(refused("./gone.so").contains("cannot read ./gone.so"));
    let no = sandbox.oxidag(&["engines", "inspect", "./no.so", "--json"]).expect_status(1).json();
    assert_eq!((no["state"].as_str(), no["sha256"].as_str().map(str::len)), (Some("refused"), Some(64)));
    assert!(no["error"].as_str().unwrap_or_default().contains("./no.so: it is not a shared library"), "{no}");
}
