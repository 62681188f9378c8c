//! The names of signals, for those who read how a process ended.

/// A signal, as people know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its number on Linux.
    number: i32,
    /// Its name; `a signal` for one that is hardly ever seen.
    pub(crate) name: &'static str,
    /// What it usually means for a program.
    pub(crate) meaning: &'static str,
}

const fn named(number: i32, name: &'static str, meaning: &'static str) -> Named {
    Named { number, name, meaning }
}

const ALL: [Named; 14] = [
    named(1, "SIGHUP", "hangup"),
    named(2, "SIGINT", "interrupted"),
    named(4, "SIGILL", "illegal instruction"),
    named(5, "SIGTRAP", "trap"),
    named(6, "SIGABRT", "aborted"),
    named(7, "SIGBUS", "memory that is not there"),
    named(8, "SIGFPE", "arithmetic error"),
    named(9, "SIGKILL", "killed by someone, or by the system for want of memory"),
    named(11, "SIGSEGV", "memory that it may not use"),
    named(13, "SIGPIPE", "nobody reads"),
    named(15, "SIGTERM", "asked to end"),
    named(24, "SIGXCPU", "CPU time used up"),
    named(25, "SIGXFSZ", "file too large"),
    named(31, "SIGSYS", "forbidden system call"),
];

/// The signal of this number.
pub(crate) fn signal(number: i32) -> Named {
    let known = ALL.into_iter().find(|signal| signal.number == number);
    known.unwrap_or(named(number, "a signal", "see `man 7 signal`"))
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (signal {}, {})", self.name, self.number, self.meaning)
    }
}
