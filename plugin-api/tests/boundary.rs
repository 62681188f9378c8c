//! The functions of the ABI around engines that keep and break their word.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RResult, RStr, RString};
use oxidag_plugin_api::__private::{async_module, blocking_module};
use oxidag_plugin_api::abi::{
    Callback, Description, EngineModuleRef, HANDSHAKE_SYMBOL, Handshake, HostHandle, HostVtable,
    HostVtableRef, Instance, MAGIC, Mode,
};
use oxidag_plugin_api::{AsyncEngine, Engine, Error, Host, NoConfig, Outcome, Result, Task};
use serde_json::{Value, json};

/// A host that only remembers how the attempt ended; one reference is one clone of the sender.
static VTABLE: WithMetadata<HostVtable> = WithMetadata::new(HostVtable {
    retain,
    release,
    log,
    progress,
    cancelled,
    on_cancel,
    checkpoint,
    append,
    complete,
});

type Ends = Sender<Value>;

thread_local! {
    /// Whether the next callback of this thread is let go of.
    static LET_GO: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn retain(context: *const ()) {
    // SAFETY: the context is a leaked `Ends`, alive for the whole test.
    let ends = unsafe { &*context.cast::<Ends>() };
    std::mem::forget(ends.clone());
}
extern "C" fn release(_: *const ()) {}
extern "C" fn log(_: *const (), _: u8, _: RStr<'_>) {}
extern "C" fn progress(_: *const (), _: f64, _: RStr<'_>) {}
extern "C" fn cancelled(_: *const ()) -> bool {
    true
}
/// As if the attempt were to stop, or, where that is asked for, had ended.
extern "C" fn on_cancel(_: *const (), callback: Callback) {
    match LET_GO.replace(false) {
        true => callback.discard(),
        false => callback.call(),
    }
}
extern "C" fn checkpoint(_: *const (), _: RStr<'_>) -> RResult<(), RString> {
    RResult::RErr("the store is full".into())
}
extern "C" fn append(_: *const (), _: RStr<'_>) -> RResult<(), RString> {
    RResult::ROk(())
}
extern "C" fn complete(context: *const (), end: RStr<'_>) {
    // SAFETY: as in `retain`.
    let ends = unsafe { &*context.cast::<Ends>() };
    ends.send(serde_json::from_str(end.as_str()).unwrap()).unwrap();
}

fn host() -> (HostHandle, Receiver<Value>) {
    let (ends, ended) = channel::<Value>();
    let context: *const Ends = Box::leak(Box::new(ends));
    // SAFETY: the context is never freed, and what it points to may be used from any thread.
    (unsafe { HostHandle::new(context.cast(), HostVtableRef(VTABLE.static_as_prefix())) }, ended)
}

fn created(module: EngineModuleRef) -> Instance {
    match module.create()(RStr::from_str("{}")) {
        RResult::ROk(instance) => instance,
        RResult::RErr(error) => panic!("{error}"),
    }
}

/// Runs one task whose script names what the engine is to do, and tells how it ended.
fn ran(module: EngineModuleRef, script: &str) -> Value {
    let engine = created(module);
    let task = json!({
        "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
        "script": {"text": script, "name": "inline"}, "params": {}, "working_dir": "/",
    });
    let (handle, ended) = host();
    module.run()(engine, RStr::from_str(&task.to_string()), handle);
    let end = ended.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(ended.recv_timeout(Duration::from_millis(1)).is_err(), "ended twice");
    module.destroy()(engine);
    end
}

/// Panics as it goes.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

struct Blocking;

impl Engine for Blocking {
    type Config = NoConfig;
    const SCRIPT_SUFFIX: &'static str = ".test";

    fn create(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn validate(&self, _: &Task) -> Result<Vec<oxidag_plugin_api::Finding>> {
        panic!("in validate");
    }

    fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
        match task.script.text.as_str() {
            "panic" => panic!("asked to"),
            "checkpoint" => host.checkpoint(&json!({})).map(|()| Outcome::default()),
            "wait" => host.wait(Duration::from_secs(3600)).map(|()| Outcome::default()),
            "let go" => {
                let bomb = Bomb;
                LET_GO.set(true);
                host.on_cancel(move || drop(bomb));
                Ok(Outcome::default())
            }
            "cancel" => {
                let (stop, stopped) = channel();
                host.on_cancel(move || stop.send(()).unwrap());
                stopped.recv().map_err(|e| Error::failed(e.to_string()))?;
                Err(Error::cancelled("stopped"))
            }
            _ => Ok(Outcome::default().with_result(json!([1])).with_metric("rows", 1)),
        }
    }
}

/// Panics in each call but `create`.
struct Panicking;

impl Drop for Panicking {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

impl Engine for Panicking {
    type Config = NoConfig;
    const SCRIPT_SUFFIX: &'static str = ".test";

    fn create(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn run(&self, _: Task, _: &Host) -> Result<Outcome> {
        panic!("in run");
    }
}

impl AsyncEngine for Panicking {
    type Config = NoConfig;
    const SCRIPT_SUFFIX: &'static str = ".test";
    const MIXED: bool = true;

    fn create(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn blocks(&self, _: &serde_json::Map<String, Value>) -> bool {
        panic!("in blocks");
    }

    async fn validate(&self, _: &Task) -> Result<Vec<oxidag_plugin_api::Finding>> {
        panic!("in validate");
    }

    async fn run(&self, _: Task, _: Host) -> Result<Outcome> {
        panic!("in run");
    }
}

/// A configuration whose schema cannot be made.
#[derive(serde::Deserialize)]
struct NoSchema {}

impl schemars::JsonSchema for NoSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoSchema".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        panic!("in the schema");
    }
}

struct Undescribed;

impl Engine for Undescribed {
    type Config = NoSchema;
    const SCRIPT_SUFFIX: &'static str = ".test";

    fn create(_: NoSchema) -> Result<Self> {
        panic!("in create");
    }

    fn run(&self, _: Task, _: &Host) -> Result<Outcome> {
        Ok(Outcome::default())
    }
}

struct Waiting;

impl AsyncEngine for Waiting {
    type Config = NoConfig;

    fn create(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        tokio::task::yield_now().await;
        match task.script.text.as_str() {
            "panic" => panic!("asked to"),
            "cancel" => {
                host.until_cancelled().await;
                Err(Error::cancelled("stopped"))
            }
            _ => Ok(Outcome::default()),
        }
    }
}

#[test]
fn an_outcome_and_an_error_reach_the_host() {
    assert_eq!(
        ran(blocking_module::<Blocking>(), ""),
        json!({"outcome": {"result": [1], "metrics": {"rows": 1}}})
    );
    assert_eq!(ran(async_module::<Waiting>(), ""), json!({"outcome": {}}));
    let failed = ran(blocking_module::<Blocking>(), "checkpoint");
    assert_eq!(failed, json!({"error": {"kind": "transient", "message": "the store is full"}}));
}

#[test]
fn a_panic_becomes_an_error_with_its_place() {
    for module in [blocking_module::<Blocking>(), async_module::<Waiting>()] {
        let end = ran(module, "panic");
        assert_eq!(end["error"]["kind"], "panicked");
        let message = end["error"]["message"].as_str().unwrap();
        assert!(message.contains("boundary.rs:") && message.ends_with("asked to"), "{message}");
    }
}

#[test]
fn a_panic_in_any_other_function_stays_on_the_engines_side() {
    let module = blocking_module::<Blocking>();
    let task = json!({
        "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
        "script": {"text": "", "name": "inline"}, "params": {}, "working_dir": "/",
    });
    for module in [module, async_module::<Panicking>()] {
        let result = module.validate()(created(module), RStr::from_str(&task.to_string()));
        let RResult::RErr(error) = result else { panic!("validated") };
        assert!(error.contains("in validate"), "{error}");
    }
    let mixed = async_module::<Panicking>();
    assert!(!mixed.blocks()(created(mixed), RStr::from_str("{}")));
    // `run` asks `blocks` as well, and `destroy` drops the engine.
    for module in [mixed, blocking_module::<Panicking>()] {
        let message = ran(module, "")["error"]["message"].to_string();
        assert!(message.contains("in run"), "{message}");
    }
    let undescribed = blocking_module::<Undescribed>();
    assert_eq!(undescribed.describe()().as_str(), "");
    let RResult::RErr(error) = undescribed.create()(RStr::from_str("{}")) else { panic!("created") };
    assert!(error.contains("in create"), "{error}");
}

#[test]
fn what_a_callback_holds_may_panic_as_it_is_let_go_of() {
    let end = ran(blocking_module::<Blocking>(), "let go");
    assert_eq!(end["outcome"], json!({}), "{end}");
}

#[test]
fn a_cancellation_wakes_whoever_waits_for_it() {
    for module in [blocking_module::<Blocking>(), async_module::<Waiting>()] {
        assert_eq!(ran(module, "cancel")["error"]["kind"], "cancelled");
    }
    assert_eq!(ran(blocking_module::<Blocking>(), "wait")["error"]["kind"], "cancelled");
}

#[test]
fn a_task_that_cannot_be_read_ends_as_invalid() {
    let module = blocking_module::<Blocking>();
    let (handle, ended) = host();
    module.run()(created(module), RStr::from_str("{}"), handle);
    assert_eq!(ended.recv().unwrap()["error"]["kind"], "invalid");
}

#[test]
fn a_config_that_cannot_be_read_is_an_error() {
    let RResult::RErr(error) = blocking_module::<Blocking>().create()(RStr::from_str(r#"{"x": 1}"#)) else {
        panic!("created")
    };
    assert!(error.contains("unknown field `x`"), "{error}");
}

#[test]
fn an_engine_describes_itself() {
    let description: Description =
        serde_json::from_str(blocking_module::<Blocking>().describe()().as_str()).unwrap();
    assert_eq!((description.mode, description.script_suffix.as_str()), (Mode::Blocking, ".test"));
    assert_eq!(description.config_schema["additionalProperties"], false);
    let description: Description =
        serde_json::from_str(async_module::<Waiting>().describe()().as_str()).unwrap();
    assert_eq!(description.mode, Mode::Async);
}

#[test]
fn the_handshake_can_be_read_back() {
    assert_eq!(HANDSHAKE_SYMBOL, "oxidag_engine_handshake");
    let handshake = Handshake::new("echo", "1.2.3");
    assert_eq!(handshake.magic, MAGIC);
    assert_eq!(Handshake::text(&handshake.engine), "echo");
    assert_eq!(Handshake::text(&handshake.engine_version), "1.2.3");
    assert!(Handshake::text(&handshake.rustc).starts_with("rustc "));
}
