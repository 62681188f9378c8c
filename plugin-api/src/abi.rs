//! What crosses the boundary between the host and an engine's library.
//!
//! Two symbols make a library an engine:
//!
//! 1. [`HANDSHAKE_SYMBOL`], a plain C struct without pointers, which is read before anything else is looked at;
//! 2. abi_stable's library header, whose root module is [`EngineModule`]; or, for engines that are not built with this
//!    crate, [`c::ENGINE_SYMBOL`], a table in plain C.
//!
//! Every payload is JSON in UTF-8, so that no Rust type but strings and function pointers has to keep its
//! layout. What the JSON holds is defined by the author's types: [`Task`](crate::Task),
//! [`Outcome`](crate::Outcome), [`Error`](crate::Error), [`Description`].

pub mod c;

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RStr, RString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The ABI's major version: an engine of another one is refused.
pub const ABI_MAJOR: u32 = 1;
/// The ABI's minor version: greater ones only add functions.
pub const ABI_MINOR: u32 = 1;
/// The name of the [`Handshake`] static in an engine's library.
pub const HANDSHAKE_SYMBOL: &str = "oxidag_engine_handshake";
/// What stands before the answer to a `query`; see [`HostVtable::append`].
pub const ANSWER: &str = "answer: ";
/// The first bytes of a [`Handshake`].
pub const MAGIC: [u8; 16] = *b"oxidag engine\0\0\x01";

/// What an engine's library says of itself before any of it is trusted.
///
/// Texts are UTF-8, padded with zero bytes. The layout is fixed for all versions of the ABI.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Handshake {
    /// [`MAGIC`].
    pub magic: [u8; 16],
    /// [`ABI_MAJOR`] of the plugin-api that the engine was built with.
    pub abi_major: u32,
    /// [`ABI_MINOR`] of the plugin-api that the engine was built with.
    pub abi_minor: u32,
    /// The version of that plugin-api.
    pub plugin_api: [u8; 32],
    /// The compiler, as `rustc --version` prints it.
    pub rustc: [u8; 96],
    /// The target triple.
    pub target: [u8; 64],
    /// The engine's own name.
    pub engine: [u8; 64],
    /// The engine's own version.
    pub engine_version: [u8; 32],
}

impl Handshake {
    /// The handshake of an engine built with this plugin-api. A text that does not fit fails the build.
    #[must_use]
    pub const fn new(engine: &str, engine_version: &str) -> Self {
        Self {
            magic: MAGIC,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            plugin_api: padded(env!("CARGO_PKG_VERSION")),
            rustc: padded(env!("OXIDAG_RUSTC")),
            target: padded(env!("OXIDAG_TARGET")),
            engine: padded(engine),
            engine_version: padded(engine_version),
        }
    }

    /// The text in one of the padded fields; what is not UTF-8 is replaced, and so are characters that control a terminal.
    #[must_use]
    pub fn text(field: &[u8]) -> String {
        let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
        let text = String::from_utf8_lossy(&field[..end]);
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    }
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() < N, "the text is too long for the handshake");
    let mut field = [0; N];
    let mut i = 0;
    while i < bytes.len() {
        field[i] = bytes[i];
        i += 1;
    }
    field
}

/// One created engine; only its own library knows what it points to.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Instance(pub(crate) *const ());

impl Instance {
    /// An engine whose library is not built with this crate.
    ///
    /// # Safety
    ///
    /// The engine must be one that may be used from any thread, and only go to the functions of its own library.
    #[must_use]
    pub const unsafe fn from_ptr(engine: *const ()) -> Self {
        Self(engine)
    }

    /// The same pointer again.
    #[must_use]
    pub const fn as_ptr(self) -> *const () {
        self.0
    }
}

