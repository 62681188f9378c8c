//! Where an engine runs, and what its process may use there.

use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Where an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In the scheduler's own process: what its library does there, it does to all.
    #[default]
    InProcess,
    /// In a process of its own: a crash costs the attempts in it, and no more.
    Process,
}

impl Isolation {
    /// As it is written in `plugins.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Process => "process",
        }
    }
}

/// What a process of an engine may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChildLimits {
    /// Bytes of memory that it may write to and shares with nobody.
    pub memory: Option<u64>,
    /// Seconds of CPU time.
    pub cpu: Option<u64>,
    /// Seconds until the engine is there.
    pub start: Option<u64>,
}

impl ChildLimits {
    /// So long a process has to open its library, and as long to make the engine.
    #[must_use]
    pub fn time_to_start(&self) -> Duration {
        const USUAL: Duration = Duration::from_secs(60);
        self.start.map_or(USUAL, Duration::from_secs)
    }
}

/// `[engines.NAME.limits]` as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    memory: Option<Bytes>,
    cpu: Option<Seconds>,
    start: Option<Seconds>,
}

impl Limits {
    pub(super) fn lay_over(self, over: Self) -> Self {
        Self {
            memory: over.memory.or(self.memory),
            cpu: over.cpu.or(self.cpu),
            start: over.start.or(self.start),
        }
    }

    pub(super) fn read(self) -> ChildLimits {
        let seconds = |limit: Option<Seconds>| limit.map(|seconds| seconds.0);
        ChildLimits {
            memory: self.memory.map(|bytes| bytes.0),
            cpu: seconds(self.cpu),
            start: seconds(self.start),
        }
    }
}

/// `2GB`, `512MiB`, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
struct Bytes(u64);

/// `90s`, `5m`, or a number of seconds; whole ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
struct Seconds(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
    /// Whatever else there is, so that the limit says what it should be.
    Other(IgnoredAny),
}

impl TryFrom<Written> for Bytes {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let bytes = match written {
            Written::Number(number) => Some(number),
            Written::Text(text) => bytes(&text),
            Written::Other(IgnoredAny) => None,
        };
        let wrong =
            "memory must be a size such as 2GB or 512MiB (kB, MB, GB, TB, KiB, MiB, GiB, TiB), or bytes";
        bytes.filter(|&bytes| bytes > 0).map(Self).ok_or(wrong)
    }
}

impl TryFrom<Written> for Seconds {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let seconds = match written {
            Written::Number(number) => Some(number),
            Written::Text(text) => humantime::parse_duration(&text).ok().map(whole_seconds),
            Written::Other(IgnoredAny) => None,
        };
        let wrong = "cpu and start must be times such as 90s, 5m or 1h30m, or numbers of seconds, from 1";
        seconds.filter(|&seconds| seconds > 0).map(Self).ok_or(wrong)
    }
}

/// The system counts nothing smaller.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let (number, unit) = UNITS.iter().find_map(|&(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    number.trim_end().parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<ChildLimits, String> {
        toml::from_str::<Limits>(toml).map(Limits::read).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn sizes_and_times_are_read() {
        let memory = |text: &str| read(&format!("memory = {text}")).map(|limits| limits.memory.unwrap());
        assert_eq!(memory("'2GB'"), Ok(2_000_000_000));
        assert_eq!(memory("'512 MiB'"), Ok(512 << 20));
        assert_eq!(memory("1000000"), Ok(1_000_000));
        for wrong in ["'2 gigabytes'", "'-1GB'", "0", "-1", "'0MB'", "1.5", "true", "{}", "'99999999TB'"] {
            let said = memory(wrong).unwrap_err();
            assert!(said.starts_with("memory must be a size such as 2GB"), "{wrong}: {said}");
        }
        let cpu = |text: &str| read(&format!("cpu = {text}")).map(|limits| limits.cpu.unwrap());
        assert_eq!(cpu("'1h30m'"), Ok(5_400));
        assert_eq!(cpu("'1500ms'"), Ok(2));
        assert_eq!(cpu("90"), Ok(90));
        for wrong in ["'soon'", "0", "-1", "'0s'", "[]"] {
            let said = cpu(wrong).unwrap_err();
            assert!(said.starts_with("cpu and start must be times such as 90s"), "{wrong}: {said}");
        }
        assert_eq!(read("start = '2m'").unwrap().time_to_start(), Duration::from_secs(120));
        assert_eq!(read("").unwrap().time_to_start(), Duration::from_secs(60));
        assert!(read("time = 1").is_err());
    }

    #[test]
    fn limits_are_laid_over_one_by_one() {
        let limits = |toml: &str| toml::from_str::<Limits>(toml).unwrap();
        let both = limits("memory = 5\ncpu = 6").lay_over(limits("cpu = 7")).read();
        assert_eq!(both, ChildLimits { memory: Some(5), cpu: Some(7), start: None });
    }
}
