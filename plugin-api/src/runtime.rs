//! The ABI's functions around an author's [`AsyncEngine`], and the runtime that its futures run on.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::Poll;

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RResult, RStr, RString};
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::abi::{EngineModule, EngineModuleRef, HostHandle, Instance, Mode};
use crate::adapter::{Completion, Scripts, create_with, description, engine_ref, parse, reply};
use crate::engine::AsyncEngine;
use crate::host::Host;
use crate::panics::catch;
use crate::task::{Error, Outcome, Result, Task};

/// The module of an asynchronous engine.
#[must_use]
pub fn async_module<E: AsyncEngine>() -> EngineModuleRef {
    EngineModule {
        describe: describe::<E>,
        create: create::<E>,
        blocks: blocks::<E>,
        validate: validate::<E>,
        run: run::<E>,
        destroy,
    }
    .leak_into_prefix()
}

extern "C" fn describe<E: AsyncEngine>() -> RString {
    let mode = if E::MIXED { Mode::PerTask } else { Mode::Async };
    let scripts = Scripts {
        suffix: E::SCRIPT_SUFFIX,
        other_suffixes: E::OTHER_SUFFIXES,
        by_reference: E::BY_REFERENCE,
        verbatim: E::VERBATIM,
    };
    description::<E::Config>(mode, &scripts)
}

extern "C" fn create<E: AsyncEngine>(config: RStr<'_>) -> RResult<Instance, RString> {
    create_with(config, E::create)
}

extern "C" fn blocks<E: AsyncEngine>(engine: Instance, params: RStr<'_>) -> bool {
    let answer = catch(|| {
        // SAFETY: the host passes what `create` of this module returned, before `destroy`.
        let engine = unsafe { engine_ref::<E>(engine) };
        parse::<Map<String, Value>>("parameters", params).is_ok_and(|params| engine.blocks(&params))
    });
    answer.unwrap_or(false)
}

extern "C" fn validate<E: AsyncEngine>(engine: Instance, task: RStr<'_>) -> RResult<RString, RString> {
    reply(catch(|| {
        // SAFETY: as in `blocks`.
        let engine = unsafe { engine_ref::<E>(engine) };
        let task = parse::<Task>("task", task)?;
        runtime()?.block_on(engine.validate(&task))
    }))
}

extern "C" fn run<E: AsyncEngine>(engine: Instance, task: RStr<'_>, host: HostHandle) {
    let completion = Completion::new(host);
    // SAFETY: as in `blocks`; `destroy` frees nothing, so a future that outlives everything still has its engine.
    let engine: &'static E = unsafe { engine_ref::<E>(engine) };
    match catch(|| parse::<Task>("task", task)).and_then(|result| result) {
        Ok(task) if E::MIXED && catch(|| engine.blocks(&task.params)).unwrap_or(false) => {
            let end = catch(|| engine.run_blocking(task, &completion.host));
            completion.finish(end.and_then(|result| result));
        }
        Ok(task) => spawn(engine, task, completion),
        Err(error) => completion.finish(Err(error)),
    }
}

/// Lets an attempt go on without this thread.
fn spawn<E: AsyncEngine>(engine: &'static E, task: Task, completion: Completion) {
    let runtime = match catch(|| spawner(&completion.host)).and_then(|result| result) {
        Ok(runtime) => runtime,
        Err(error) => return completion.finish(Err(error)),
    };
    // A future may set up what needs the runtime before it is first polled.
    let entered = runtime.enter();
    let host = completion.host.clone();
    // In a box of its own: whoever holds a future by value is larger than it, and it is the memory of each waiting task.
    let future = catch(|| Box::pin(engine.run(task, host)));
    drop(entered);
    match future {
        Ok(future) => drop(runtime.spawn(carried(future, completion))),
        Err(error) => completion.finish(Err(error)),
    }
}

/// An asynchronous engine lives as long as its library: a future of an abandoned attempt may still hold it.
extern "C" fn destroy(_engine: Instance) {}

/// Awaits an attempt, and tells how it ended.
async fn carried(attempt: Pin<Box<impl Future<Output = Result<Outcome>>>>, completion: Completion) {
    let end = guarded(attempt).await;
    completion.finish(end.and_then(|result| result));
}

/// Awaits `future`; a panic in it becomes an error.
async fn guarded<T>(mut future: Pin<Box<impl Future<Output = T>>>) -> Result<T> {
    std::future::poll_fn(|context| match catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// Where the futures of an attempt run: on the library's runtime, or on that of a test, whose time the test moves.
fn spawner(host: &Host) -> Result<Handle> {
    #[cfg(feature = "test")]
    if let Some(runtime) = host.test().and_then(crate::test::Context::runtime) {
        return Ok(runtime);
    }
    let _ = host;
    Ok(runtime()?.handle().clone())
}

/// The library's one runtime: two threads carry thousands of waiting tasks.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread().worker_threads(2).thread_name("oxidag-engine").enable_all().build()
        })
        .as_ref()
        .map_err(|e| Error::transient(format!("the engine cannot start its runtime: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_carries_an_attempt_is_no_larger_for_its_future() {
        async fn large() -> usize {
            let held = [1_u8; 4096];
            tokio::task::yield_now().await;
            held.iter().map(|&byte| usize::from(byte)).sum()
        }
        let carrying = guarded(Box::pin(large()));
        assert!(size_of_val(&large()) >= 4096 && size_of_val(&carrying) < 128, "{}", size_of_val(&carrying));
        assert_eq!(Builder::new_current_thread().build().unwrap().block_on(carrying).unwrap(), 4096);
    }
}
