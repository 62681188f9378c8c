//! The engine's and the host's functions in plain C: `include/oxidag_engine.h` in Rust's words, which has the contract of
//! each function. It is what engines meet that were not built with this crate.
//!
//! A test compiles the header and compares the layouts. Nothing here is ever taken away or moved; what is new goes to the
//! end of a table, and the other side looks at the table's `size`.

use std::mem::size_of;

/// The name of the [`EngineTable`] static in the library of an engine that is not written in Rust.
pub const ENGINE_SYMBOL: &str = "oxidag_engine_c_v1";

/// A call has done what it was asked to.
pub const OK: i32 = 0;
/// A call has failed; the answer says why.
pub const FAILED: i32 = 1;
/// `run` has returned and the attempt has ended.
pub const DONE: i32 = 0;
/// `run` has returned and the attempt goes on.
pub const LATER: i32 = 2;

/// A text of the caller's, for as long as a call lasts.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// UTF-8; may be null where the length is 0.
    pub data: *const u8,
    /// In bytes.
    pub length: usize,
}

/// Why a [`Text`] is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It points nowhere.
    #[error("a text of {0} bytes is a null pointer")]
    Null(usize),
    /// No memory is so large.
    #[error("a text cannot have {0} bytes")]
    Length(usize),
    /// Its bytes are something else.
    #[error("a text is not UTF-8 from its byte {0} on")]
    NotUtf8(usize),
}

impl Text {
    /// A text to hand over, for as long as it is borrowed.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        Self { data: text.as_ptr(), length: text.len() }
    }

    /// Its bytes, whatever they are.
    ///
    /// # Errors
    ///
    /// [`TextError::Null`], [`TextError::Length`].
    ///
    /// # Safety
    ///
    /// Data that is not null must have `length` bytes, unchanged for as long as the result is used.
    pub const unsafe fn bytes<'a>(self) -> Result<&'a [u8], TextError> {
        match (self.length, self.data.is_null()) {
            (0, _) => Ok(&[]),
            (length, _) if length > isize::MAX.cast_unsigned() => Err(TextError::Length(length)),
            (length, true) => Err(TextError::Null(length)),
            // SAFETY: by this function's contract; neither null nor longer than Rust allows.
            (length, false) => Ok(unsafe { std::slice::from_raw_parts(self.data, length) }),
        }
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// [`TextError`].
    ///
    /// # Safety
    ///
    /// As [`Text::bytes`].
    pub unsafe fn str<'a>(self) -> Result<&'a str, TextError> {
        // SAFETY: by this function's contract.
        let bytes = unsafe { self.bytes() }?;
        std::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8(error.valid_up_to()))
    }
}

/// Where an answer is said, once, before the call returns.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Only who asks knows what it points to.
    pub to: *mut (),
    /// Takes the answer; null where nobody listens.
    pub say: Option<unsafe extern "C" fn(to: *mut (), text: Text)>,
}

/// Called once: with 1 when the attempt is asked to stop, or with 0 when it has ended without.
pub type Stop = unsafe extern "C" fn(data: *mut (), stop: i32);

/// What the host does for a running attempt, which stands under a number.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "oxidag_engine.h has the contract of each function")]
pub struct HostTable {
    pub size: usize,
    pub log: Option<unsafe extern "C" fn(attempt: u64, level: i32, text: Text)>,
    pub progress: Option<unsafe extern "C" fn(attempt: u64, fraction: f64, message: Text)>,
    pub cancelled: Option<unsafe extern "C" fn(attempt: u64) -> i32>,
    pub on_cancel: Option<unsafe extern "C" fn(attempt: u64, stop: Option<Stop>, data: *mut ())>,
    pub checkpoint: Option<unsafe extern "C" fn(attempt: u64, json: Text, why: Answer) -> i32>,
    pub append: Option<unsafe extern "C" fn(attempt: u64, json: Text, why: Answer) -> i32>,
    pub query: Option<unsafe extern "C" fn(attempt: u64, json: Text, answer: Answer) -> i32>,
    pub complete: Option<unsafe extern "C" fn(attempt: u64, end: Text) -> i32>,
}

/// The functions of an engine, as it exports them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "oxidag_engine.h has the contract of each function")]
pub struct EngineTable {
    pub size: usize,
    pub describe: Option<unsafe extern "C" fn(answer: Answer)>,
    pub create: Option<unsafe extern "C" fn(config: Text, why: Answer) -> *mut ()>,
    pub blocks: Option<unsafe extern "C" fn(engine: *mut (), params: Text) -> i32>,
    pub validate: Option<unsafe extern "C" fn(engine: *mut (), task: Text, answer: Answer) -> i32>,
    pub run: Option<
        unsafe extern "C" fn(engine: *mut (), task: Text, host: *const HostTable, attempt: u64) -> i32,
    >,
    pub destroy: Option<unsafe extern "C" fn(engine: *mut ())>,
}

impl EngineTable {
    /// The bytes that a table has at least: those of ABI 1.1, with which it began.
    pub const LEAST: usize = 7 * size_of::<usize>();

    /// A table that may be shorter or longer than this one. What it does not have is `None`; what is new in it is not
    /// looked at.
    ///
    /// # Errors
    ///
    /// The size that it says, where that is less than [`EngineTable::LEAST`].
    ///
    /// # Safety
    ///
    /// There must be a `usize` at the place, and as many bytes as that says in all.
    pub unsafe fn read(place: *const Self) -> Result<Self, usize> {
        // SAFETY: by this function's contract.
        let size = unsafe { place.cast::<usize>().read_unaligned() };
        if size < Self::LEAST {
            return Err(size);
        }
        let mut table = Self {
            size,
            describe: None,
            create: None,
            blocks: None,
            validate: None,
            run: None,
            destroy: None,
        };
        let to = (&raw mut table).cast::<u8>();
        // SAFETY: as many bytes are there by this function's contract, and there is room for them; a pointer to a function
        // or null is what `Option` of one is made of.
        unsafe { place.cast::<u8>().copy_to_nonoverlapping(to, size.min(size_of::<Self>())) };
        Ok(table)
    }
}
