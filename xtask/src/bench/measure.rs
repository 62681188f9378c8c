//! One command, timed.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wait4::Wait4 as _;

use crate::command::shown;

/// What one command took.
pub(super) struct Sample {
    /// From before it was started until it had ended.
    pub(super) seconds: f64,
    /// The most memory it held at once, in megabytes of 10⁶ bytes.
    pub(super) peak_megabytes: f64,
    /// What it and the processes that it waited for used of the processors.
    pub(super) cpu_seconds: f64,
}

/// Runs the command, its standard output thrown away.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
pub(super) fn measure(command: &mut Command) -> Result<Sample> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr
            .read_to_string(&mut complaint)
            .with_context(|| format!("cannot read what `{}` printed", shown(command)))?;
    }
    let used = child.wait4().with_context(|| format!("cannot wait for `{}`", shown(command)))?;
    let seconds = started.elapsed().as_secs_f64();
    if !used.status.success() {
        bail!("`{}` failed: {}\n{}", shown(command), used.status, complaint.trim_end());
    }
    #[expect(clippy::cast_precision_loss, reason = "no memory is so large that its bytes do not fit")]
    let peak_megabytes = used.rusage.maxrss as f64 / 1e6;
    let cpu_seconds = (used.rusage.utime + used.rusage.stime).as_secs_f64();
    Ok(Sample { seconds, peak_megabytes, cpu_seconds })
}