// SAFETY: the pointer is to an engine, and engines are required to be `Send + Sync`.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// The functions of an engine. All may be called from any thread; none unwinds.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = EngineModuleRef, prefix_fields = EngineModulePrefix)))]
#[sabi(missing_field(panic))]
pub struct EngineModule {
    /// A [`Description`] as JSON.
    pub describe: extern "C" fn() -> RString,
    /// An engine from its configuration as JSON, or an [`Error`](crate::Error) as JSON.
    pub create: extern "C" fn(config: RStr<'_>) -> RResult<Instance, RString>,
    /// For a [`Mode::PerTask`] engine: whether a task with these parameters (a JSON object) blocks its thread.
    pub blocks: extern "C" fn(engine: Instance, params: RStr<'_>) -> bool,
    /// Findings about a [`Task`](crate::Task) as a JSON list, or an [`Error`](crate::Error) as JSON; nothing is run.
    pub validate: extern "C" fn(engine: Instance, task: RStr<'_>) -> RResult<RString, RString>,
    /// Runs a [`Task`](crate::Task). The engine's side calls [`HostVtable::complete`] exactly once, during this call or later.
    pub run: extern "C" fn(engine: Instance, task: RStr<'_>, host: HostHandle),
    /// Ends the engine. No call is in flight and none follows; an attempt of an asynchronous engine that was
    /// abandoned may still be, so such an engine keeps what its futures use.
    #[sabi(last_prefix_field)]
    pub destroy: extern "C" fn(engine: Instance),
}

impl RootModule for EngineModuleRef {
    abi_stable::declare_root_module_statics! {EngineModuleRef}
    const BASE_NAME: &'static str = "oxidag_engine";
    const NAME: &'static str = "oxidag_engine";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// One attempt of one task, as its engine sees the host. Owns one reference to `context`.
#[repr(C)]
#[derive(StableAbi)]
pub struct HostHandle {
    /// Only the host knows what it points to.
    pub(crate) context: *const (),
    /// The host's functions.
    pub(crate) vtable: HostVtableRef,
}

impl HostHandle {
    /// A handle for an engine.
    ///
    /// # Safety
    ///
    /// `context` must be what the functions of `vtable` expect, alive until they have released it once for this
    /// handle and once for each time that they have retained it, and usable from any thread.
    #[must_use]
    pub unsafe fn new(context: *const (), vtable: HostVtableRef) -> Self {
        Self { context, vtable }
    }
}

/// The functions that the host offers to a running task. All may be called from any thread; none unwinds.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostVtableRef, prefix_fields = HostVtablePrefix)))]
#[sabi(missing_field(panic))]
pub struct HostVtable {
    /// One more reference to the context.
    pub retain: extern "C" fn(context: *const ()),
    /// One reference less; the last one frees it.
    pub release: extern "C" fn(context: *const ()),
    /// Lines for the task's log; `level` is a [`Level`](crate::Level) as its number.
    pub log: extern "C" fn(context: *const (), level: u8, text: RStr<'_>),
    /// How far the task has come, from 0 to 1; NaN when the engine cannot tell.
    pub progress: extern "C" fn(context: *const (), fraction: f64, message: RStr<'_>),
    /// Whether the task is asked to stop.
    pub cancelled: extern "C" fn(context: *const ()) -> bool,
    /// Calls back once when the task is asked to stop, at once if it was already.
    pub on_cancel: extern "C" fn(context: *const (), callback: Callback),
    /// Stores how to find a remote job again (any JSON); returns once it is stored.
    pub checkpoint: extern "C" fn(context: *const (), checkpoint: RStr<'_>) -> RResult<(), RString>,
    /// Adds tasks and rules to the run's graph.
    ///
    /// An object with the one key `query` adds nothing. It asks about the graph, and the answer is the text of the error, behind
    /// [`ANSWER`]. A function of its own it cannot have: abi_stable refuses a library that knows fewer of the host's functions
    /// than there are.
    pub append: extern "C" fn(context: *const (), addition: RStr<'_>) -> RResult<(), RString>,
    /// Ends the attempt with `{"outcome": Outcome}` or `{"error": Error}`. A second call is ignored.
    #[sabi(last_prefix_field)]
    pub complete: extern "C" fn(context: *const (), end: RStr<'_>),
}

/// A function of the engine that the host calls at most once.
///
/// Either `call` or `drop` is called with `data`, exactly one of them, exactly once.
#[repr(C)]
#[derive(StableAbi)]
pub struct Callback {
    /// Only the engine's side knows what it points to.
    pub(crate) data: *const (),
    /// Takes `data` back and does the work.
    pub(crate) call: extern "C" fn(data: *const ()),
    /// Takes `data` back and does nothing.
    pub(crate) drop: extern "C" fn(data: *const ()),
}

impl Callback {
    /// Calls the engine.
    pub fn call(self) {
        (self.call)(self.data);
    }

    /// Gives the data back: the engine will not be called.
    pub fn discard(self) {
        (self.drop)(self.data);
    }
}

// SAFETY: the engine's side only makes callbacks from closures that are `Send`.
unsafe impl Send for Callback {}

/// What an engine says of itself once its library is trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The JSON Schema of its configuration.
    pub config_schema: Value,
    /// How it runs tasks.
    pub mode: Mode,
    /// What is appended to a script's name to find its file, such as `.sql`.
    pub script_suffix: String,
    /// Suffixes that a spelled-out name may have instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_suffixes: Vec<String>,
    /// Scripts go to the engine by their place, without their text and as they stand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_reference: bool,
    /// The texts of scripts go to the engine as they were written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verbatim: bool,
}

/// How an engine runs tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `run` returns when the task has ended: it needs one of the host's workers.
    Blocking,
    /// `run` returns at once.
    Async,
    /// [`EngineModule::blocks`] tells.
    PerTask,
}

/// How an attempt ended, as [`HostVtable::complete`] takes it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It succeeded.
    Outcome(crate::Outcome),
    /// It did not.
    Error(crate::Error),
}
