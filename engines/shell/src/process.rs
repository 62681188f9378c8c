//! What `/proc` tells of processes. Looks only; nothing is signalled here.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// How often at most, and how long one after another, a process is looked at that is becoming another program.
const LOOKS: u32 = 1_000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How much of an environment is read at a time; hardly one is larger.
const MOST: usize = 64 * 1024;

/// Marks threads of the kernel among a process's flags.
const KERNEL: u32 = 0x0020_0000;

/// A process at the moment it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: i32,
    /// The program's name, shortened by the kernel.
    pub(crate) name: String,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// When it was started, in clock ticks since the machine was; with the id, it names a process once and for all.
    pub(crate) started: u64,
    /// It still runs a program, which threads of the kernel never do.
    pub(crate) lives: bool,
}

impl Process {
    /// The process of this id.
    ///
    /// # Errors
    ///
    /// When there is none, or the system does not tell.
    pub(crate) fn of(id: i32) -> io::Result<Self> {
        Self::parse(&stat(id)?)
            .ok_or_else(|| io::Error::other(format!("/proc/{id}/stat is not as Linux writes it")))
    }

    /// Reads a line of `/proc/PID/stat`: `pid (name) state parent group …`, where the name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (id, rest) = stat.split_once(" (")?;
        let (name, fields) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let flags: u32 = fields.get(6)?.parse().ok()?;
        let threads: i64 = fields.get(17)?.parse().ok()?;
        Some(Self {
            id: id.parse().ok()?,
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            // Where the first thread has ended and others have not, the process looks like a zombie.
            lives: flags & KERNEL == 0 && (!matches!(fields[0], "Z" | "X") || threads > 1),
        })
    }

    /// All processes of the machine that can be seen.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub(crate) fn all() -> io::Result<impl Iterator<Item = Self>> {
        let entries = fs::read_dir("/proc")?.flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // Some end while others are looked at.
        Ok(ids.filter_map(|id| Self::of(id).ok()))
    }

    /// Whether this stands in the environment that it was started with; not where that is hidden from this user.
    pub(crate) fn has_in_environment(&self, entry: &[u8]) -> bool {
        for _ in 0..LOOKS {
            match read_at_once(&format!("/proc/{}/environ", self.id)) {
                Ok(environment) if !environment.is_empty() => {
                    return environment.split(|&byte| byte == 0).any(|found| found == entry);
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return false,
                // It has none, or is becoming another program, or has begun to end.
                Ok(_) | Err(_) => {}
            }
            let now = stat(self.id).unwrap_or_default();
            if has_no_environment(&now) || !Self::parse(&now).is_some_and(|process| process.lives) {
                return false;
            }
            thread::sleep(LOOK_AGAIN);
        }
        false
    }

    /// Whether it is the same process, looked at another time.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.id, self.started) == (other.id, other.started)
    }
}

/// What `/proc/PID/stat` holds, where a name may be of any bytes.
fn stat(id: i32) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{id}/stat"))?).into_owned())
}

/// Whether a line of `/proc/PID/stat` is of a program that was started without any environment, or whose first
/// thread took it out of sight when it ended. A process that is becoming another program has none either, but no
/// code: where that is, the kernel notes after all else.
fn has_no_environment(stat: &str) -> bool {
    // By their numbers in proc_pid_stat(5); the third follows the name.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or("0");
    let [state, code, start, end] = [3, 26, 50, 51].map(field);
    state == "Z" || (code != "0" && start == end)
}

/// Reads a file of `/proc` with as few calls as can be: between two calls the process may become another program,
/// and what is read breaks off.
fn read_at_once(path: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut content = Vec::new();
    loop {
        let start = content.len();
        content.resize(start + MOST, 0);
        let length = file.read(&mut content[start..])?;
        content.truncate(start + length);
        if length < MOST {
            return Ok(content);
        }
    }
}

/// A name for the time since the machine was started; empty where the system does not tell.
pub(crate) fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn parse(stat: &str) -> Option<Process> {
        Process::parse(&format!("{stat} 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 123456 99 100"))
    }

    #[test]
    fn a_name_may_hold_anything() {
        let process = parse("12 (a) b (c) S 1 7").unwrap();
        assert_eq!((process.id, process.name.as_str()), (12, "a) b (c"));
        assert_eq!((process.parent, process.group, process.started), (1, 7, 123_456));
    }

    #[test]
    fn zombies_do_not_live_and_stopped_processes_do() {
        assert!(parse("12 (a) T 1 7").unwrap().lives);
        assert!(!parse("12 (a) Z 1 7").unwrap().lives);
        assert!(!parse("12 (a) X 1 7").unwrap().lives);
        let threads = "12 (a) Z 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 2 0 123456 99 100";
        assert!(Process::parse(threads).unwrap().lives, "its other thread does");
        let kernel = "12 (a) S 2 0 0 0 -1 69238880 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0";
        assert!(!Process::parse(kernel).unwrap().lives, "it is a part of the kernel");
    }

    #[test]
    fn what_is_no_such_line_is_no_process() {
        assert_eq!(Process::parse(""), None);
        assert_eq!(Process::parse("12 (a) S 1 7"), None);
    }

    #[test]
    fn this_process_is_found_with_its_environment() {
        let id = i32::try_from(std::process::id()).unwrap();
        let found = Process::all().unwrap().find(|process| process.id == id).unwrap();
        assert!(found.lives && found.is(&Process::of(id).unwrap()));
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        assert!(found.has_in_environment(path.as_bytes()));
        assert!(!found.has_in_environment(&path.as_bytes()[..path.len() - 1]));
    }

    #[test]
    fn a_process_that_becomes_another_program_again_and_again_keeps_its_environment() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, "exec /bin/sh $0").unwrap();
        let mut command = Command::new("/bin/sh");
        let mut child = command.arg(&script).env("NAME", "value").spawn().unwrap();
        let process = Process::of(child.id().try_into().unwrap()).unwrap();
        let found = (0..2_000).filter(|_| process.has_in_environment(b"NAME=value")).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, 2_000);
    }

    #[test]
    fn a_program_without_an_environment_is_told_from_one_that_has_none_yet() {
        let mut cat = Command::new("/bin/cat");
        let mut child = cat.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        // Once it answers it is that program.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let line = stat(child.id().try_into().unwrap()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_no_environment(&line), "{line}");
        assert!(!has_no_environment(&stat(std::process::id().try_into().unwrap()).unwrap()));
        // Its code is placed last: before, the environment may be about to come.
        let fields: Vec<&str> = line.split(' ').collect();
        let becoming = [&fields[..25], &["0"], &fields[26..]].concat().join(" ");
        assert!(!has_no_environment(&becoming), "{becoming}");
    }

    #[test]
    fn the_machines_start_has_a_name() {
        assert_eq!(boot_id().len(), 36, "{}", boot_id());
    }
}
