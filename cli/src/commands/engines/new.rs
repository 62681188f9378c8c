//! `oxidag engines new`: a crate with an engine that builds and passes its tests as it is. It starts no cargo, and asks no
//! registry what there is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use oxidag_core::spec::quote;

use crate::args::NewArgs;
use crate::output;

/// What is made, by its place in the crate. `src/lib.rs` is one of two.
const FILES: [(&str, &str); 9] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.template")),
    ("src/tests.rs", include_str!("template/tests.rs.template")),
    ("tests/dag.rs", include_str!("template/dag.rs.template")),
    ("plugins.toml", include_str!("template/plugins.toml.template")),
    ("example.yaml", include_str!("template/example.yaml.template")),
    ("conformance.toml", include_str!("template/conformance.toml.template")),
    ("README.md", include_str!("template/README.md.template")),
    (".gitignore", include_str!("template/gitignore.template")),
    (".github/workflows/ci.yml", include_str!("template/ci.yml.template")),
];
const BLOCKING: &str = include_str!("template/lib.rs.template");
const ASYNC: &str = include_str!("template/lib_async.rs.template");

/// The manifest of the plugin-api that this oxidag was built with.
const PLUGIN_API: &str = include_str!("../../../../plugin-api/Cargo.toml");
const PLUGIN_API_NAME: &str = "name = \"oxidag-plugin-api\"";

/// Said where the crate has no checkout to take it from.
const UNPUBLISHED: &str = "
This takes the published oxidag-plugin-api. Where cargo does not find one yet, let `path` in Cargo.toml name the folder
plugin-api of a checkout of oxidag, or make the crate with --plugin-api DIR.
";

/// The engines that oxidag has itself: another one of such a name would be taken for it.
const SHIPPED: [&str; 8] = ["bq", "cloud-function", "duckdb", "iac", "noop", "shell", "spark", "sql"];

/// The handshake has 63 bytes for it; and what is made stays as `cargo fmt` would have it.
const LONGEST_NAME: usize = 32;

