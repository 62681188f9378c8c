//! The child: one library, one engine, and the attempts that the scheduler sends.
//!
//! The thread that reads never does anything else, so that the end of the scheduler is noticed whatever the engine does. The
//! scheduler is only ever talked to by [`Wire`].

mod attempt;
mod pool;
mod room;
mod wire;

use std::io::{self, BufReader};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use oxidag_plugin_api::abi::Instance;
use oxidag_plugin_api::{Error, ErrorKind};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use serde_json::Value;

use super::protocol::{Opened, ToChild, read_frame};
use crate::engine::{error_from, no_findings};
use crate::loader::Library;
use crate::plugins::{ChildLimits, EngineConfig};
use crate::stdin_socket;
use attempt::Attempts;
use pool::{Lane, Pool};
use wire::Wire;

/// So much an engine needs at least: the stacks of a few threads, and the data of a library.
const LEAST_MEMORY: u64 = 16 << 20;

/// So long an idle engine has to end well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why this process is not the child of a scheduler.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else started it.
    #[error("this command is for oxidag itself, which starts it for engines with isolation = \"process\"")]
    NotAChild,
    /// The system refuses.
    #[error("cannot set up the process of an engine: {0}")]
    System(#[from] io::Error),
}

/// Serves one engine to the scheduler that started this process, until that closes the socket; does not return then.
///
/// # Errors
///
/// Any `ServeError`, before anything was opened.
pub fn serve() -> Result<std::convert::Infallible, ServeError> {
    let socket = stdin_socket::take()?.ok_or(ServeError::NotAChild)?;
    let mut reader = BufReader::with_capacity(64 * 1024, socket.try_clone()?);
    let inside = Arc::new(Inside {
        library: OnceLock::new(),
        config: OnceLock::new(),
        memory: OnceLock::new(),
        engine: OnceLock::new(),
        attempts: Attempts::default(),
        wire: Arc::new(Wire::new(socket)),
        pool: Pool::new(),
        launches: Lane::default(),
    });
    let mut payload = Vec::new();
    while let Ok(true) = read_frame(&mut reader, &mut payload) {
        // It is this program that writes; if it cannot be understood, there is no way to go on.
        let Ok(message) = serde_json::from_slice(&payload) else { break };
        inside.take(message);
    }
    inside.end()
}

struct Inside {
    library: OnceLock<Library>,
    config: OnceLock<String>,
    /// `limits.memory`, where there is one.
    memory: OnceLock<u64>,
    engine: OnceLock<Instance>,
    attempts: Attempts,
    wire: Arc<Wire>,
    /// For what blocks its thread.
    pool: Pool,
    /// For attempts that go on by themselves.
    launches: Lane,
}

impl Inside {
    fn take(self: &Arc<Self>, message: ToChild<'_>) {
        match message {
            ToChild::Open { call, path, config } => {
                self.reply_with(call, move |inside| inside.open(&path, &config))
            }
            ToChild::Create { call } => self.reply_with(call, Self::create),
            ToChild::Blocks { call, params } => {
                let params = params.get().to_owned();
                self.reply_with(call, move |inside| {
                    let (library, engine) = inside.engine()?;
                    Ok(library.functions.blocks(engine, &params).into())
                });
            }
            ToChild::Validate { call, task } => {
                let task = task.get().to_owned();
                self.reply_with(call, move |inside| inside.validate(&task));
            }
            ToChild::Run { attempt, blocks, task } => self.run(attempt, blocks, task.get().to_owned()),
            ToChild::Cancel { attempt } => self.cancel(attempt),
            ToChild::Taken { attempt, lines } => {
                _ = self.attempts.get(attempt).inspect(|attempt| attempt.taken(lines))
            }
            ToChild::Answer { call, answer } => self.wire.answered(call, answer),
        }
    }

    fn reply_with(
        self: &Arc<Self>,
        call: u64,
        answer: impl FnOnce(&Self) -> Result<Value, Error> + Send + 'static,
    ) {
        let inside = Arc::clone(self);
        if let Err(error) = self.pool.spawn(Box::new(move || inside.wire.reply(call, answer(&inside)))) {
            self.wire.reply(call, Err(self.no_thread(&error)));
        }
    }

