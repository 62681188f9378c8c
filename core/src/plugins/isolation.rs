//! Where an engine runs, and what its process may use there.

use std::time::Duration;

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

/// What a process of an engine may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChildLimits {
    /// Bytes of memory that it may write to and shares with nobody.
    pub memory: Option<u64>,
    /// Seconds of CPU time.
    pub cpu: Option<u64>,
}

/// `[engines.NAME.limits]` as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    memory: Option<Bytes>,
    cpu: Option<Seconds>,
}

impl Limits {
    pub(super) fn lay_over(self, over: Self) -> Self {
        Self { memory: over.memory.or(self.memory), cpu: over.cpu.or(self.cpu) }
    }

    pub(super) fn read(self) -> ChildLimits {
        ChildLimits { memory: self.memory.map(|bytes| bytes.0), cpu: self.cpu.map(|seconds| seconds.0) }
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
}

impl TryFrom<Written> for Bytes {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let bytes = match written {
            Written::Number(number) => Some(number),
            Written::Text(text) => bytes(&text),
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
        };
        let wrong = "cpu must be a time such as 90s, 5m or 1h30m, or a number of seconds, from 1";
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
        for wrong in ["'2 gigabytes'", "'-1GB'", "0", "'0MB'", "1.5", "'99999999TB'"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
        let cpu = |text: &str| read(&format!("cpu = {text}")).map(|limits| limits.cpu.unwrap());
        assert_eq!(cpu("'1h30m'"), Ok(5_400));
        assert_eq!(cpu("'1500ms'"), Ok(2));
        assert_eq!(cpu("90"), Ok(90));
        for wrong in ["'soon'", "0", "-1", "'0s'"] {
            assert!(cpu(wrong).is_err(), "{wrong}");
        }
        assert!(read("time = 1").is_err());
    }

    #[test]
    fn limits_are_laid_over_one_by_one() {
        let limits = |toml: &str| toml::from_str::<Limits>(toml).unwrap();
        let both = limits("memory = 5\ncpu = 6").lay_over(limits("cpu = 7")).read();
        assert_eq!(both, ChildLimits { memory: Some(5), cpu: Some(7) });
    }
}
