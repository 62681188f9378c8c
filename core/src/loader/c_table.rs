//! The functions of an engine with a plain C table, as safe functions.

use std::sync::Arc;

use abi_stable::library::RawLibrary;
use oxidag_plugin_api::Error;
use oxidag_plugin_api::abi::Instance;
use oxidag_plugin_api::abi::c::{Answer, ENGINE_SYMBOL, EngineTable, HostTable, OK, Text};

use crate::engine::{Attempt, c_host};

/// The functions of an engine; those that every engine has are there.
#[derive(Clone, Copy)]
pub(crate) struct CTable {
    describe: unsafe extern "C" fn(Answer),
    create: unsafe extern "C" fn(Text, Answer) -> *mut (),
    blocks: Option<unsafe extern "C" fn(*mut (), Text) -> i32>,
    validate: Option<unsafe extern "C" fn(*mut (), Text, Answer) -> i32>,
    run: unsafe extern "C" fn(*mut (), Text, *const HostTable, u64) -> i32,
    destroy: unsafe extern "C" fn(*mut ()),
}

impl CTable {
    /// The table that a library exports, if it does, or what is wrong with it.
    pub(super) fn of(library: &RawLibrary) -> Option<Result<Self, String>> {
        let symbol = format!("{ENGINE_SYMBOL}\0");
        // SAFETY: the symbol is a static of a library that is never unloaded; nothing is read through the pointer yet.
        let place = unsafe { library.get::<*const EngineTable>(symbol.as_bytes()) }.ok()?;
        // SAFETY: whoever exports this name promises a table there, as long as it says.
        let table = unsafe { EngineTable::read(*place) };
        Some(table.map_or_else(|size| Err(too_short(size)), |table| Self::complete(&table)))
    }

    fn complete(table: &EngineTable) -> Result<Self, String> {
        let missing = |name| format!("its table {ENGINE_SYMBOL} has no function {name}");
        Ok(Self {
            describe: table.describe.ok_or_else(|| missing("describe"))?,
            create: table.create.ok_or_else(|| missing("create"))?,
            blocks: table.blocks,
            validate: table.validate,
            run: table.run.ok_or_else(|| missing("run"))?,
            destroy: table.destroy.ok_or_else(|| missing("destroy"))?,
        })
    }

    pub(super) fn describe(self) -> Result<String, String> {
        // SAFETY: the engine's function by its contract, which also holds for the calls below.
        let ((), said) = listen(|answer| unsafe { (self.describe)(answer) });
        said.unwrap_or_else(|| Err("it says nothing".to_owned()))
    }

    pub(super) fn create(self, config: &str) -> Result<Instance, String> {
        // SAFETY: as in `describe`.
        let (engine, said) = listen(|answer| unsafe { (self.create)(Text::new(config), answer) });
        if engine.is_null() {
            return Err(error_of(said, "gave no reason"));
        }
        // SAFETY: engines may be used from any thread by their contract, and this one goes to this table only.
        Ok(unsafe { Instance::from_ptr(engine) })
    }

    /// An engine without this function has been asked by mistake: a worker is what does for any task.
    pub(super) fn blocks(self, engine: Instance, params: &str) -> bool {
        // SAFETY: as in `describe`; the engine comes from `create`.
        self.blocks.is_none_or(|blocks| unsafe { blocks(pointer(engine), Text::new(params)) } != 0)
    }

    pub(super) fn validate(self, engine: Instance, task: &str) -> Result<String, String> {
        let Some(validate) = self.validate else { return Ok("[]".to_owned()) };
        // SAFETY: as in `blocks`.
        let (status, said) = listen(|answer| unsafe { validate(pointer(engine), Text::new(task), answer) });
        match said {
            Some(Ok(findings)) if status == OK => Ok(findings),
            None if status == OK => Ok("[]".to_owned()),
            Some(Err(why)) if status == OK => Err(error("the engine's findings cannot be read", &why)),
            said => Err(error_of(said, "could not check the task and gave no reason")),
        }
    }

    pub(super) fn run(self, engine: Instance, task: &str, attempt: Arc<dyn Attempt>) {
        let number = c_host::hand_over(attempt);
        // SAFETY: as in `blocks`.
        let how =
            unsafe { (self.run)(pointer(engine), Text::new(task), &raw const c_host::FUNCTIONS, number) };
        c_host::returned(number, how);
    }

    pub(super) fn destroy(self, engine: Instance) {
        // SAFETY: as in `blocks`; the caller does so once.
        unsafe { (self.destroy)(pointer(engine)) }
    }
}

fn too_short(size: usize) -> String {
    format!("its table {ENGINE_SYMBOL} has {size} bytes of at least {}", EngineTable::LEAST)
}

fn pointer(engine: Instance) -> *mut () {
    engine.as_ptr().cast_mut()
}

/// What an engine says: nothing, a text, or something that is none.
type Said = Option<Result<String, String>>;

/// Calls an engine and listens to its answer; the first thing that it says counts.
fn listen<T>(call: impl FnOnce(Answer) -> T) -> (T, Said) {
    unsafe extern "C" fn say(to: *mut (), text: Text) {
        // SAFETY: engines hand back the pointer of their `Answer`, on the thread of the call and before it returns.
        let Some(said) = (unsafe { to.cast::<Said>().as_mut() }) else { return };
        if said.is_none() {
            // SAFETY: the text is there for this call, as the engine promises.
            let text = unsafe { text.str() };
            *said = Some(text.map(str::to_owned).map_err(|error| error.to_string()));
        }
    }
    let mut said = None;
    let returned = call(Answer { to: (&raw mut said).cast(), say: Some(say) });
    (returned, said)
}

/// The error that the engine says, as JSON, or one that says it did not.
fn error_of(said: Said, otherwise: &str) -> String {
    match said {
        Some(Ok(json)) => json,
        Some(Err(why)) => error("the engine's reason cannot be read", &why),
        None => error("the engine refused", otherwise),
    }
}

fn error(what: &str, why: &str) -> String {
    // A type with string keys and no custom serializer: writing it cannot fail.
    serde_json::to_string(&Error::failed(format!("{what}: {why}"))).unwrap_or_default()
}
