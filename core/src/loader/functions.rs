//! The functions of an opened library, the same whatever language the engine is written in.

use abi_stable::library::{LibraryError, RawLibrary, lib_header_from_raw_library};
use abi_stable::std_types::{RResult, RStr, RString};
use oxidag_plugin_api::abi::c::ENGINE_SYMBOL;
use oxidag_plugin_api::abi::{EngineModuleRef, Instance};

use super::c_table::CTable;
use crate::engine::{Attempt, rust_host};

/// The functions of an engine. All may be called from any thread; texts are JSON.
#[derive(Clone, Copy)]
pub(crate) enum Functions {
    /// Of an engine that was built with `oxidag-plugin-api`.
    Rust(EngineModuleRef),
    /// Of an engine with a plain C table.
    C(CTable),
}

impl Functions {
    /// The functions that an opened library exports, or what is wrong with them.
    pub(super) fn of(library: &RawLibrary) -> Result<Self, String> {
        match CTable::of(library) {
            Some(table) => table.map(Self::C),
            None => root_module(library).map(Self::Rust),
        }
    }

    /// What the engine says of itself: a `Description`, or why it cannot be understood.
    pub(crate) fn describe(self) -> Result<String, String> {
        match self {
            Self::Rust(module) => match module.describe()().into_string() {
                // plugin-api has caught it, and has no way to say it here.
                nothing if nothing.is_empty() => {
                    Err("it says nothing, as after a panic, maybe in the schema of its configuration"
                        .to_owned())
                }
                description => Ok(description),
            },
            Self::C(table) => table.describe(),
        }
    }

    /// An engine with this configuration, or its `Error`.
    pub(crate) fn create(self, config: &str) -> Result<Instance, String> {
        match self {
            Self::Rust(module) => match module.create()(RStr::from_str(config)) {
                RResult::ROk(instance) => Ok(instance),
                RResult::RErr(error) => Err(error.into_string()),
            },
            Self::C(table) => table.create(config),
        }
    }

    /// Whether a task with these parameters blocks its thread.
    pub(crate) fn blocks(self, engine: Instance, params: &str) -> bool {
        match self {
            Self::Rust(module) => module.blocks()(engine, RStr::from_str(params)),
            Self::C(table) => table.blocks(engine, params),
        }
    }

    /// What the engine finds about a task, a list of `Finding`, or its `Error`.
    pub(crate) fn validate(self, engine: Instance, task: &str) -> Result<String, String> {
        match self {
            Self::Rust(module) => {
                let found = module.validate()(engine, RStr::from_str(task));
                found.map(RString::into_string).map_err(RString::into_string).into_result()
            }
            Self::C(table) => table.validate(engine, task),
        }
    }

    /// Runs an attempt, which ends through [`Attempt::complete`], during this call or later.
    pub(crate) fn run<A: Attempt>(self, engine: Instance, task: &str, attempt: std::sync::Arc<A>) {
        match self {
            Self::Rust(module) => module.run()(engine, RStr::from_str(task), rust_host::handle(attempt)),
            Self::C(table) => table.run(engine, task, attempt),
        }
    }

    /// Ends an engine that no call is in flight of, and none follows.
    pub(crate) fn destroy(self, engine: Instance) {
        match self {
            Self::Rust(module) => module.destroy()(engine),
            Self::C(table) => table.destroy(engine),
        }
    }
}

fn root_module(library: &RawLibrary) -> Result<EngineModuleRef, String> {
    // SAFETY: the library is never unloaded, so what the header points to stays.
    let header = unsafe { lib_header_from_raw_library(library) }.map_err(|error| match error {
        LibraryError::GetSymbolError { .. } => format!("it has neither a root module nor {ENGINE_SYMBOL}"),
        other => first_line(&other),
    })?;
    // Not `RootModule::load_*`: that caches one library per type, so the second engine would be the first again.
    header.init_root_module::<EngineModuleRef>().map_err(|error| first_line(&error))
}

fn first_line(error: &LibraryError) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
