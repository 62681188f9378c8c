//! `oxidag engines test`: the conformance kit on a library's file, and what people read of it.
//!
//! The kit is the library's; here it is given its processes, which are this program again.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use oxidag_core::conformance::{self, Cases, Check, Grade, Kit, Report};
use serde::Serialize;

use crate::args::TestArgs;
use crate::exit::Exit;
use crate::format::one_line;
use crate::output;
use crate::style::{Painted, Palette};

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the program is called with for one check.
const CHILD: [&str; 2] = ["engines", "test-child"];

/// All that was seen: a public shape.
#[derive(Serialize)]
struct Reports<'a> {
    library: &'a Path,
    #[serde(flatten)]
    counts: Counts,
    checks: &'a [Report],
}

/// How many checks came to what.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
    not_tested: usize,
    not_applicable: usize,
}

impl Counts {
    fn of(reports: &[Report]) -> Self {
        let count = |grade| reports.iter().filter(|report| report.verdict.grade == grade).count();
        Self {
            passed: count(Grade::Passed),
            failed: count(Grade::Failed),
            not_tested: count(Grade::NotTested),
            not_applicable: count(Grade::NotApplicable),
        }
    }
}

pub(crate) fn test(args: &TestArgs) -> anyhow::Result<Exit> {
    let library = library(&args.library)?;
    let cases = args.cases.as_deref().map(Cases::read).transpose()?.unwrap_or_default();
    let folder = tempfile::tempdir().context("cannot make a folder for the checks")?;
    let program = std::env::current_exe().context("cannot find the program oxidag itself")?;
    let wanted = |check: &Check| args.only.is_empty() || args.only.contains(check);
    let kit = Kit {
        program: (program, CHILD.map(str::to_owned).to_vec()),
        library,
        cases,
        // Longer is for ever.
        timeout: args.timeout.min(A_DAY),
        grace: args.grace.min(A_DAY),
        folder: folder.path().to_owned(),
        checks: Check::ALL.into_iter().filter(wanted).collect(),
    };
    let reports = made(&kit, args.json)?;
    let counts = Counts::of(&reports);
    let printed = if args.json {
        output::print_json(&Reports { library: &kit.library, counts, checks: &reports })
    } else {
        output::print(&summary(counts, args))
    };
    printed.context("cannot print the report")?;
    let is_bad = counts.failed > 0 || (args.strict && counts.not_tested > 0);
    Ok(if is_bad { Exit::Failed } else { Exit::Success })
}

/// The process of one check.
pub(crate) fn child() -> anyhow::Result<()> {
    // Not left behind where the kit is killed.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("cannot tie this process to the kit")?;
    conformance::serve().context("this command is for `oxidag engines test` itself")
}

fn library(named: &Path) -> anyhow::Result<std::path::PathBuf> {
    let file = named.canonicalize().with_context(|| {
        format!("cannot read the library {}; name the file that cargo has built", named.display())
    })?;
    anyhow::ensure!(file.is_file(), "{} is no file; name the library that cargo has built", named.display());
    Ok(file)
}

/// Makes the checks; people see each as it is made.
fn made(kit: &Kit, json: bool) -> anyhow::Result<Vec<Report>> {
    let palette = Palette::stdout();
    let mut reports = Vec::new();
    let mut told: io::Result<()> = Ok(());
    kit.run(&mut |report| {
        reports.push(report.clone());
        if !json && told.is_ok() {
            let mut out = io::stdout().lock();
            told = out.write_all(lines(report, palette).as_bytes()).and_then(|()| out.flush());
        }
    })?;
    told.context("cannot print the report")?;
    Ok(reports)
}

/// A check: its name, what it came to, what was seen; below that, what to do.
fn lines(report: &Report, palette: Palette) -> String {
    let verdict = &report.verdict;
    let grade = painted(verdict.grade, palette);
    let pad = " ".repeat(GRADE.saturating_sub(grade.width()));
    let mut text = format!("{:<NAME$}{grade}{pad}{}\n", report.check.name(), one_line(&verdict.seen));
    if let Some(advice) = &verdict.advice {
        let indent = " ".repeat(NAME + GRADE);
        text += &format!("{indent}{}\n", palette.strong(one_line(advice)));
    }
    text
}

/// How wide the columns of the names and of what they came to are.
const NAME: usize = 25;
const GRADE: usize = 16;

fn painted(grade: Grade, palette: Palette) -> Painted<String> {
    use oxidag_core::state::TaskState;
    match grade {
        Grade::Passed => palette.task(TaskState::Success, "passed".to_owned()),
        Grade::Failed => palette.error("failed".to_owned()),
        Grade::NotTested => palette.warning("not tested".to_owned()),
        Grade::NotApplicable => palette.faint("not applicable".to_owned()),
    }
}

fn summary(counts: Counts, args: &TestArgs) -> String {
    let Counts { passed, failed, not_tested, not_applicable } = counts;
    let mut text = format!(
        "\n{passed} passed, {failed} failed, {not_tested} not tested, {not_applicable} not applicable\n"
    );
    if not_tested > 0 && args.cases.is_none() {
        text += "Say with --cases FILE what the engine can be asked to do, and more can be tested.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::conformance::Verdict;

    fn report(grade: Grade, seen: &str, advice: Option<&str>) -> String {
        let verdict = Verdict { grade, seen: seen.to_owned(), advice: advice.map(str::to_owned) };
        lines(&Report { check: Check::Deadline, verdict, seconds: 0.1 }, Palette::PLAIN)
    }

    #[test]
    fn a_check_is_a_line_and_advice_stands_below() {
        insta::assert_snapshot!(report(Grade::NotApplicable, "no\x1b[2J\ncheckpoint", None), @"deadline                 not applicable  no; checkpoint");
        insta::assert_snapshot!(report(Grade::Failed, "it ran", Some("end it")), @r"
        deadline                 failed          it ran
                                                 end it
        ");
    }
}
