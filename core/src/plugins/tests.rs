//! Tests of `plugins.toml`: overlays, secrets, mistakes.

use std::fs;

use serde_json::json;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn load(folder: &tempfile::TempDir, environment: Option<&str>) -> Result<Plugins, String> {
    let path = folder.path().join("plugins.toml");
    let folder = format!("{}/", folder.path().display());
    Plugins::load(Some(&path), environment, false).map_err(|e| e.to_string().replace(&folder, ""))
}

#[test]
fn an_overlay_changes_only_what_it_names() {
    let folder = folder(&[
        (
            "plugins.toml",
            "[engines.bq]\npath = 'bq'\nmax_concurrent = 4\n[engines.bq.config]\na = 1\nb = {c = 1, d = 1}",
        ),
        ("plugins.prod.toml", "[engines.bq]\npath = './lib/bq.so'\n[engines.bq.config]\nb = {d = 2}"),
    ]);
    let base = load(&folder, None).unwrap().engines["bq"].clone();
    assert_eq!(base.library, LibraryPath::Name("bq".to_owned()));
    let prod = load(&folder, Some("prod")).unwrap().engines["bq"].clone();
    assert_eq!(prod.library, LibraryPath::File(folder.path().join("./lib/bq.so")));
    assert_eq!(prod.max_concurrent, Some(4));
    assert_eq!(prod.config, json!({"a": 1, "b": {"c": 1, "d": 2}}));
}

#[test]
fn an_overlay_adds_pools_and_changes_their_sizes() {
    let folder = folder(&[
        ("plugins.toml", "[pools]\nwarehouse = 4\n'api.v2' = 1"),
        ("plugins.prod.toml", "[pools]\nwarehouse = 16\nslow = 1"),
    ]);
    let pools = |environment| load(&folder, environment).unwrap().pools.into_iter().collect::<Vec<_>>();
    let named =
        |pools: &[(&str, u32)]| pools.iter().map(|&(name, n)| (name.to_owned(), n)).collect::<Vec<_>>();
    assert_eq!(pools(None), named(&[("api.v2", 1), ("warehouse", 4)]));
    assert_eq!(pools(Some("prod")), named(&[("api.v2", 1), ("slow", 1), ("warehouse", 16)]));
}

#[test]
fn a_connection_is_a_text_a_file_or_a_variable() {
    let folder = folder(&[
        (
            "plugins.toml",
            "[connections.GCP]\nkey = { file = 'key.json' }\nuser = 'me'\nhome = { env = 'CARGO_MANIFEST_DIR' }\nno = { env = 'OXIDAG_NOT_SET' }",
        ),
        ("key.json", "{}"),
    ]);
    let plugins = load(&folder, None).unwrap();
    assert_eq!(plugins.connection("GCP", "key").unwrap(), "{}");
    assert_eq!(plugins.connection("GCP", "user").unwrap(), "me");
    assert_eq!(plugins.connection("GCP", "home").unwrap(), env!("CARGO_MANIFEST_DIR"));
    insta::assert_snapshot!(plugins.connection("GCP", "no").unwrap_err(), @"the connection `**GCP_no` needs the environment variable OXIDAG_NOT_SET, which is not set to a text");
    insta::assert_snapshot!(plugins.connection("AWS", "key").unwrap_err(), @"the connection `**AWS_key` is not in plugins.toml; add key below [connections.AWS]");
}

