//! The dry run: what would keep a script from running, without running any of it.

use std::fs;
use std::io::{self, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use oxidag_plugin_api::{Error, Finding, Result, Severity, Task};

use crate::config::Config;
use crate::interpreter::Interpreter;
use crate::variables::Environment;

/// What is wrong with the task.
///
/// # Errors
///
/// When the interpreter could not be asked.
pub(crate) fn validate(config: &Config, task: &Task) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if let Err(error) = Environment::of(task, &config.env, Path::new("")) {
        findings.push(finding(Severity::Error, error.message, None));
    }
    match Interpreter::of(&task.script.text, &config.interpreter) {
        Err(error) => findings.push(finding(Severity::Error, error.message, Some(1))),
        Ok(interpreter) if !is_program(&interpreter.program) => findings.push(finding(
            Severity::Error,
            format!("the interpreter `{}` is not a program on this machine: install it", interpreter.program),
            interpreter.own.then_some(1),
        )),
        Ok(interpreter) if interpreter.is_shell() => findings.extend(check(&interpreter, &task.script.text)?),
        Ok(_) => {}
    }
    Ok(findings)
}

/// Lets the shell read the script without running it.
fn check(shell: &Interpreter, text: &str) -> Result<Vec<Finding>> {
    let output = parse(shell, text)
        .map_err(|e| Error::failed(format!("cannot check the script with `{} -n`: {e}", shell.program)))?;
    let mut findings = Vec::new();
    if let Some(line) = text.lines().zip(text.split('\n')).position(|(line, raw)| line != raw) {
        let message = "the line ends in a carriage return, which shells take for a part of its last word: \
                       save the script with Unix line ends";
        findings.push(finding(Severity::Warning, message.to_owned(), Some(line + 1)));
    }
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let (line, message) = read_complaint(complaint.lines().next().unwrap_or("the shell refuses it"));
        findings.push(finding(Severity::Error, message, line));
    }
    Ok(findings)
}

fn parse(shell: &Interpreter, text: &str) -> io::Result<std::process::Output> {
    // A file rather than a pipe: a shell may stop reading halfway. It has no name, so nobody else can read it.
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    let mut command = Command::new(&shell.program);
    command.args(&shell.args).arg("-n").env_remove("BASH_ENV").stdin(Stdio::from(file));
    command.output()
}

/// The line and the message of `bash: line 3: …` or `sh: 3: …`.
fn read_complaint(complaint: &str) -> (Option<usize>, String) {
    for (start, _) in complaint.match_indices(": ") {
        let rest = &complaint[start + 2..];
        if let Some((number, message)) = rest.split_once(": ")
            && let Ok(line) = number.strip_prefix("line ").unwrap_or(number).parse()
        {
            return (Some(line), message.to_owned());
        }
    }
    (None, complaint.to_owned())
}

/// Whether this is an executable file, looked up on PATH unless it is a path.
fn is_program(program: &str) -> bool {
    let executable = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return executable(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| executable(&folder.join(program)))
}

fn finding(severity: Severity, message: String, line: Option<usize>) -> Finding {
    let line = line.and_then(|line| u32::try_from(line).ok());
    Finding { severity, message, line, column: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::task;

    fn findings(text: &str) -> Vec<(Severity, Option<u32>, String)> {
        let found = validate(&Config::default(), &task(text)).unwrap();
        found.into_iter().map(|f| (f.severity, f.line, f.message)).collect()
    }

    #[test]
    fn a_script_without_mistakes_has_no_findings_and_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("ran");
        for line in ["", "#!/bin/sh\n", "#!/bin/bash -e\n", "#!/usr/bin/env bash\n", "#!/bin/cat\nif"] {
            assert_eq!(findings(&format!("{line}\ntouch {}\n", trace.display())), [], "{line}");
        }
        assert!(!trace.exists());
    }

    #[test]
    fn a_mistake_in_the_syntax_is_found_with_its_line() {
        for first in ["#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash", "# the configured one"] {
            let found = findings(&format!("{first}\necho\nif true; fi\n"));
            assert_eq!(found.len(), 1, "{first}");
            assert_eq!((found[0].0, found[0].1), (Severity::Error, Some(3)), "{found:?}");
            assert!(found[0].2.to_lowercase().starts_with("syntax error"), "{found:?}");
        }
    }

    #[test]
    fn a_missing_interpreter_is_found() {
        let found = findings("#!/no/such/program\n");
        assert_eq!((found[0].0, found[0].1), (Severity::Error, Some(1)));
        insta::assert_snapshot!(found[0].2, @"the interpreter `/no/such/program` is not a program on this machine: install it");
        let config = Config { interpreter: vec!["no-such-program".into()], ..Config::default() };
        assert_eq!(validate(&config, &task("echo")).unwrap()[0].line, None);
        let config = Config { interpreter: vec!["cat".into()], ..Config::default() };
        assert_eq!(validate(&config, &task("echo")).unwrap(), []);
    }

    #[test]
    fn line_ends_of_another_system_are_found() {
        let found = findings("echo a\necho b\r\n");
        assert_eq!((found[0].0, found[0].1), (Severity::Warning, Some(2)));
    }

    #[test]
    fn complaints_of_all_shells_are_understood() {
        let read = |complaint| read_complaint(complaint);
        assert_eq!(read("/bin/bash: line 3: syntax error"), (Some(3), "syntax error".to_owned()));
        assert_eq!(read("/bin/sh: 12: Syntax error: \"fi\""), (Some(12), "Syntax error: \"fi\"".to_owned()));
        assert_eq!(read("out of memory"), (None, "out of memory".to_owned()));
    }
}
