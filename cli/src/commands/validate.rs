//! `oxidag validate`.

use std::path::Path;

use anyhow::Context as _;
use oxidag_core::plugins::Plugins;
use oxidag_core::prepare::{self, Engines};
use oxidag_core::spec::{self, Dag, Diagnostic, Diagnostics, SourceFile, SpecError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::ValidateArgs;
use crate::exit::Exit;
use crate::format::count;
use crate::style::Palette;
use crate::{failure, output, settings};

pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let params = args.params.map();
    let mut checked = Vec::with_capacity(args.dags.len());
    for dag in &args.dags {
        let plugins = settings::plugins(&args.environment, Some(dag))?;
        checked.push(Checked { path: dag, found: check(dag, &plugins, &params) });
    }
    if args.json {
        let answers: Vec<Answer> = checked.iter().map(Checked::answer).collect();
        output::print_json(&answers).context("cannot print the answer")?;
    } else {
        tell(&checked)?;
    }
    let all_valid = checked.iter().all(|checked| checked.found.is_ok());
    Ok(if all_valid { Exit::Success } else { Exit::Refused })
}

/// A file, and what was found in it.
struct Checked<'a> {
    path: &'a Path,
    found: Result<Valid, SpecError>,
}

/// A file that is right.
struct Valid {
    dag: Dag,
    source: SourceFile,
    /// What this environment lacks to run it.
    missing: Vec<Diagnostic>,
}

fn check(path: &Path, plugins: &Plugins, params: &Map<String, Value>) -> Result<Valid, SpecError> {
    let (dag, source) = spec::load(path)?;
    match prepare::check(&dag, source.path(), plugins, &mut Engines::default(), params) {
        Ok(checked) if checked.mistakes.is_empty() => Ok(Valid { dag, source, missing: checked.missing }),
        Ok(checked) => Err(Diagnostics::new(source, checked.mistakes).into()),
        Err(cycles) => Err(Diagnostics::new(source, cycles).into()),
    }
}

/// Mistakes and warnings to standard error; what is right to standard output, unless something is wrong.
fn tell(checked: &[Checked<'_>]) -> anyhow::Result<()> {
    let palette = Palette::stderr();
    let mut valid = String::new();
    let mut refused = false;
    for Checked { path, found } in checked {
        match found {
            Ok(found) => {
                warnings(found).into_iter().for_each(|text| {
                    output::remark(format_args!("{} {text}", palette.warning("warning:")));
                });
                let tasks = count(found.dag.tasks.len(), "task");
                valid += &format!("{}: valid, {tasks}\n", path.display());
            }
            Err(error) => {
                refused = true;
                failure::tell(error, palette);
            }
        }
    }
    if !refused {
        output::print(&valid).context("cannot print the answer")?;
    }
    Ok(())
}

/// What is missing, said once for all places that miss it.
fn warnings(found: &Valid) -> Vec<String> {
    let mut grouped: Vec<(&Diagnostic, usize)> = Vec::new();
    for missing in &found.missing {
        match grouped.iter_mut().find(|(first, _)| first.message == missing.message) {
            Some((_, more)) => *more += 1,
            None => grouped.push((missing, 0)),
        }
    }
    let text = |(first, more): (&Diagnostic, usize)| {
        let (line, column) = found.source.line_column(first.span.start);
        let mut text = format!("{}:{line}:{column}: {}", found.source.path().display(), first.message);
        if more > 0 {
            text += &format!(" (and in {})", count(more, "more place"));
        }
        if let Some(help) = &first.help {
            text += &format!("\n  help: {help}");
        }
        text
    };
    grouped.into_iter().map(text).collect()
}

/// What `--json` prints for a file.
#[derive(Serialize)]
struct Answer<'a> {
    path: String,
    dag_id: Option<&'a str>,
    valid: bool,
    mistakes: Vec<Finding<'a>>,
    missing: Vec<Finding<'a>>,
}

/// A mistake, or something that is missing. The file that cannot be read has no places.
#[derive(Serialize)]
struct Finding<'a> {
    line: Option<usize>,
    column: Option<usize>,
    message: std::borrow::Cow<'a, str>,
    help: Option<&'a str>,
}

impl Checked<'_> {
    fn answer(&self) -> Answer<'_> {
        let path = self.path.display().to_string();
        match &self.found {
            Ok(found) => {
                let missing = findings(&found.missing, &found.source);
                Answer { path, dag_id: Some(&found.dag.dag_id), valid: true, mistakes: Vec::new(), missing }
            }
            Err(error) => {
                let mistakes = match error {
                    SpecError::Invalid(mistakes) => findings(mistakes.list(), mistakes.source()),
                    error => {
                        let message = error.to_string().into();
                        vec![Finding { line: None, column: None, message, help: None }]
                    }
                };
                Answer { path, dag_id: None, valid: false, mistakes, missing: Vec::new() }
            }
        }
    }
}

fn findings<'a>(list: &'a [Diagnostic], source: &SourceFile) -> Vec<Finding<'a>> {
    let finding = |diagnostic: &'a Diagnostic| {
        let (line, column) = source.line_column(diagnostic.span.start);
        Finding {
            line: Some(line),
            column: Some(column),
            message: (&*diagnostic.message).into(),
            help: diagnostic.help.as_deref(),
        }
    };
    list.iter().map(finding).collect()
}
