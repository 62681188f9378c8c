//! Starts a process for each check, waits for what it tells, and says what its end means.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::secrets::Masker;

use super::session::short;
use super::wire::{Reply, Request, send};
use super::{Cases, Check, Grade, Report, Verdict, leftover};
use crate::signals::signal;

/// How often it is looked whether a process has ended that tells nothing.
const LOOK: Duration = Duration::from_millis(10);

/// More bytes than these, in one line, no process of a check has to tell.
const LONGEST: usize = 16 << 20;

/// So many bytes are read of what a library prints.
const OUTPUT: u64 = 64 * 1024;

/// The kit, for one library.
#[derive(Debug)]
pub struct Kit {
    /// The program that calls [`serve`](super::serve), and its arguments.
    pub program: (PathBuf, Vec<String>),
    /// The library's file, absolute.
    pub library: PathBuf,
    /// What the engine can be asked to do.
    pub cases: Cases,
    /// The limit of one check.
    pub timeout: Duration,
    /// So long an attempt has to end once its time is up.
    pub grace: Duration,
    /// An empty folder, for the folders of tasks.
    pub folder: PathBuf,
    /// Which checks, in their order.
    pub checks: Vec<Check>,
}

/// Why the kit cannot go on; never the library's fault.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// A folder or a file for a process cannot be made.
    #[error("cannot prepare the check in {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process of a check cannot be started or spoken to.
    #[error("cannot start the process of a check: {0}")]
    Process(#[from] io::Error),
}

/// What a process said.
enum Heard {
    Nothing,
    Reply(Reply),
    /// The library wrote this to the kit's socket.
    Garbage(String),
}

/// How a process ended.
struct Ended {
    heard: Heard,
    /// `None` when it was killed: for what it told, or since it took too long.
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
}

impl Kit {
    /// Makes the checks, telling each as it is made.
    ///
    /// # Errors
    ///
    /// Any [`KitError`].
    pub fn run(&self, tell: &mut dyn FnMut(&Report)) -> Result<(), KitError> {
        let mut written = Vec::new();
        // Why nothing more can be tested.
        let mut over = None;
        for &check in &self.checks {
            let began = Instant::now();
            let verdict = match over {
                Some(why) => Verdict::not_tested(why),
                None => {
                    let (verdict, hung) = self.check(check, &mut written)?;
                    over = ends_all(check, &verdict, hung);
                    if check == Check::Stdout && !written.is_empty() { wrote(&written) } else { verdict }
                }
            };
            tell(&Report { check, verdict, seconds: began.elapsed().as_secs_f64() });
        }
        Ok(())
    }

    /// Makes a check; also whether its process hung, and was killed.
    fn check(&self, check: Check, written: &mut Vec<(Check, String)>) -> Result<(Verdict, bool), KitError> {
        let folder = self.folder.join(check.name());
        let failed = |source| KitError::Folder { folder: folder.clone(), source };
        fs::create_dir_all(folder.join("work")).map_err(failed)?;
        let mut request = Request {
            check,
            library: self.library.clone(),
            cases: self.cases.clone(),
            folder: folder.join("work"),
            timeout: self.timeout,
            grace: self.grace,
            nonce: nonce(),
            resume: None,
        };
        let ended = self.processes(&mut request, written);
        leftover::end(&request.nonce)?;
        let ended = ended?;
        let hung = ended.status.is_none() && matches!(ended.heard, Heard::Nothing);
        Ok((self.judge(ended), hung))
    }

    /// Starts the process of a check, and the one after a crash.
    fn processes(
        &self,
        request: &mut Request,
        written: &mut Vec<(Check, String)>,
    ) -> Result<Ended, KitError> {
        let mut keep = |ended: &Ended| {
            if !ended.stdout.is_empty() {
                written.push((request.check, ended.stdout.clone()));
            }
        };
        let mut ended = self.process(request)?;
        keep(&ended);
        if let Heard::Reply(Reply::KillMe(resume)) = &ended.heard {
            request.resume = Some(resume.clone());
            ended = self.process(request)?;
            keep(&ended);
        }
        Ok(ended)
    }

