//! Starts a script's process, and takes in how it ended: clone(2) and wait4(2) by their own names.
//!
//! All `unsafe` of this engine is here. Why neither the standard library nor posix_spawn(3) starts scripts: decision 16.
//! What is done between clone and exec, and why nothing else may be, follows vfork(2), signal-safety(7) and the comments
//! in glibc's own posix_spawn, which does the same.

use std::env;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::ptr;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::variables::Environment;

/// What is to be started.
pub(crate) struct Program<'a> {
    /// A path, or a name that is looked up on the PATH of its environment.
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a [&'a OsStr],
    pub(crate) environment: &'a Environment,
    pub(crate) folder: &'a Path,
}

/// A child of this process that was not reaped.
#[derive(Debug)]
pub(crate) struct Child {
    id: Pid,
    pidfd: OwnedFd,
}

/// The reading ends of a process's standard output and standard error.
pub(crate) type Pipes = (OwnedFd, OwnedFd);

/// How a process ended, and what it used.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) status: ExitStatus,
    /// User and system time of the process and of those that it waited for.
    pub(crate) cpu: Duration,
    /// The most bytes that one of these processes held.
    pub(crate) memory: u64,
}

impl Program<'_> {
    /// Starts it in a process group of its own, with nothing to read and its output in pipes.
    ///
    /// # Errors
    ///
    /// The system's, when there can be no such process.
    pub(crate) fn start(&self) -> io::Result<(Child, Pipes)> {
        let (out, out_end) = io::pipe()?;
        let (err, err_end) = io::pipe()?;
        let paths = places(self.name, self.environment.get("PATH"));
        let paths = paths.iter().map(|path| c_string(path.as_os_str())).collect::<io::Result<Vec<_>>>()?;
        let folder = c_string(self.folder.as_os_str())?;
        let words = [OsStr::new(self.name)].into_iter().chain(self.arguments.iter().copied());
        let words = words.map(c_string).collect::<io::Result<Vec<_>>>()?;
        let arguments = pointers(words.iter().map(CString::as_c_str));
        let environment = pointers(self.environment.entries());
        let child = clone(&mut Orders {
            folder: &folder,
            files: [nothing()?.as_raw_fd(), out_end.as_raw_fd(), err_end.as_raw_fd()],
            handled: &HANDLED,
            mask: signals(libc::sigemptyset),
            paths: &paths,
            arguments: &arguments,
            environment: &environment,
            error: 0,
        })?;
        Ok((child, (out.into(), err.into())))
    }
}

/// Where a program may be, from the folder that it runs in, as execvp(3) has it.
fn places(name: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![name.into()];
    }
    env::split_paths(path.unwrap_or(OsStr::new("/bin:/usr/bin"))).map(|place| place.join(name)).collect()
}

impl Child {
    pub(crate) fn id(&self) -> Pid {
        self.id
    }

    /// Becomes readable when it has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until it has ended, and takes it out of the system's list: from then on its id may be another process's.
    ///
    /// # Errors
    ///
    /// When somebody else has reaped it.
    pub(crate) fn reap(&self) -> io::Result<Used> {
        reap(self.id)
    }
}

fn reap(id: Pid) -> io::Result<Used> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places can be written to.
    while unsafe { libc::wait4(id.as_raw_pid(), &raw mut status, 0, usage.as_mut_ptr()) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: it holds numbers alone, for which zeros will do, and the system has written them.
    let usage = unsafe { usage.assume_init() };
    Ok(Used {
        status: ExitStatus::from_raw(status),
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        // The system counts in KiB.
        memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    })
}

/// What a new process does before it becomes its program, in memory that it shares with this one until then.
struct Orders<'a> {
    folder: &'a CStr,
    /// These become its first files. All have higher numbers, as a Rust program has its own first three from its start.
    files: [c_int; 3],
    /// What this process does about these signals it does not.
    handled: &'a [c_int],
    /// The signals that it leaves waiting.
    mask: libc::sigset_t,
    /// It becomes the first of these programs that there is.
    paths: &'a [CString],
    /// Ends with a null pointer, as does `environment`.
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    /// Why it could not become its program.
    error: c_int,
}

/// The new process's stack, on the caller's own: the caller is not back from clone(2) before it is used no more. As large
/// as glibc's, for a signal that comes in spite of all.
#[repr(C, align(16))]
struct Stack([u8; 32 * 1024]);

