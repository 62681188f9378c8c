//! The functions of the ABI with those around them that break its rules, which an engine in plain Rust cannot.

use abi_stable::prefix_type::PrefixTypeTrait as _;
use abi_stable::std_types::{RResult, RStr, RString};
use oxidag_plugin_api::__private::blocking_module;
use oxidag_plugin_api::abi::{EngineModule, EngineModuleRef, HostHandle, HostVtableRef, Instance};

use crate::Rogue;
use crate::rules::breaks;

/// The module of the engine, with other functions where it breaks rules.
pub(crate) fn module() -> EngineModuleRef {
    let kept = blocking_module::<Rogue>();
    let (validate, destroy) = (kept.validate(), kept.destroy());
    EngineModule { describe, create, blocks, validate, run, destroy }.leak_into_prefix()
}

extern "C" fn describe() -> RString {
    while breaks("hang") {
        std::thread::park();
    }
    assert!(!breaks("panic_describe"), "told to panic");
    let described = blocking_module::<Rogue>().describe()();
    if ["per_task", "panic_blocks", "hang_blocks"].into_iter().any(breaks) {
        return described.replace("\"blocking\"", "\"per_task\"").into();
    }
    if breaks("schema") { described.replace("\"object\"", "\"thing\"").into() } else { described }
}

/// Takes what the schema refuses.
extern "C" fn create(config: RStr<'_>) -> RResult<Instance, RString> {
    let create = blocking_module::<Rogue>().create();
    let created = create(config);
    match &created {
        RResult::RErr(error) if breaks("config_refused") && error.contains("invalid type") => {
            create(RStr::from_str("{}"))
        }
        RResult::RErr(_) if breaks("speechless") => {
            RResult::RErr(r#"{"kind": "invalid", "message": ""}"#.into())
        }
        _ => created,
    }
}

/// Panics where a parameter says so, and lets the panic out where that is the rule it breaks.
extern "C" fn blocks(_engine: Instance, params: RStr<'_>) -> bool {
    while breaks("hang_blocks") {
        std::thread::park();
    }
    let answer = || {
        assert!(!params.as_str().contains("\"panic\""), "told to panic");
        true
    };
    if breaks("panic_blocks") { answer() } else { std::panic::catch_unwind(answer).unwrap_or(true) }
}

extern "C" fn run(engine: Instance, task: RStr<'_>, host: HostHandle) {
    if breaks("malformed") && serde_json::from_str::<oxidag_plugin_api::Task>(task.as_str()).is_err() {
        std::process::abort();
    }
    let host = Seen::of(host);
    if breaks("forgotten") {
        (host.vtable.release())(host.context);
        return;
    }
    if breaks("held") || breaks("completion") {
        (host.vtable.retain())(host.context);
    }
    let (context, vtable) = (host.context, host.vtable);
    blocking_module::<Rogue>().run()(engine, task, host.handle());
    if breaks("completion") {
        (vtable.complete())(context, RStr::from_str(r#"{"outcome": {}}"#));
        (vtable.release())(context);
    }
}

/// A `HostHandle`, whose fields are the ABI's but not the author's.
#[repr(C)]
struct Seen {
    context: *const (),
    vtable: HostVtableRef,
}

impl Seen {
    fn of(handle: HostHandle) -> Self {
        // SAFETY: both are `repr(C)` with the same fields, which the ABI does not change.
        unsafe { std::mem::transmute::<HostHandle, Self>(handle) }
    }

    fn handle(self) -> HostHandle {
        // SAFETY: it came from a handle, whose reference goes with it.
        unsafe { HostHandle::new(self.context, self.vtable) }
    }
}
