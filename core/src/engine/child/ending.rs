//! How a child ended, in words.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use crate::plugins::ChildLimits;

/// What is known of the end of a child.
#[derive(Debug)]
pub(super) struct Ending {
    /// Nothing where the system does not tell.
    pub(super) status: Option<ExitStatus>,
    /// It was ended by the scheduler, for this reason.
    pub(super) broken: Option<String>,
    /// The last lines of its standard error, masked.
    pub(super) words: Option<String>,
}

impl Ending {
    /// One sentence, with the last words of the child behind it.
    pub(super) fn sentence(&self, engine: &str, limits: &ChildLimits) -> String {
        let how = match (&self.broken, self.status) {
            (Some(why), _) => format!("was ended, since {why}"),
            (None, Some(status)) => how(status, limits),
            (None, None) => "is gone, and the system does not tell why".to_owned(),
        };
        let said = self.words.as_ref().map(|words| format!("; its last lines on standard error:\n{words}"));
        format!("the process of the engine `{engine}` {how}{}", said.unwrap_or_default())
    }
}

fn how(status: ExitStatus, limits: &ChildLimits) -> String {
    let Some(signal) = status.signal() else {
        return format!("ended itself with exit status {}", status.code().unwrap_or_default());
    };
    let signal = crate::signals::signal(signal);
    let memory = limits.memory.map(|bytes| format!("; limits.memory is {bytes} bytes"));
    let cpu = limits.cpu.map(|limit| format!("; limits.cpu is {limit} s"));
    let limit = match signal.name {
        "SIGABRT" | "SIGSEGV" | "SIGBUS" | "SIGKILL" => memory,
        "SIGXCPU" => cpu,
        _ => None,
    };
    format!("was ended by {signal}{}", limit.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(raw: i32, words: Option<&str>, limits: &ChildLimits) -> String {
        let status = Some(ExitStatus::from_raw(raw));
        Ending { status, broken: None, words: words.map(str::to_owned) }.sentence("x", limits)
    }

    #[test]
    fn each_end_has_its_sentence() {
        let none = ChildLimits::default();
        let limits = ChildLimits { memory: Some(1_000), cpu: Some(60), start: None };
        insta::assert_snapshot!(sentence(11, None, &none), @"the process of the engine `x` was ended by SIGSEGV (signal 11, memory that it may not use)");
        insta::assert_snapshot!(sentence(3 << 8, Some("a\nb"), &limits), @r"
        the process of the engine `x` ended itself with exit status 3; its last lines on standard error:
        a
        b
        ");
        insta::assert_snapshot!(sentence(6, None, &limits), @"the process of the engine `x` was ended by SIGABRT (signal 6, aborted); limits.memory is 1000 bytes");
        insta::assert_snapshot!(sentence(24, None, &limits), @"the process of the engine `x` was ended by SIGXCPU (signal 24, CPU time used up); limits.cpu is 60 s");
        insta::assert_snapshot!(sentence(60, None, &none), @"the process of the engine `x` was ended by a signal (signal 60, see `man 7 signal`)");
        let broken = Ending { status: None, broken: Some("it said \"x\"".to_owned()), words: None };
        insta::assert_snapshot!(broken.sentence("x", &none), @r#"the process of the engine `x` was ended, since it said "x""#);
    }
}