pub(super) fn new(args: &NewArgs) -> anyhow::Result<()> {
    let name = checked(&args.name)?;
    let folder = args.path.clone().unwrap_or_else(|| name.into());
    if folder.symlink_metadata().is_ok() {
        bail!("{} is there already; choose another folder with --path", folder.display());
    }
    // Before anything is made: what is refused leaves nothing behind.
    let plugin_api = dependency(args.plugin_api.as_deref(), &folder)?;
    for (place, text) in
        FILES.into_iter().chain([("src/lib.rs", if args.waits_async { ASYNC } else { BLOCKING })])
    {
        let path = folder.join(place);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, filled(text, name, args.waits_async, &plugin_api)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let folder = folder.display();
    let note = if plugin_api.contains("path") { "" } else { UNPUBLISHED };
    output::print(&format!(
        "made the engine {name} in {folder}; next:\n\n  cd {folder}\n  cargo build\n  oxidag run example.yaml\n  cargo test\n{note}"
    ))
    .context("cannot print what was made")
}

fn checked(name: &str) -> anyhow::Result<&str> {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let fits = name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split(['-', '_']).all(word);
    if !fits {
        bail!(
            "{} cannot be the name of an engine: it takes lower-case letters and digits, a letter first, words joined by - or _, \
             at most {LONGEST_NAME} in all",
            quote(name)
        );
    }
    if SHIPPED.contains(&name.replace('_', "-").as_str()) {
        bail!(
            "oxidag has an engine {} of its own; choose another name, as DAGs name engines by theirs",
            quote(name)
        );
    }
    Ok(name)
}

/// Where the new crate has its plugin-api from, as TOML.
fn dependency(given: Option<&Path>, folder: &Path) -> anyhow::Result<String> {
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let folder = std::path::absolute(folder).context("cannot tell the new folder's place")?;
    let path = match given {
        Some(given) if is_plugin_api(given) => Some(absolute(given)?),
        Some(given) => bail!("{} is not the folder of oxidag-plugin-api", given.display()),
        None => match around(&folder) {
            Some((root, plugin_api)) => Some(relative(&folder, &root).unwrap_or(plugin_api)),
            None => around(&here).map(|(_, plugin_api)| plugin_api),
        },
    };
    let Some(path) = path else { return Ok(format!("version = \"{}\"", published())) };
    let path =
        path.to_str().with_context(|| format!("{} is not UTF-8; cargo cannot name it", path.display()))?;
    // A string of JSON is one of TOML.
    Ok(format!("path = {}", serde_json::Value::from(path)))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot tell where {} is", path.display()))
}

/// The checkout of oxidag around a folder, and the plugin-api in it.
fn around(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let root = folder.ancestors().find(|root| is_plugin_api(&root.join("plugin-api")))?;
    Some((root.to_owned(), root.join("plugin-api")))
}

fn is_plugin_api(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"));
    manifest.is_ok_and(|text| text.lines().any(|line| line.trim() == PLUGIN_API_NAME))
}

/// The way to the plugin-api from a folder below the checkout's root, so that both can be moved together.
fn relative(folder: &Path, root: &Path) -> Option<PathBuf> {
    let below = folder.strip_prefix(root).ok()?;
    // `..` takes another way where a link is followed.
    let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    plain.then(|| below.components().map(|_| "..").chain(["plugin-api"]).collect())
}

/// The version to ask a registry for: what was added in it is there in all later ones of its major version.
fn published() -> String {
    let version = PLUGIN_API.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap_or_default();
    let mut parts = version.trim_end_matches('"').split('.');
    [parts.next(), parts.next()].map(Option::unwrap_or_default).join(".")
}

fn filled(text: &str, name: &str, waits_async: bool, plugin_api: &str) -> String {
    let lib = format!("oxidag_engine_{}", name.replace('-', "_"));
    let library = format!("{}{lib}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let (features, tokio, new) = if waits_async {
        (
            ", features = [\"async\"]",
            "\n# `time` and `macros` are what src/lib.rs uses; the runtime is plugin-api's.\ntokio = { version = \"1\", default-features = false, features = [\"macros\", \"time\"] }",
            "new_async",
        )
    } else {
        ("", "", "new")
    };
    text.replace("@NAME@", name)
        .replace("@CRATE@", &format!("oxidag-engine-{name}"))
        .replace("@LIBRARY@", &library)
        .replace("@FEATURES@", features)
        .replace("@TOKIO@", tokio)
        .replace("@NEW@", new)
        // Last: a path may hold anything.
        .replace("@PLUGIN_API@", plugin_api)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_crate_and_a_library_can_have() {
        for good in ["bq2", "cloud-functions", "my_engine2", "a"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for bad in ["", "2fast", "Bq", "a b", "a--b", "-a", "a-", "ünder", "a.b", "../a", "a/b", &long] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_engine_is_made_under_the_name_of_one_that_oxidag_has() {
        let engines = concat!(env!("CARGO_MANIFEST_DIR"), "/../engines");
        for entry in fs::read_dir(engines).unwrap().map(|entry| entry.unwrap().path()) {
            let manifest = fs::read_to_string(entry.join("Cargo.toml")).unwrap_or_default();
            if manifest.contains("cdylib") {
                let name = entry.file_name().unwrap().to_string_lossy().into_owned();
                let refused = checked(&name).unwrap_err().to_string();
                assert!(refused.contains("of its own"), "{name}: {refused}");
            }
        }
        assert!(checked("cloud_function").is_err());
    }

    #[test]
    fn an_engine_is_under_sixty_lines_and_every_token_is_filled() {
        for (waits_async, lib) in [(false, BLOCKING), (true, ASYNC)] {
            assert!(lib.lines().count() < 60);
            for (place, text) in FILES.into_iter().chain([("src/lib.rs", lib)]) {
                let text = filled(text, "mine", waits_async, "version = \"1\"");
                assert!(!text.contains('@') || text.contains("actions/checkout@v4"), "{place}:\n{text}");
            }
        }
    }
}
