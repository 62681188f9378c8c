//! Recognises a Python script of pyDag's.

/// What to do with one.
pub(crate) const HELP: &str = "this is a Python script, as pyDag's `iac` engine ran it; here a script declares \
    what there shall be, in YAML: `resource: dataproc_cluster`, `action: create`, `region: …`, `name: …`, and \
    what the Python put into `config` below `config:`, keys and all; dags/pydag/iac_scripts has pyDag's cluster \
    written so, and docs/engines/iac.md says more";

/// Whether a text is Python rather than YAML: some line begins as statements do and declarations do not.
pub(crate) fn is_python(text: &str) -> bool {
    text.lines().any(|line| {
        let import = line.starts_with("import ") || (line.starts_with("from ") && line.contains(" import "));
        let block =
            (line.starts_with("class ") || line.starts_with("def ")) && line.trim_end().ends_with(':');
        import || block
    })
}
