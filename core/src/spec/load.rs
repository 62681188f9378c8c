//! A DAG file from disk: read within limits, told apart as JSON or YAML, lowered.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::dag::{Addition, Dag};
use super::diagnostic::{Diagnostic, Diagnostics, Mistakes};
use super::source::{SourceFile, Span};
use super::tree::{Parsed, Refused, Value};
use super::{json, lower, subs, yaml};

/// The largest DAG file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// Why a DAG file gives no [`Dag`].
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Nothing is there.
    #[error("{}: error: there is no such file", .0.display())]
    NotFound(PathBuf),
    /// A directory is there.
    #[error("{}: error: this is a directory; name a DAG file in it", .0.display())]
    IsDirectory(PathBuf),
    /// It cannot be read.
    #[error("{}: error: cannot read the file: {source}", path.display())]
    Read {
        /// The path as the user gave it.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is larger than a DAG file may be.
    #[error("{}: error: the file is larger than {} MiB; split the DAG", .0.display(), LARGEST >> 20)]
    TooLarge(PathBuf),
    /// It is not text in UTF-8.
    #[error(
        "{}:{line}:{column}: error: this is not UTF-8: byte {byte:#04x} at offset {offset}; save the file as UTF-8",
        path.display()
    )]
    NotUtf8 {
        /// The path as the user gave it.
        path: PathBuf,
        /// The line of the byte, from 1.
        line: usize,
        /// The column of the byte, from 1, in characters.
        column: usize,
        /// The first byte that is not UTF-8.
        byte: u8,
        /// Its offset in the file.
        offset: usize,
    },
    /// It can be read, and what it says is wrong.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

/// Reads and checks a DAG file. The source comes with the [`Dag`], since later mistakes point into it too.
///
/// # Errors
///
/// [`SpecError::Invalid`] holds every mistake of the file; the other errors say why it could not be read.
pub fn load(path: &Path) -> Result<(Dag, SourceFile), SpecError> {
    let (dag, source) = load_alone(path)?;
    subs::attach(dag, source)
}

/// The file without those that its tasks stand for.
pub(super) fn load_alone(path: &Path) -> Result<(Dag, SourceFile), SpecError> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?;
    Ok(parse(SourceFile::new(path.to_owned(), text))?)
}

/// Checks the text of a DAG file.
///
/// # Errors
///
/// Every mistake of the file, with the source they point into.
pub fn parse(source: SourceFile) -> Result<(Dag, SourceFile), Diagnostics> {
    let json = source.text().trim_start().starts_with('{').then(|| lower::json_dag(&source)).flatten();
    let dag = json.unwrap_or_else(|| {
        let parsed = tree(&source).map_err(|refused| refused.mistakes)?;
        lower::dag(&source, parsed)
    });
    match dag {
        Ok(dag) => Ok((dag, source)),
        Err(mistakes) => Err(Diagnostics::new(source, mistakes.into_list())),
    }
}

/// Checks the text of what an engine adds to the graph, as strictly as a DAG file; whether the tasks that it names are
/// there is for the graph to say. Its tasks are numbered from `first`.
///
/// # Errors
///
/// Every mistake of the text.
pub fn parse_addition(text: String, first: u32) -> Result<Addition, Diagnostics> {
    let source = SourceFile::new("the addition".into(), text);
    let addition = tree(&source).map_err(|refused| refused.mistakes);
    let addition = addition.and_then(|parsed| lower::addition(&source, parsed, first));
    addition.map_err(|mistakes| Diagnostics::new(source, mistakes.into_list()))
}

fn read(path: &Path) -> Result<Vec<u8>, SpecError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SpecError::NotFound(path.to_owned()),
        io::ErrorKind::IsADirectory => SpecError::IsDirectory(path.to_owned()),
        _ => SpecError::Read { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(SpecError::IsDirectory(path.to_owned()));
    }
    if metadata.len() > LARGEST {
        return Err(SpecError::TooLarge(path.to_owned()));
    }
    // A pipe has no length, and a file may grow while it is read.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(SpecError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> SpecError {
    let offset = error.utf8_error().valid_up_to();
    let (valid, rest) = error.as_bytes().split_at(offset);
    let source = SourceFile::new(PathBuf::new(), String::from_utf8_lossy(valid).into_owned());
    let (line, column) = source.line_column(u32::MAX);
    SpecError::NotUtf8 {
        path: path.to_owned(),
        line,
        column,
        byte: rest.first().copied().unwrap_or_default(),
        offset,
    }
}

/// The content decides: a bracket begins JSON. In a YAML file it may also begin YAML's own brackets.
fn tree(source: &SourceFile) -> Result<Parsed<'_>, Refused> {
    let text = source.text();
    let extension = source.path().extension().unwrap_or_default();
    let is_yaml = extension == "yaml" || extension == "yml";
    let invalid = if is_yaml { "invalid YAML" } else { "neither JSON nor YAML" };
    if text.trim_start().starts_with(['{', '[']) {
        let parsed = json::parse(text);
        if !is_yaml || parsed.as_ref().err().is_none_or(|refused| !refused.syntax) {
            return parsed;
        }
    }
    let parsed = yaml::parse(text, invalid)?;
    if matches!(parsed.root.value, Value::Null) && parsed.root.span == Span::default() {
        return Err(empty());
    }
    Ok(parsed)
}

fn empty() -> Refused {
    let help = "a DAG file holds at least `tasks`; `oxidag schema dag` describes it";
    let mut mistakes = Mistakes::default();
    mistakes.push(Diagnostic::new(Span::default(), "the file is empty").with_help(help));
    Refused { mistakes, syntax: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let said = load(&path).unwrap_err().to_string();
        said.replace(&folder.path().display().to_string(), "…")
    }

    #[test]
    fn a_file_is_read_with_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nightly.yaml");
        let text = "tasks: [{task_id: a, script: local.b.f.sql.n}]";
        std::fs::write(&path, text).unwrap();
        let (dag, source) = load(&path).unwrap();
        assert_eq!(dag.dag_id, "nightly");
        assert_eq!((source.path(), source.text()), (&*path, text));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = load(Path::new("no/such.yaml")).unwrap_err().to_string();
        insta::assert_snapshot!(said, @"no/such.yaml: error: there is no such file");
    }

    #[test]
    fn a_directory_is_no_dag() {
        let said = load(Path::new(".")).unwrap_err().to_string();
        insta::assert_snapshot!(said, @".: error: this is a directory; name a DAG file in it");
    }

    #[test]
    fn text_that_is_not_utf_8_is_pointed_at() {
        let said = refused("dag.yaml", b"owner: me\ntags: [\xc3\xa9\xff]\n");
        insta::assert_snapshot!(said, @"…/dag.yaml:2:9: error: this is not UTF-8: byte 0xff at offset 19; save the file as UTF-8");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dag.json");
        // Without content: the file system stores no blocks for it.
        File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(matches!(load(&path), Err(SpecError::TooLarge(_))));
    }

    #[test]
    fn mistakes_in_a_file_come_with_its_path() {
        let said = refused("dag.json", b"{\"tasks\": []}");
        assert!(said.starts_with("…/dag.json:1:11: error: a DAG has at least one task"), "{said}");
    }
}
