//! Which program runs a script: what its `#!` line names, else the configured interpreter, else, when the
//! script is a single plain command, that command itself.
//!
//! Reads the script's text alone; whether a program exists is for others to find out.

use std::path::Path;

use oxidag_plugin_api::{Error, Result};

/// A program to which a script's file is handed as the last argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    /// Whether the script's own `#!` line names it.
    pub(crate) own: bool,
}

impl Interpreter {
    /// The interpreter of the script with this text.
    ///
    /// # Errors
    ///
    /// When its `#!` line names no program, or not by an absolute path.
    pub(crate) fn of(text: &str, configured: &[String]) -> Result<Self> {
        let Some(rest) = text.strip_prefix("#!") else {
            let mut words = configured.iter().cloned();
            let program = words.next().unwrap_or_default();
            return Ok(Self { program, args: words.collect(), own: false });
        };
        // As the kernel reads it: the program, then at most one argument, spaces inside it included.
        // Unlike the kernel, a carriage return at the end is no part of it.
        let line = rest.split('\n').next().unwrap_or_default().trim();
        let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let argument = argument.trim_start();
        if line.contains('\0') {
            return Err(Error::invalid("the script's `#!` line holds a NUL character: remove it"));
        }
        if !program.starts_with('/') {
            return Err(Error::invalid(if program.is_empty() {
                "the script's `#!` line names no program: write one such as `#!/bin/sh`".to_owned()
            } else {
                format!(
                    "the script's `#!` line must name an absolute path, not `{program}`: write \
                     `#!/usr/bin/env {program}`"
                )
            }));
        }
        let args = if argument.is_empty() { Vec::new() } else { vec![argument.to_owned()] };
        Ok(Self { program: program.to_owned(), args, own: true })
    }

    /// Whether scripts in the language of Bourne's shell are meant, by `env` or not.
    pub(crate) fn is_shell(&self) -> bool {
        match base(&self.program) {
            "env" => {
                let mut words = self.args.iter().flat_map(|argument| argument.split_whitespace());
                words.find(|word| !word.starts_with('-') && !word.contains('=')).is_some_and(names_shell)
            }
            _ => names_shell(&self.program),
        }
    }

    /// The words of the script's only command, when starting that program is all that this shell would do.
    ///
    /// One process less is a large part of a short task's time; make(1) does the same.
    pub(crate) fn only_command<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        // `-e` and `-u` change nothing for such a command; `-x` and others do.
        let silent = |argument: &String| {
            argument.strip_prefix('-').is_some_and(|flags| flags.bytes().all(|flag| b"eu".contains(&flag)))
        };
        if !names_shell(&self.program) || !self.args.iter().all(silent) {
            return None;
        }
        // Not `lines`: a carriage return is a part of the command for a shell.
        let lines = text.split('\n').map(|line| line.trim_matches([' ', '\t']));
        let mut commands = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let command = commands.next()?;
        let is_plain = command.starts_with('/') && command.bytes().all(plain) && commands.next().is_none();
        is_plain.then(|| command.split_ascii_whitespace().collect())
    }
}

/// Whether no shell treats this character specially, wherever it stands after a path's slash.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" \t/._-+,:@%".contains(&byte)
}

fn names_shell(program: &str) -> bool {
    ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"].contains(&base(program))
}

fn base(program: &str) -> &str {
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Interpreter {
        Interpreter::of(text, &["/bin/sh".to_owned(), "-e".to_owned()]).unwrap()
    }

    #[test]
    fn the_line_is_read_as_the_kernel_reads_it() {
        let read = |text: &str| {
            let Interpreter { program, args, own } = of(text);
            assert!(own);
            (program, args)
        };
        assert_eq!(read("#!/bin/bash\necho"), ("/bin/bash".to_owned(), vec![]));
        assert_eq!(
            read("#! /usr/bin/env  -S python3 -u \r\nprint()"),
            ("/usr/bin/env".to_owned(), vec!["-S python3 -u".to_owned()])
        );
        assert_eq!(read("#!/bin/sh\t-x"), ("/bin/sh".to_owned(), vec!["-x".to_owned()]));
    }

    #[test]
    fn a_script_without_the_line_gets_the_configured_interpreter() {
        let expected = Interpreter { program: "/bin/sh".into(), args: vec!["-e".into()], own: false };
        assert_eq!(of("echo\n#!/bin/false"), expected);
        assert_eq!(of(""), expected);
    }

    #[test]
    fn a_line_without_an_absolute_path_is_refused_with_what_to_write() {
        let message = |text| Interpreter::of(text, &[]).unwrap_err().message;
        insta::assert_snapshot!(message("#!python3\n"), @"the script's `#!` line must name an absolute path, not `python3`: write `#!/usr/bin/env python3`");
        insta::assert_snapshot!(message("#!\n/bin/true"), @"the script's `#!` line names no program: write one such as `#!/bin/sh`");
    }

    #[test]
    fn only_a_single_plain_command_goes_without_a_shell() {
        let words = |text| of(text).only_command(text);
        assert_eq!(words("/bin/true"), Some(vec!["/bin/true"]));
        assert_eq!(words("#!/bin/bash\n\n# why\n  /bin/ls  -l\t/tmp\n"), Some(vec!["/bin/ls", "-l", "/tmp"]));
        for text in [
            "",
            "true",
            "bin/true",
            "/bin/true\n/bin/true",
            "/bin/echo $HOME",
            "/bin/echo 'a b'",
            "/bin/ls *",
            "/bin/ls ~",
            "/bin/true; /bin/false",
            "/bin/true # why",
            "/bin/true\r\n",
            "/bin/echo \\\n",
            "/bin/echo é",
            "a=b /bin/true",
            "/bin/dd if=x",
            "#!/bin/sh -x\n/bin/true",
            "#!/usr/bin/python3\n/bin/true",
        ] {
            assert_eq!(words(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_shell_is_recognised_by_its_name_also_behind_env() {
        for line in ["/bin/sh", "/usr/bin/env bash", "/usr/bin/env -S A=b /bin/zsh -e", "/opt/bin/dash -e"] {
            assert!(of(&format!("#!{line}\n")).is_shell(), "{line}");
        }
        for line in ["/usr/bin/python3", "/usr/bin/env python3", "/usr/bin/env", "/bin/bashful"] {
            assert!(!of(&format!("#!{line}\n")).is_shell(), "{line}");
        }
    }
}
