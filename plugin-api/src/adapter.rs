//! The ABI's functions around an author's [`Engine`]: JSON in and out, panics caught.

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RResult, RStr, RString};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{Description, End, EngineModule, EngineModuleRef, HostHandle, Instance, Mode};
use crate::engine::Engine;
use crate::host::Host;
use crate::panics::catch;
use crate::task::{Error, ErrorKind, Outcome, Result, Task};

/// The module of a blocking engine.
#[must_use]
pub fn blocking_module<E: Engine>() -> EngineModuleRef {
    EngineModule {
        describe: describe::<E>,
        create: create::<E>,
        blocks,
        validate: validate::<E>,
        run: run::<E>,
        destroy: destroy::<E>,
    }
    .leak_into_prefix()
}

extern "C" fn describe<E: Engine>() -> RString {
    let scripts = Scripts {
        suffix: E::SCRIPT_SUFFIX,
        other_suffixes: E::OTHER_SUFFIXES,
        by_reference: E::BY_REFERENCE,
        verbatim: E::VERBATIM,
    };
    description::<E::Config>(Mode::Blocking, &scripts)
}

extern "C" fn create<E: Engine>(config: RStr<'_>) -> RResult<Instance, RString> {
    create_with(config, E::create)
}

extern "C" fn blocks(_engine: Instance, _params: RStr<'_>) -> bool {
    true
}

extern "C" fn validate<E: Engine>(engine: Instance, task: RStr<'_>) -> RResult<RString, RString> {
    reply(catch(|| {
        // SAFETY: the host passes what `create` of this module returned, before `destroy`.
        let engine = unsafe { engine_ref::<E>(engine) };
        engine.validate(&parse::<Task>("task", task)?)
    }))
}

extern "C" fn run<E: Engine>(engine: Instance, task: RStr<'_>, host: HostHandle) {
    let completion = Completion::new(host);
    let end = catch(|| {
        // SAFETY: as in `validate`.
        let engine = unsafe { engine_ref::<E>(engine) };
        engine.run(parse::<Task>("task", task)?, &completion.host)
    });
    completion.finish(end.and_then(|result| result));
}

extern "C" fn destroy<E>(engine: Instance) {
    // SAFETY: the host passes what `create` of this module returned, once, with no call in flight.
    let engine = unsafe { Box::from_raw(engine.0.cast_mut().cast::<E>()) };
    drop(catch(|| drop(engine)));
}

/// # Safety
///
/// `engine` must come from [`create_with`] for the same `E`, and not have been destroyed.
pub(crate) unsafe fn engine_ref<'a, E>(engine: Instance) -> &'a E {
    // SAFETY: by this function's contract the pointer is to a live `E`.
    unsafe { &*engine.0.cast::<E>() }
}

/// What an engine says of its scripts.
pub(crate) struct Scripts {
    pub(crate) suffix: &'static str,
    pub(crate) other_suffixes: &'static [&'static str],
    pub(crate) by_reference: bool,
    pub(crate) verbatim: bool,
}

pub(crate) fn description<C: JsonSchema>(mode: Mode, scripts: &Scripts) -> RString {
    let described = catch(|| {
        let description = Description {
            config_schema: schemars::schema_for!(C).to_value(),
            mode,
            script_suffix: scripts.suffix.to_owned(),
            other_suffixes: scripts.other_suffixes.iter().map(|&suffix| suffix.to_owned()).collect(),
            by_reference: scripts.by_reference,
            verbatim: scripts.verbatim,
        };
        serde_json::to_string(&description).unwrap_or_default()
    });
    described.unwrap_or_default().into()
}

pub(crate) fn create_with<C, E>(
    config: RStr<'_>,
    create: impl FnOnce(C) -> Result<E>,
) -> RResult<Instance, RString>
where
    C: DeserializeOwned,
{
    let created = catch(|| create(parse::<C>("configuration", config)?)).and_then(|result| result);
    match created {
        Ok(engine) => RResult::ROk(Instance(Box::into_raw(Box::new(engine)).cast_const().cast())),
        Err(error) => RResult::RErr(json(&error)),
    }
}

pub(crate) fn parse<T: DeserializeOwned>(what: &str, text: RStr<'_>) -> Result<T> {
    serde_json::from_str(text.as_str())
        .map_err(|e| Error::invalid(format!("the engine cannot read its {what}: {e}")))
}

pub(crate) fn reply<T: Serialize>(result: Result<Result<T>>) -> RResult<RString, RString> {
    match result.and_then(|result| result) {
        Ok(value) => RResult::ROk(json(&value)),
        Err(error) => RResult::RErr(json(&error)),
    }
}

fn json<T: Serialize>(value: &T) -> RString {
    // The crate's own types: string keys and no custom serializer, so writing them cannot fail.
    serde_json::to_string(value).unwrap_or_default().into()
}

/// The duty to tell the host how an attempt ended: dropped unused (a bug, a runtime that went away), it
/// says so itself, so that no task stays running for ever.
pub(crate) struct Completion {
    pub(crate) host: Host,
    used: bool,
}

impl Completion {
    pub(crate) fn new(handle: HostHandle) -> Self {
        Self { host: Host::new(handle), used: false }
    }

    pub(crate) fn finish(mut self, result: Result<Outcome>) {
        self.used = true;
        self.host.complete(&match result {
            Ok(outcome) => End::Outcome(outcome),
            Err(error) => End::Error(error),
        });
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.used {
            let message = "the engine let go of the task without ending it";
            self.host.complete(&End::Error(Error::new(ErrorKind::Panicked, message)));
        }
    }
}

/// Makes the library an engine: `export_engine!(Type, name = "name")`, once, for a type that is an
/// [`Engine`](crate::Engine). The engine's version is its crate's.
#[macro_export]
macro_rules! export_engine {
    ($engine:ty, name = $name:literal) => {
        $crate::__export!($name, $crate::__private::blocking_module::<$engine>());
    };
}

/// Makes the library an engine: as [`export_engine!`], for an `AsyncEngine`.
#[cfg(feature = "async")]
#[macro_export]
macro_rules! export_async_engine {
    ($engine:ty, name = $name:literal) => {
        $crate::__export!($name, $crate::__private::async_module::<$engine>());
    };
}

/// The two symbols of an engine's library.
///
/// The second is what abi_stable's `#[export_root_module]` writes (abi_stable_derive 0.11.3,
/// `export_root_module_impl.rs`), spelled out here since that attribute needs abi_stable among the author's
/// own dependencies and does not know edition 2024's `unsafe(no_mangle)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($name:literal, $module:expr) => {
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, missing_docs, reason = "the name is the ABI's")]
        pub static oxidag_engine_handshake: $crate::abi::Handshake =
            $crate::abi::Handshake::new($name, env!("CARGO_PKG_VERSION"));

        const _: () = {
            use $crate::__private::abi_stable::library as sabi;

            extern "C" fn root_module() -> sabi::RootModuleResult {
                fn module() -> $crate::abi::EngineModuleRef {
                    $module
                }
                sabi::__call_root_module_loader(module)
            }

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: sabi::LibHeader = unsafe {
                sabi::LibHeader::from_constructor::<$crate::abi::EngineModuleRef>(
                    root_module,
                    sabi::CheckTypeLayout::Yes,
                )
            };
        };
    };
}