/// Starts a process that shares this one's memory until it has become its program or ended, while this thread waits.
fn clone(orders: &mut Orders) -> io::Result<Child> {
    let mut stack = MaybeUninit::<Stack>::uninit();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // A handler of ours must not run in the new process, whose memory is ours. libc keeps two signals for itself, whose
    // handlers heed what comes from this process alone.
    let every = signals(libc::sigfillset);
    // SAFETY: the stack's end is aligned, and the memory below it is nobody else's until the call is back: the new process
    // has become its program or ended by then. Until then the orders live, too, and nobody else looks at them. Signals are
    // blocked from before the call until after it, in this thread alone.
    let (id, error) = unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const every, &raw mut orders.mask);
        let mask = orders.mask;
        let orders: *mut Orders = orders;
        let end = stack.as_mut_ptr().add(1);
        let id = libc::clone(become_program, end.cast(), flags, orders.cast(), &raw mut pidfd);
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut());
        (id, error)
    };
    let Some(id) = Some(id).filter(|id| *id > 0).and_then(Pid::from_raw) else {
        return Err(error);
    };
    if pidfd < 0 {
        // Before Linux 5.2.
        kill_process(id, Signal::KILL)?;
        reap(id)?;
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: the call has opened it for us.
    let child = Child { id, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } };
    match orders.error {
        0 => Ok(child),
        error => {
            // Where this process was started with SIGCHLD ignored, the system has done so.
            let _ = child.reap();
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// The new process. It must not allocate, panic or take a lock: it runs as the thread that waits, whatever that was in the
/// middle of, and what it has locked when it is killed stays so.
extern "C" fn become_program(orders: *mut c_void) -> c_int {
    // SAFETY: they live, and are looked at by nobody else, until this process has become another program or ended.
    let orders = unsafe { &mut *orders.cast::<Orders>() };
    orders.error = orders.follow();
    // The process ends with that and runs nothing of what our own end would.
    127
}

impl Orders<'_> {
    /// Returns only when it failed: the error's number.
    fn follow(&self) -> c_int {
        // SAFETY: signal(3) and sigprocmask(3) are hardly more than system calls, and the others are no more.
        let done = unsafe {
            libc::setpgid(0, 0) == 0
                && (0..).zip(self.files).all(|(number, file)| libc::dup2(file, number) >= 0)
                && libc::chdir(self.folder.as_ptr()) == 0
                && self.handled.iter().all(|&signal| libc::signal(signal, libc::SIG_DFL) != libc::SIG_ERR)
                && libc::sigprocmask(libc::SIG_SETMASK, &raw const self.mask, ptr::null_mut()) == 0
        };
        if !done {
            return last_error();
        }
        let mut error = libc::ENOENT;
        for path in self.paths {
            // SAFETY: a system call. The texts end with a NUL, the arrays with a null pointer.
            unsafe { libc::execve(path.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            let refused = last_error();
            if !ELSEWHERE.contains(&refused) {
                return refused;
            }
            // That it may not be executed in one place says more than that it is not in another.
            if error != libc::EACCES {
                error = refused;
            }
        }
        error
    }
}

/// After these errors, execvp(3) looks for a program in the next place.
const ELSEWHERE: [c_int; 6] =
    [libc::EACCES, libc::ENOENT, libc::ENOTDIR, libc::ENODEV, libc::ESTALE, libc::ETIMEDOUT];

fn last_error() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// The signals that this process handles, looked up once, and SIGPIPE, which every Rust program ignores: a script is to end
/// by it. Other ignored ones a script ignores as well, as `nohup` has it.
static HANDLED: LazyLock<Vec<c_int>> = LazyLock::new(|| {
    let is_handled = |signal: &c_int| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: to ask changes nothing, and where there is no such signal zeros say that it is not handled.
        let action = unsafe {
            libc::sigaction(*signal, ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) || *signal == libc::SIGPIPE
    };
    // signal(3) takes a lock for SIGABRT, which nobody sends to a process that has just begun.
    (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGABRT).filter(is_handled).collect()
});

/// The set that one of C's functions fills in.
fn signals(fill: unsafe extern "C" fn(*mut libc::sigset_t) -> c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) and sigfillset(3) make what they are given a place for, and cannot fail.
    unsafe {
        fill(set.as_mut_ptr());
        set.assume_init()
    }
}

/// `/dev/null` for reading, opened once: every script needs it.
fn nothing() -> io::Result<&'static File> {
    static NOTHING: OnceLock<File> = OnceLock::new();
    match NOTHING.get() {
        Some(file) => Ok(file),
        None => File::open("/dev/null").map(|file| NOTHING.get_or_init(|| file)),
    }
}

/// The array that C wants.
fn pointers<'a>(texts: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    texts.map(CStr::as_ptr).chain([ptr::null()]).collect()
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn time(value: libc::timeval) -> Duration {
    let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{start, task};
    use oxidag_plugin_api::Task;
    use std::collections::BTreeMap;
    use std::fs::{self, Permissions};
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};
    use std::thread;

    fn printed((child, (out, _)): (Child, Pipes)) -> String {
        let mut text = String::new();
        File::from(out).read_to_string(&mut text).unwrap();
        assert!(child.reap().unwrap().status.success());
        text
    }

    /// The same by the standard library.
    fn printed_by_std(words: &[&str]) -> String {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_program_has_its_words_its_folder_and_no_files_but_the_first_three() {
        assert_eq!(printed(start("/", &["/bin/echo", "a b", ""]).unwrap()), "a b \n");
        assert_eq!(printed(start("/proc", &["/bin/pwd"]).unwrap()), "/proc\n");
        let files = ["/bin/ls", "/proc/self/fd"];
        assert_eq!(printed(start("/", &files).unwrap()), printed_by_std(&files));
    }

    #[test]
    fn a_program_heeds_signals_as_one_that_the_standard_library_starts() {
        // Those blocked, ignored and handled, but for the two that glibc keeps for itself: it leaves them ignored.
        let signals = |status: &str| {
            let all = ["SigBlk:", "SigIgn:", "SigCgt:"].map(|name| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            });
            all.map(|mask| mask & !(0b11 << 31))
        };
        let ours = || signals(&fs::read_to_string("/proc/thread-self/status").unwrap());
        let before = ours();
        assert_ne!(before[2], 0, "the standard library handles some");
        let status = ["/bin/cat", "/proc/self/status"];
        let theirs = signals(&printed(start("/", &status).unwrap()));
        assert_eq!(theirs, signals(&printed_by_std(&status)));
        assert_eq!(ours(), before, "this thread heeds those it did before");
    }

    #[test]
    fn a_program_is_looked_up_on_its_own_path() {
        let dir = tempfile::tempdir().unwrap();
        let tool = |place: &str, text: &str, mode| {
            let place = dir.path().join(place);
            fs::create_dir(&place).unwrap();
            fs::write(place.join("tool"), text).unwrap();
            fs::set_permissions(place.join("tool"), Permissions::from_mode(mode)).unwrap();
        };
        tool("closed", "#!/bin/sh\necho closed", 0o600);
        tool("stale", "#!/no/such/program", 0o700);
        tool("right", "#!/bin/sh\necho right", 0o700);
        fs::create_dir_all(dir.path().join("folder/tool")).unwrap();
        let mut task = Task { working_dir: dir.path().to_owned(), ..task("") };
        let mut found = |path: &str| {
            task.params.insert("PATH".to_owned(), path.into());
            let environment = Environment::of(&task, &BTreeMap::new(), Path::new("/r")).unwrap();
            let folder = dir.path();
            let program = Program { name: "tool", arguments: &[], environment: &environment, folder };
            program.start().map(printed).map_err(|error| error.kind())
        };
        assert_eq!(found("/none:closed:stale:folder:right:stale").unwrap(), "right\n");
        assert_eq!(found("closed:stale").unwrap_err(), io::ErrorKind::PermissionDenied);
        assert_eq!(found("stale").unwrap_err(), io::ErrorKind::NotFound);
        assert_eq!(found("").unwrap_err(), io::ErrorKind::NotFound);
        assert_eq!(places("tool", None), [Path::new("/bin/tool"), Path::new("/usr/bin/tool")]);
    }

    #[test]
    fn what_cannot_be_started_leaves_no_process() {
        let refused = |folder: &str, program: &str| start(folder, &[program]).unwrap_err().kind();
        assert_eq!(refused("/", "/no/such/program"), io::ErrorKind::NotFound);
        assert_eq!(refused("/no/such/folder", "/bin/true"), io::ErrorKind::NotFound);
        assert_eq!(refused("/", "/proc"), io::ErrorKind::PermissionDenied);
        assert_eq!(refused("/", "/bin/true\0"), io::ErrorKind::InvalidInput);
        assert_eq!(fs::read_to_string("/proc/thread-self/children").unwrap(), "");
    }

    #[test]
    fn threads_start_programs_beside_each_other() {
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for i in 0..100 {
                        let word = format!("{thread} {i}");
                        assert_eq!(printed(start("/", &["/bin/echo", &word]).unwrap()), word + "\n");
                        assert!(start("/", &["/no/such/program"]).is_err());
                    }
                });
            }
        });
    }

    #[test]
    fn how_a_program_ended_and_what_it_used_is_told() {
        let (child, _) = start("/", &["/bin/sh", "-c", "kill -9 $$"]).unwrap();
        let used = child.reap().unwrap();
        assert_eq!(used.status.signal(), Some(9));
        assert!(used.memory > 100 * 1024, "{used:?}");
    }
}
