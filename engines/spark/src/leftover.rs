//! What a scheduler that died left of an attempt on this machine.
//!
//! The guard of `guard.sh` kills it at once. Here it is made sure that nothing lives on before the attempt begins anew.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use oxidag_plugin_api::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long the end of killed processes is waited for, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

/// The process that leads an attempt's group, told from later ones that have its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leader {
    process_group: i32,
    started: u64,
    boot_id: String,
    /// A file that the attempt made for its script.
    script: Option<PathBuf>,
}

impl Leader {
    /// The process of this number; `None` when it has ended, or the system does not tell.
    pub(crate) fn of(id: u32, script: Option<PathBuf>) -> Option<Self> {
        let id = i32::try_from(id).ok()?;
        Some(Self { process_group: id, started: started(id)?, boot_id: boot_id(), script })
    }

    /// For the checkpoint.
    pub(crate) fn to_json(&self) -> Value {
        let Self { process_group, started, boot_id, script } = self;
        json!({
            "backend": "spark-submit", "process_group": process_group, "started": started, "boot_id": boot_id,
            "script": script,
        })
    }

    /// What was stored.
    pub(crate) fn read(stored: Option<&Value>) -> Option<Self> {
        stored.and_then(|stored| Self::deserialize(stored).ok())
    }

    fn lives(&self) -> bool {
        self.process_group > 1
            && self.boot_id == boot_id()
            && started(self.process_group) == Some(self.started)
    }

    /// Kills the group, waits until its leader is gone, and removes the script's file.
    ///
    /// # Errors
    ///
    /// Transient, when it does not end.
    pub(crate) async fn end(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.lives() {
            if let Some(group) = Pid::from_raw(self.process_group) {
                // It may have ended this moment.
                let _ = kill_process_group(group, Signal::KILL);
            }
            if Instant::now() > until {
                return Err(Error::transient(format!(
                    "the process group {} that an earlier scheduler left of this attempt does not end; end it",
                    self.process_group
                )));
            }
            sleep(LOOK).await;
        }
        if let Some(script) = &self.script {
            // On another machine, or after a while, it is not there any more.
            let _ = fs::remove_file(script);
        }
        Ok(())
    }
}

/// When a process was started, in ticks since the machine was; `None` for one that has ended.
fn started(id: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // `pid (name) state …`, where the name may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ended = matches!(*fields.first()?, "Z" | "X");
    if ended { None } else { fields.get(19)?.parse().ok() }
}

/// A name for the time since the machine was started.
fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    #[tokio::test]
    async fn what_lives_is_killed_and_nobody_else() {
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let leader = Leader::of(child.id(), Some(script.to_path_buf())).unwrap();
        assert_eq!(Leader::read(Some(&leader.to_json())).unwrap(), leader);
        let other = Leader { started: leader.started + 1, script: None, ..leader.clone() };
        other.end().await.unwrap();
        let elsewhere = Leader { boot_id: "x".to_owned(), script: None, ..leader.clone() };
        elsewhere.end().await.unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it was started at another time or on another machine");
        leader.end().await.unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!script.exists());
    }
}