    fn open(&self, path: &Path, config: &EngineConfig) -> Result<Value, Error> {
        let limits = config.limits.unwrap_or_default();
        check_memory(limits)?;
        set_limits(limits)
            .map_err(|e| Error::invalid(format!("cannot set the limits of the engine: {e}")))?;
        self.wire.watch_cpu(limits.cpu);
        // Without memory the system says all kinds of things.
        if let Some(bytes) = limits.memory {
            let _ = self.memory.set(bytes);
        }
        let limit = limits.memory.map(|bytes| format!("; limits.memory is {bytes} bytes"));
        let (library, description) = crate::engine::open(path, config)
            .map_err(|error| Error::invalid(format!("{error}{}", limit.unwrap_or_default())))?;
        let opened = Opened { info: library.info.clone(), description };
        // The scheduler opens once.
        let _ = self.library.set(library);
        let _ = self.config.set(config.config.to_string());
        serde_json::to_value(opened).map_err(|e| Error::failed(e.to_string()))
    }

    fn create(&self) -> Result<Value, Error> {
        let library = self.library.get().ok_or_else(out_of_order)?;
        let config = self.config.get().ok_or_else(out_of_order)?;
        let engine = library.functions.create(config).map_err(|error| error_from(&error))?;
        // As above.
        let _ = self.engine.set(engine);
        Ok(Value::Null)
    }

    fn engine(&self) -> Result<(&Library, Instance), Error> {
        let engine = self.engine.get().copied();
        self.library.get().zip(engine).ok_or_else(out_of_order)
    }

    fn validate(&self, task: &str) -> Result<Value, Error> {
        let (library, engine) = self.engine()?;
        let findings = library.functions.validate(engine, task).map_err(|error| error_from(&error))?;
        serde_json::from_str(&findings).map_err(|error| no_findings(&error))
    }

    fn run(self: &Arc<Self>, number: u64, blocks: bool, task: String) {
        let remote = self.attempts.begin(number, blocks, &self.wire);
        let (inside, attempt) = (Arc::clone(self), Arc::clone(&remote));
        let job = Box::new(move || {
            match inside.engine() {
                Ok((library, engine)) => library.functions.run(engine, &task, Arc::clone(&attempt)),
                Err(error) => attempt.fail(error),
            }
            attempt.returned(blocks);
        });
        let spawned = if blocks { self.pool.spawn(job) } else { self.launches.send(job) };
        if let Err(error) = spawned {
            remote.fail(self.no_thread(&error));
        }
    }

    fn no_thread(&self, error: &io::Error) -> Error {
        let limit = self.memory.get().map(|bytes| format!("; limits.memory is {bytes} bytes"));
        Error::transient(format!(
            "cannot start a thread for the attempt: {error}{}",
            limit.unwrap_or_default()
        ))
    }

    /// On a thread of its own: what an engine does then may take long.
    fn cancel(self: &Arc<Self>, number: u64) {
        let Some(remote) = self.attempts.get(number) else { return };
        // Without a thread the attempt still sees the flag.
        remote.ask_to_stop();
        let _ = self.pool.spawn(Box::new(move || remote.call_back()));
    }

    /// The scheduler closed the socket, or is gone.
    fn end(&self) -> ! {
        if self.attempts.are_over() && self.pool.is_idle() {
            let killer = thread::Builder::new().spawn(|| {
                thread::sleep(PATIENCE);
                die();
            });
            if let (Ok((library, engine)), Ok(_)) = (self.engine(), killer) {
                library.functions.destroy(engine);
                std::process::exit(0);
            }
        }
        die()
    }
}

/// At once: no destructor and no handler of the library is in the way.
fn die() -> ! {
    loop {
        // The signal is sent to this process itself, which may always do that.
        let _ = kill_process(getpid(), Signal::KILL);
        thread::yield_now();
    }
}

/// The engine must have room beside what this process has already, or nothing that follows says what is wrong.
fn check_memory(limits: ChildLimits) -> Result<(), Error> {
    let used = memory_in_use();
    match limits.memory.zip(used).filter(|(limit, used)| *limit < used + LEAST_MEMORY) {
        None => Ok(()),
        Some((limit, used)) => Err(Error::invalid(format!(
            "limits.memory is {limit} bytes, and the process of an engine has {used} before its engine is there; allow at least {} MB",
            (used + LEAST_MEMORY).div_ceil(1_000_000)
        ))),
    }
}

/// As `RLIMIT_DATA` counts it; nothing where the system does not tell.
fn memory_in_use() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Memory is what this process may write to and shares with nobody: the code of libraries and address space that is only
/// reserved are not counted. What it starts inherits both limits, each process for itself.
fn set_limits(limits: ChildLimits) -> io::Result<()> {
    if let Some(bytes) = limits.memory {
        setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    }
    if let Some(seconds) = limits.cpu {
        // A little later the system kills what has ignored its SIGXCPU.
        let maximum = Some(seconds.saturating_add(5));
        setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum })?;
    }
    Ok(())
}

fn out_of_order() -> Error {
    Error::new(ErrorKind::Panicked, "the process of the engine was asked before it had one")
}
