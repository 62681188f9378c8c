//! The runtime that an asynchronous engine's futures run on in a test: one thread, whose time moves only when it is told.
//!
//! Tokio's paused time goes ahead by itself whenever nothing else is to be done, except while a blocking task runs. So one does,
//! until the time is to move.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(super) struct Driver {
    pub(super) runtime: Handle,
    /// `None` once it is to end.
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    /// Moves the time so far, and tells when there is nothing more to do.
    Advance(Duration, Sender<()>),
    /// Lets the time go ahead by itself, or holds it.
    Fly(bool),
    /// Drops all futures.
    End,
}

/// Who wants to know when the runtime has nothing more to do.
type Idle = Arc<Mutex<Option<Sender<()>>>>;

impl Driver {
    pub(super) fn new() -> std::io::Result<Self> {
        let idle = Idle::default();
        let tell = Arc::clone(&idle);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .on_thread_park(move || {
                let waiting = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
                // Whoever waited may have given up.
                let _ = waiting.map(|waiting| waiting.send(()));
            })
            .build()?;
        let handle = runtime.handle().clone();
        let (commands, obeyed) = unbounded_channel();
        let thread = std::thread::Builder::new().name("oxidag-test-time".to_owned()).spawn(move || {
            runtime.block_on(obey(obeyed, idle));
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, commands: Some(commands), thread: Some(thread) })
    }

    /// Moves the time, from one timer to the next; whether the engine came to rest in time.
    pub(super) fn advance(&self, time: Duration, patience: Duration) -> bool {
        let (done, at_rest) = channel();
        self.tell(Command::Advance(time, done));
        !matches!(at_rest.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }

    pub(super) fn fly(&self, on: bool) {
        self.tell(Command::Fly(on));
    }

    /// Drops all futures: the process that they were in has died.
    pub(super) fn end(&self) {
        self.tell(Command::End);
    }

    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // Its thread is gone only where it could not go on; what waits for it says so.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            // It has nothing to tell, and its panic was printed.
            let _ = thread.join();
        }
    }
}

async fn obey(mut commands: UnboundedReceiver<Command>, idle: Idle) {
    let mut held = Some(hold());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Advance(time, done) => {
                drop(held.take());
                tokio::time::sleep(time).await;
                held = Some(hold());
                *idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
            Command::Fly(true) => held = None,
            Command::Fly(false) => held = Some(hold()),
            Command::End => break,
        }
    }
    drop(held);
}

/// Holds the time until it is dropped.
fn hold() -> Sender<()> {
    let (held, until): (_, Receiver<()>) = channel();
    drop(tokio::task::spawn_blocking(move || until.recv()));
    held
}
