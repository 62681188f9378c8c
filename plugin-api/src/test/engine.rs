//! An engine under test, and what it would be in a process of the scheduler's: created once, gone when that dies.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abi_stable::std_types::{RResult, RStr};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::attempt::Start;
use super::world::World;
use crate::abi::{Description, EngineModuleRef, Instance, Mode};
use crate::engine::Engine;
use crate::task::{Error, ErrorKind, Finding, Result, Task};

/// An engine on the test host.
///
/// An attempt of it is started by [`attempt`](Self::attempt). When a test lets the scheduler die, the next attempt has an engine
/// that was created anew from the same configuration.
pub struct TestEngine {
    module: EngineModuleRef,
    config: String,
    description: Description,
    patience: Duration,
    process: Mutex<Arc<Process>>,
}

/// A created engine, and the world that it lives in until it is dead.
pub(super) struct Process {
    pub(super) module: EngineModuleRef,
    pub(super) instance: Instance,
    pub(super) world: Arc<World>,
    #[cfg(feature = "async")]
    pub(super) driver: Option<super::driver::Driver>,
}

impl TestEngine {
    /// How long a test really waits for an engine before it fails.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A blocking engine with this configuration. oxidag holds it against the schema first; here, only the engine looks at it.
    ///
    /// # Errors
    ///
    /// When the engine refuses its configuration.
    pub fn new<E: Engine>(config: Value) -> Result<Self> {
        Self::of(crate::adapter::blocking_module::<E>(), &config)
    }

    /// An asynchronous engine with this configuration.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg(feature = "async")]
    pub fn new_async<E: crate::engine::AsyncEngine>(config: Value) -> Result<Self> {
        Self::of(crate::runtime::async_module::<E>(), &config)
    }

    fn of(module: EngineModuleRef, config: &Value) -> Result<Self> {
        let description: Description = read(module.describe()().as_str())?;
        let config = config.to_string();
        let process = Process::new(module, &config, description.mode, Self::PATIENCE)?;
        Ok(Self { module, config, description, patience: Self::PATIENCE, process: Mutex::new(process) })
    }

    /// The same, for a test that fails when it really has to wait longer than this for the engine; 30 seconds otherwise.
    ///
    /// # Errors
    ///
    /// When the engine, which is created anew, refuses its configuration.
    pub fn with_patience(mut self, patience: Duration) -> Result<Self> {
        self.patience = patience;
        self.process = Mutex::new(Process::new(self.module, &self.config, self.description.mode, patience)?);
        Ok(self)
    }

    /// What the engine says of itself: the schema of its configuration, the suffix of its scripts.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// A dry run of a task.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    #[track_caller]
    pub fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        let process = self.process();
        match (process.module.validate())(process.instance, RStr::from_str(&text(task))) {
            RResult::ROk(findings) => read(findings.as_str()),
            RResult::RErr(error) => Err(read(error.as_str())?),
        }
    }

    /// An attempt, to be started.
    #[track_caller]
    pub fn attempt(&self, task: &Task) -> Start {
        let process = self.process();
        let waits_async = match self.description.mode {
            Mode::Blocking => false,
            Mode::Async => true,
            Mode::PerTask => {
                let params = Value::Object(task.params.clone()).to_string();
                !(process.module.blocks())(process.instance, RStr::from_str(&params))
            }
        };
        Start::new(process, task.clone(), waits_async)
    }

    /// Moves the time for all attempts, from one wait to the next, and returns when each has come to its next wait or its end. Without
    /// any time to go, it only lets them come there.
    ///
    /// # Panics
    ///
    /// When an attempt waits for something else than time, which no test can move.
    #[track_caller]
    pub fn advance(&self, time: Duration) {
        let process = self.process();
        process.world.advance(time);
        #[cfg(feature = "async")]
        if let Some(driver) = &process.driver {
            let patience = self.patience;
            assert!(
                driver.advance(time, patience),
                "waited {patience:?}, but the engine's futures did not come to rest"
            );
        }
    }

    /// Lets the scheduler die, with all attempts.
    pub fn crash(&self) {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).world.die();
    }

    /// The engine that lives, created anew if the last one is dead.
    #[track_caller]
    fn process(&self) -> Arc<Process> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.world.is_dead() {
            #[cfg(feature = "async")]
            process.driver.iter().for_each(super::driver::Driver::end);
            match Process::new(self.module, &self.config, self.description.mode, self.patience) {
                Ok(anew) => *process = anew,
                Err(error) => panic!("the engine that was created once is refused the second time: {error}"),
            }
        }
        Arc::clone(&process)
    }
}

impl Drop for TestEngine {
    /// Ends what still waits.
    fn drop(&mut self) {
        self.crash();
    }
}

impl std::fmt::Debug for TestEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestEngine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Process {
    fn new(module: EngineModuleRef, config: &str, mode: Mode, patience: Duration) -> Result<Arc<Self>> {
        #[cfg(feature = "async")]
        let driver = match mode {
            Mode::Blocking => None,
            Mode::Async | Mode::PerTask => Some(
                super::driver::Driver::new()
                    .map_err(|e| Error::failed(format!("cannot start a runtime for the test: {e}")))?,
            ),
        };
        let _ = mode;
        let instance = match module.create()(RStr::from_str(config)) {
            RResult::ROk(instance) => instance,
            RResult::RErr(error) => return Err(read(error.as_str())?),
        };
        Ok(Arc::new(Self {
            module,
            instance,
            world: World::new(patience),
            #[cfg(feature = "async")]
            driver,
        }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // No call is in flight: each holds a reference.
        (self.module.destroy())(self.instance);
    }
}

pub(super) fn text(task: &Task) -> String {
    // String keys and no custom serializer; only a working folder that is not UTF-8 fails, and the engine says so.
    serde_json::to_string(task).unwrap_or_default()
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| {
        Error::new(
            ErrorKind::Panicked,
            format!("the engine answers in a way that the ABI does not know: {e}"),
        )
    })
}
