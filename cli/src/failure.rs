//! The one renderer of errors.

use std::io::{self, Write as _};

use oxidag_core::spec::{Diagnostics, SpecError};

use crate::exit::Exit;
use crate::style::Palette;

/// Says on standard error why a request was refused.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        // Who reads has seen enough.
        return Exit::Success;
    }
    write(&render(error, Palette::stderr()));
    Exit::Refused
}

/// Says on standard error what is wrong with a DAG file.
pub(crate) fn tell(error: &SpecError, palette: Palette) {
    write(&render_spec(error, palette));
}

fn write(text: &str) {
    // Where standard error cannot be written, the exit status has to do.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Mistakes in files with their places; everything else as `error: …` and its causes, one on each line.
fn render(error: &anyhow::Error, palette: Palette) -> String {
    if let Some(error) = error.downcast_ref::<SpecError>() {
        return render_spec(error, palette);
    }
    if let Some(mistakes) = error.downcast_ref::<Diagnostics>() {
        return mistakes.render(palette.is_coloured());
    }
    let mut said = error.to_string();
    let mut text = format!("{} {said}\n", palette.error("error:"));
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Many errors name their cause themselves.
        if !said.contains(&cause) {
            text += &format!("  caused by: {cause}\n");
            said = cause;
        }
    }
    text
}

fn render_spec(error: &SpecError, palette: Palette) -> String {
    match error {
        SpecError::Invalid(mistakes) => mistakes.render(palette.is_coloured()),
        // Its place comes first already.
        error => format!("{error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn causes_follow_on_lines_of_their_own_unless_said_already() {
        let cause = || anyhow::Error::new(io::Error::other("no space left"));
        let render = |error| render(&error, Palette::PLAIN);
        insta::assert_snapshot!(render(cause().context("cannot write a.svg")), @"
        error: cannot write a.svg
          caused by: no space left
        ");
        insta::assert_snapshot!(render(cause().context("cannot write a.svg: no space left")), @"error: cannot write a.svg: no space left");
    }

    #[test]
    fn mistakes_in_a_dag_are_shown_with_their_places() {
        let source = oxidag_core::spec::SourceFile::new("dag.yaml".into(), "tasks: []\n".to_owned());
        let error = anyhow::Error::new(oxidag_core::spec::parse(source).unwrap_err());
        assert!(render(&error, Palette::PLAIN).starts_with("dag.yaml:1:8: error: "));
        assert!(render(&error, Palette::COLOURED).contains("\x1b["));
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let left =
            Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print").unwrap_err();
        assert_eq!(report(&left), Exit::Success);
    }
}