    /// Starts a process and waits for its end, its word, or the limit.
    fn process(&self, request: &Request) -> Result<Ended, KitError> {
        let folder = self.folder.join(request.check.name());
        let file = |name: &str| {
            let path = folder.join(name);
            File::create(&path)
                .map(|file| (path, file))
                .map_err(|source| KitError::Folder { folder: folder.clone(), source })
        };
        let ((stdout, out), (stderr, err)) = (file("stdout")?, file("stderr")?);
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&self.program.0)
            .args(&self.program.1)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(out)
            .stderr(err)
            .env(leftover::MARK, &request.nonce)
            .current_dir(&request.folder)
            .spawn()?;
        let until = Instant::now() + self.timeout;
        let heard = converse(&mut child, &ours, request, until);
        let (heard, status) = match heard {
            Ok(heard) => heard,
            Err(error) => {
                end(&mut child)?;
                return Err(error.into());
            }
        };
        let masker = Masker::new(request.cases.connections.values().map(String::as_str));
        let masked = |text: &str| masker.mask(text).into_owned();
        let text = |from: io::Result<Vec<u8>>| from.map(|bytes| masked(&String::from_utf8_lossy(&bytes)));
        let heard = match heard {
            Heard::Garbage(text) => Heard::Garbage(masked(&text)),
            heard => heard,
        };
        Ok(Ended { heard, status, stdout: text(first(&stdout))?, stderr: text(last(&stderr))? })
    }

    fn judge(&self, ended: Ended) -> Verdict {
        let Ended { heard, status, stderr, .. } = ended;
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.map_or_else(String::new, |line| format!("; its last words: {}", short(line.trim())));
        match (heard, status) {
            (Heard::Garbage(text), _) => Verdict::failed(
                format!("{:?} was written to the socket of the kit", short(&text)),
                "write to no descriptor but those that the engine has opened itself",
            ),
            (Heard::Reply(Reply::Verdict(verdict)), Some(status))
                if status.success() || verdict.grade == Grade::Failed =>
            {
                verdict
            }
            (Heard::Reply(Reply::Verdict(_)), None) => Verdict::failed(
                format!("all went well, but the process did not end within {:?}{last}", self.timeout),
                "let nothing of the engine wait when the process ends",
            ),
            (Heard::Reply(Reply::Verdict(_)), Some(status)) => Verdict::failed(
                format!("all went well, but then the process {}{last}", how(status)),
                "look at what runs when the process ends: destructors, threads",
            ),
            (_, None) => Verdict::failed(
                format!("nothing came of it within {:?}{last}", self.timeout),
                "see that every call returns; a longer --timeout if it only needs more",
            ),
            (_, Some(status)) => Verdict::failed(
                format!("the process {}{last}", how(status)),
                "never end the process, nor crash: in oxidag this would end every task of every DAG",
            ),
        }
    }
}

/// Why no other check can be made after this one. Each would take all its time where the engine hangs before any task.
fn ends_all(check: Check, verdict: &Verdict, hung: bool) -> Option<&'static str> {
    match check {
        Check::Handshake if verdict.grade != Grade::Passed => {
            Some("the library cannot be opened; see the check `handshake`")
        }
        Check::Schema if hung => Some("the engine hangs as it describes itself; see the check `schema`"),
        Check::Create if hung => Some("the engine hangs as it is created; see the check `create`"),
        _ => None,
    }
}

/// Listens to a process until it says what it has to say and ends, or is to be killed. The status is only there if it ended by
/// itself.
fn converse(
    child: &mut Child,
    mut socket: &UnixStream,
    request: &Request,
    until: Instant,
) -> io::Result<(Heard, Option<ExitStatus>)> {
    // A process that died already says so by its status.
    let _ = send(socket, request);
    socket.set_read_timeout(Some(LOOK))?;
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut heard = Heard::Nothing;
    loop {
        // Before the socket: what it sent before it ended is there then.
        let status = child.try_wait()?;
        let is_open = match socket.read(&mut buffer) {
            Ok(read) => {
                bytes.extend_from_slice(&buffer[..read]);
                read > 0
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                if status.is_some() {
                    return Ok((heard, status));
                }
                true
            }
            Err(error) => return Err(error),
        };
        if let Heard::Nothing = heard {
            heard = line(&bytes);
        }
        if let Heard::Reply(Reply::KillMe(_)) | Heard::Garbage(_) = heard {
            end(child)?;
            return Ok((heard, None));
        }
        if !is_open {
            if status.is_some() {
                return Ok((heard, status));
            }
            std::thread::sleep(LOOK);
        }
        if Instant::now() > until {
            end(child)?;
            return Ok((heard, None));
        }
    }
}

/// The beginning of a file, which may be very long.
fn first(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of one.
fn last(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (File::open(path)?, Vec::new());
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT)))?;
    file.take(OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first line, which is all that a process has to say.
fn line(bytes: &[u8]) -> Heard {
    let garbage = |bytes: &[u8]| Heard::Garbage(String::from_utf8_lossy(bytes).into_owned());
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            serde_json::from_slice(&bytes[..end]).map_or_else(|_| garbage(&bytes[..end]), Heard::Reply)
        }
        None if bytes.len() > LONGEST => garbage(&bytes[..LONGEST]),
        None => Heard::Nothing,
    }
}

/// SIGKILL, and its body is taken away.
fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

/// How a process ended, after "the process".
fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => format!("was ended by {}", signal(number)),
        (None, Some(code)) => format!("was ended with exit status {code} from within"),
        (None, None) => "ended".to_owned(),
    }
}

/// The verdict on output that nobody asked for.
fn wrote(written: &[(Check, String)]) -> Verdict {
    let mut checks: Vec<&str> = written.iter().map(|(check, _)| check.name()).collect();
    // A crash has two processes.
    checks.dedup();
    let text = written.first().map(|(_, text)| short(text)).unwrap_or_default();
    Verdict::failed(
        format!("{text:?} was written to standard output, in {}", checks.join(", ")),
        "write to the task's log: `host.info`, `host.log`; standard output is oxidag's",
    )
}

/// What no other call of the kit has.
fn nonce() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", now.as_nanos(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_much_that_is_printed_the_beginning_and_the_end_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        let much = usize::try_from(OUTPUT).unwrap();
        fs::write(&path, [b"first".to_vec(), vec![b'.'; 3 * much], b"last".to_vec()].concat()).unwrap();
        let (beginning, end) = (first(&path).unwrap(), last(&path).unwrap());
        assert_eq!((beginning.len(), end.len()), (much, much));
        assert!(beginning.starts_with(b"first") && end.ends_with(b"last"));
        fs::write(&path, "all").unwrap();
        assert_eq!((first(&path).unwrap(), last(&path).unwrap()), (b"all".to_vec(), b"all".to_vec()));
    }
}
