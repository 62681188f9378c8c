//! `oxidag schema`.

use anyhow::Context as _;

use crate::args::SchemaFile;
use crate::output;

/// The schema of `plugins.toml`, as [`oxidag_core::plugins`] reads it.
const PLUGINS: &str = include_str!("../plugins.schema.json");

pub(super) fn schema(file: SchemaFile) -> anyhow::Result<()> {
    let printed = match file {
        SchemaFile::Dag => output::print_json(&oxidag_core::spec::schema()),
        SchemaFile::Plugins => output::print(PLUGINS),
    };
    printed.context("cannot print the schema")
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::plugins::Plugins;
    use serde_json::Value;

    /// Whether the schema accepts a text, and whether the reader does.
    fn accepted(text: &str) -> (bool, bool) {
        let schema: Value = serde_json::from_str(PLUGINS).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let instance = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins.toml");
        std::fs::write(&path, text).unwrap();
        (validator.is_valid(&instance), Plugins::load(Some(&path), None, false).is_ok())
    }

    #[test]
    fn the_example_is_valid() {
        let text = include_str!("../../../plugins.toml");
        assert_eq!(accepted(text), (true, true));
    }

    #[test]
    fn the_schema_and_the_reader_agree() {
        let hash = "0123456789abcdefABCDEF00112233445566778899aabbccddeeff0011223344";
        let right = [
            String::new(),
            "[engines.a]\npath = 'x'\nmax_concurrent = 4\nisolation = 'in-process'\n[engines.a.config]\nb = {c = 1}".to_owned(),
            "[engines.a]\npath = 'x'\nisolation = 'process'".to_owned(),
            "[engines.a]\npath = 'x'\nisolation = 'process'\nlimits = {memory = '2 GiB', cpu = '1h30m', start = 5}".to_owned(),
            "[engines.a]\npath = 'x'\nisolation = 'process'\nlimits = {memory = 2000000000, cpu = 90}".to_owned(),
            format!("[engines.a]\npath = 'x'\nsha256 = '{hash}'"),
            "[connections.A]\nb = 'text'\nc = {file = 'f'}\nd = {env = 'E'}".to_owned(),
            "[locations.local]\nroot = 'scripts'".to_owned(),
            "[pools]\nwarehouse = 4\n'a.b-c' = 4294967295".to_owned(),
            "[locations.gcs]\nendpoint = 'http://h:1'\nservice_account = {file = 'f'}\nimpersonate = 'a@b'".to_owned(),
            "[locations.gcs]\nanonymous = true\n[locations.s3]\nanonymous = false".to_owned(),
            "[locations.s3]\nendpoint = 'https://h'\nregion = 'r'\naccess_key_id = 'a'\nsecret_access_key = {env = 'E'}\nsession_token = 't'".to_owned(),
            "[locations.database]\nname_column = 'n'\nscript_column = 's'".to_owned(),
            "[cache]\nredis = 'redis://h'".to_owned(),
            "[cache]\nredis = {env = 'E'}".to_owned(),
            "[cache]\nredis = 'redis://h'\ntimeout = '1s 500ms'".to_owned(),
            "[cache]\ntimeout = 0.5".to_owned(),
            "[logs]\nupload = 'gs://b'\ngzip = true".to_owned(),
            "[logs]\nupload = 's3://b/a/c/'".to_owned(),
        ];
        for text in right {
            assert_eq!(accepted(&text), (true, true), "{text}");
        }
        let wrong = [
            "[engine.a]\npath = 'x'",
            "[engines.a]\npath = 1",
            "[engines.a]\npath = 'x'\npth = 'x'",
            "[engines.a]\npath = 'x'\nmax_concurrent = 0",
            "[engines.a]\npath = 'x'\nsha256 = '12'",
            "[engines.a]\npath = 'x'\nisolation = 'none'",
            "[engines.a]\npath = 'x'\nisolation = 'process'\nlimits = {memory = 'much'}",
            "[engines.a]\npath = 'x'\nisolation = 'process'\nlimits = {memory = 0}",
            "[engines.a]\npath = 'x'\nisolation = 'process'\nlimits = {time = 1}",
            "[engines.a]\npath = 'x'\nconfig = 1",
            "[connections]\nA = 'text'",
            "[connections.A]\nb = 1",
            "[connections.A]\nb = {url = 'x'}",
            "[locations.local]",
            "[pools]\na = 0",
            "[pools]\na = 'many'",
            "[pools]\n'a b' = 1",
            "[pools]\n'..' = 1",
            "[locations.moon]\nroot = 'x'",
            "[locations.gcs]\nproject = 'x'",
            "[locations.gcs]\nendpoint = 'h:1'",
            "[locations.gcs]\nservice_account = 1",
            "[locations.s3]\nendpoint = 'http://user@h'",
            "[locations.s3]\nanonymous = 'yes'",
            "[locations.database]\ntable = 't'",
            "[cache]\nredis = 6379",
            "[cache]\nexpire = 1",
            "[cache]\ntimeout = 0",
            "[cache]\ntimeout = true",
            "[logs]\nupload = 'file:///logs'",
            "[logs]\nupload = 's3://b//a'",
            "[logs]\ngzip = 'yes'",
            "[logs]\nfolder = 'gs://b'",
        ];
        for text in wrong {
            assert_eq!(accepted(text), (false, false), "{text}");
        }
    }
}