#[test]
fn mistakes_are_told_with_their_place_and_without_secrets() {
    let error = |text: &str| load(&folder(&[("plugins.toml", text)]), None).unwrap_err();
    insta::assert_snapshot!(error("[engines.bq]\npath = 'x'\npth = 'y'"), @"plugins.toml:3:1: unknown field `pth`, expected one of `path`, `sha256`, `max_concurrent`, `isolation`, `limits`, `config`");
    insta::assert_snapshot!(error("[connections]\nGCP = 's3cret'"), @"plugins.toml:2:7: invalid type, expected a table");
    insta::assert_snapshot!(error("[connections]\nGCP = 4711"), @"plugins.toml:2:7: invalid type, expected a table");
    insta::assert_snapshot!(error("[connections.GCP]\nkey = 4711"), @r#"plugins.toml:2:7: expected a text, { file = "…" } or { env = "…" }"#);
    insta::assert_snapshot!(error("[connections.GCP]\nkey = {file = 'a', env = 'b'}"), @r#"plugins.toml:2:7: expected a text, { file = "…" } or { env = "…" }"#);
    insta::assert_snapshot!(error("[connections.GCP]\nkey = 's3cret"), @"plugins.toml:2:14: invalid literal string, expected `'`");
    insta::assert_snapshot!(error("[engines.bq]\npath = 'x'\nmax_concurrent = 0"), @"plugins.toml:3:18: invalid value, expected a nonzero u32");
    insta::assert_snapshot!(error("[engines.bq]\npath = 'x'\nsha256 = '1'"), @"plugins.toml:3:10: sha256 must be 64 hexadecimal digits, as `sha256sum` prints them");
    insta::assert_snapshot!(error("[pools]\n'a b' = 1"), @r"plugins.toml:2:1: a pool's name must be 1 to 250 ASCII letters, digits, `_`, `-` and `.`");
    insta::assert_snapshot!(error("[pools]\na = 0"), @r"plugins.toml:2:5: invalid value, expected a nonzero u32");
    insta::assert_snapshot!(error("[engines.bq]"), @r#"plugins.toml: engine `bq` has no `path`; name its library, such as path = "oxidag_engine_bq""#);
    insta::assert_snapshot!(load(&folder(&[]), None).unwrap_err(), @"cannot read plugins.toml: No such file or directory (os error 2)");
    insta::assert_snapshot!(load(&folder(&[("plugins.toml", "")]), Some("prod")).unwrap_err(), @"environment `prod` has no file plugins.prod.toml; create it, or leave out --env");
}

#[test]
fn without_a_file_there_are_the_engines_that_need_no_settings() {
    let plugins = Plugins::load(None, None, false).unwrap();
    assert_eq!(plugins.engines.keys().collect::<Vec<_>>(), ["noop", "shell", "sql"]);
    assert_eq!(plugins.engines["sql"].config, json!({}));
}

#[test]
fn locations_are_laid_over_key_by_key() {
    const KEY: &str =
        r#"{"client_email": "a", "private_key": "b", "private_key_id": "c", "project_id": "d"}"#;
    let folder = folder(&[
        (
            "plugins.toml",
            "[locations.gcs]\nendpoint = 'http://base:1/'\nservice_account = { file = 'key.json' }
[locations.s3]\nregion = 'eu'\naccess_key_id = 'id'\nsecret_access_key = 's3cret-one'
[locations.database]\nscript_column = 'text'\n[cache]\nredis = 'redis://:s3cret-two@h'",
        ),
        (
            "plugins.prod.toml",
            "[locations.gcs]\nendpoint = 'https://prod'\n[locations.s3]\nsecret_access_key = { env = 'OXIDAG_NOT_SET' }",
        ),
        ("key.json", &format!("{KEY}\n")),
    ]);
    let base = load(&folder, None).unwrap();
    let settings = base.locations.buckets().unwrap();
    assert_eq!(settings.gcs.endpoint.as_deref(), Some("http://base:1"));
    assert_eq!(settings.gcs.service_account.as_deref(), Some(KEY));
    assert_eq!(settings.s3.secret_access_key.as_deref(), Some("s3cret-one"));
    assert_eq!(base.script_columns(), Columns { name: "name".to_owned(), script: "text".to_owned() });
    assert_eq!(base.redis().unwrap().unwrap().to_string(), "redis://h:6379");
    let key = format!("{KEY}\n");
    assert_eq!(
        base.secrets(),
        [&*key, "id", "s3cret-one", "redis://:s3cret-two@h", "s3cret-two", "s3cret-two"]
    );

    let prod = load(&folder, Some("prod")).unwrap();
    let told = |error: PluginsError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(told(prod.buckets().unwrap_err()), @"plugins.toml with plugins.prod.toml: `secret_access_key` of [locations.s3] needs the environment variable OXIDAG_NOT_SET, which is not set to a text");
    assert_eq!(prod.secrets(), [&*key, "id", "redis://:s3cret-two@h", "s3cret-two", "s3cret-two"]);
    assert!(!format!("{base:?}").contains("s3cret"), "{base:?}");
}

#[test]
fn mistakes_in_locations_are_told_without_secrets() {
    let error = |text: &str| load(&folder(&[("plugins.toml", text)]), None).unwrap_err();
    insta::assert_snapshot!(error("[locations.gcs]\nendpoint = 'host:1'"), @"plugins.toml:2:12: an endpoint is a URL such as https://storage.example.org, without a user");
    insta::assert_snapshot!(error("[locations.s3]\nsecret = 's3cret'"), @"plugins.toml:2:1: unknown field `secret`, expected one of `endpoint`, `region`, `access_key_id`, `secret_access_key`, `session_token`, `anonymous`");
    insta::assert_snapshot!(error("[cache]\nredis = 6379"), @r#"plugins.toml:2:9: expected a text, { file = "…" } or { env = "…" }"#);
    for wrong in ["0", "'0s'", "-1", "'soon'", "nan", "inf", "true", "2026-01-01"] {
        let said = error(&format!("[cache]\ntimeout = {wrong}")).to_string();
        assert!(said.ends_with("plugins.toml:2:11: timeout must be a time such as 250ms or 2s, or a number of seconds, above 0"), "{wrong}: {said}");
    }
    insta::assert_snapshot!(error("[locations.s3]\naccess_key_id = 's3cret'"), @"plugins.toml: [locations.s3] has no `secret_access_key`: the two keys are given both or neither");
    insta::assert_snapshot!(error("[locations.s3]\nsecret_access_key = 's3cret'"), @"plugins.toml: [locations.s3] has no `access_key_id`: the two keys are given both or neither");
    insta::assert_snapshot!(error("[logs]\nupload = 'gs://b/a/../c'"), @"plugins.toml:2:10: logs are uploaded to a bucket or a folder in one: gs://bucket/folder or s3://bucket/folder");
    let cache = |url: &str| {
        let folder = folder(&[("plugins.toml", &format!("[cache]\nredis = '{url}'"))]);
        let error = load(&folder, None).unwrap().script_cache().unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    insta::assert_snapshot!(cache("http://:s3cret@h"), @"plugins.toml: `redis` of [cache] is no URL such as redis://127.0.0.1:6379 or rediss://:password@host:6380/0");
    insta::assert_snapshot!(cache(" "), @"plugins.toml: `redis` of [cache] is empty");
}

#[test]
fn a_bucket_of_a_database_is_a_connection_or_the_url_of_one() {
    let text = "[connections.WAREHOUSE]\nurl = \"sqlite:a.db\\n\"\nother = 'sqlite:b.db'\n[connections.MY_DB]\nurl = 'sqlite:c.db'";
    let plugins = load(&folder(&[("plugins.toml", text)]), None).unwrap();
    let database = |bucket| plugins.database(bucket).map_err(|error| error.to_string());
    assert_eq!(database("WAREHOUSE").as_deref(), Ok("sqlite:a.db"));
    assert_eq!(database("WAREHOUSE_other").as_deref(), Ok("sqlite:b.db"));
    assert_eq!(database("MY_DB").as_deref(), Ok("sqlite:c.db"));
    insta::assert_snapshot!(database("LAKE").unwrap_err(), @"the connection `**LAKE_url` is not in plugins.toml; add url below [connections.LAKE]");
}
