//! What cannot be measured from outside of the process. It prints lines of JSON; `cargo xtask bench` and the step
//! `instructions` of `cargo xtask test` call it.
//!
//! ```text
//! inside calls PLUGINS ROUNDS       the nanoseconds of a call of each engine
//! inside count WHAT PLUGINS FOLDER  one of the hot paths, in a function for valgrind to look at
//! inside runs PLUGINS HOME COUNT    runs in this one process, and what it holds of the system's meanwhile
//! inside stored HOME COUNT          runs that are stored, and nothing else
//! ```

#![expect(clippy::print_stdout, reason = "it is a program, and this is its answer")]

mod calls;
mod counts;
mod runs;

use std::path::Path;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: inside calls PLUGINS ROUNDS | count WHAT PLUGINS FOLDER | runs PLUGINS HOME COUNT | stored HOME COUNT";

fn main() -> Result {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["calls", plugins, rounds] => calls::print(Path::new(plugins), rounds.parse()?),
        ["count", what, plugins, folder] => counts::count(what, Path::new(plugins), Path::new(folder)),
        ["runs", plugins, home, count] => runs::print(Path::new(plugins), Path::new(home), count.parse()?),
        ["stored", home, count] => runs::store(Path::new(home), count.parse()?),
        _ => Err(USAGE.into()),
    }
}
