//! What the scheduler and the process of an isolated engine say to each other. Nothing is read or written here but frames.
//!
//! The two are joined by one socket, which the child finds as its standard input. Both write *frames* to it: the length of a
//! payload in bytes, four bytes with the least first, then the payload, which is JSON in UTF-8 of at most [`LARGEST`] bytes: an
//! object with one key, which names the message. Both are the same program, so the protocol has no versions.
//!
//! | scheduler to child | means |
//! |---|---|
//! | `open` | open this library under these limits; the reply is what it says of itself |
//! | `create` | make the engine; the reply is empty |
//! | `blocks`, `validate` | questions to the engine, each with a reply |
//! | `run` | run an attempt, which has a number |
//! | `cancel` | the attempt is asked to stop |
//! | `taken` | so many lines of an attempt that keeps a worker were taken; without a number, it may say what it likes |
//! | `answer` | to an `ask` |
//!
//! | child to scheduler | means |
//! |---|---|
//! | `reply` | to the call of this number |
//! | `attempt` | what the attempt of this number does: `log`, `progress`, `ask` (of a checkpoint, an addition, a question), `ended`, `returned` |
//! | `spent` | much of what the child may use is used: it is given no more attempts |
//!
//! The child ends when the socket is closed: with its engine ended well where it is idle, at once where it is not.

use std::io::{self, Read};
use std::path::PathBuf;

use oxidag_plugin_api::Error;
use oxidag_plugin_api::abi::{Description, End};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::loader::LibraryInfo;
use crate::plugins::EngineConfig;

/// The largest payload of a frame, in bytes. A task with its script and parameters is in one.
pub(super) const LARGEST: usize = 256 * 1024 * 1024;

/// So many lines, or reports of progress, of an attempt that keeps a worker may be untaken; then the engine waits.
pub(super) const UNTAKEN: u64 = 64;

/// From the scheduler to the child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToChild<'a> {
    Open {
        call: u64,
        path: PathBuf,
        config: Box<EngineConfig>,
    },
    Create {
        call: u64,
    },
    Blocks {
        call: u64,
        #[serde(borrow)]
        params: &'a RawValue,
    },
    Validate {
        call: u64,
        #[serde(borrow)]
        task: &'a RawValue,
    },
    Run {
        attempt: u64,
        /// The scheduler keeps a worker for it until it has ended or `returned`.
        blocks: bool,
        #[serde(borrow)]
        task: &'a RawValue,
    },
    Cancel {
        attempt: u64,
    },
    Taken {
        attempt: u64,
        lines: Option<u64>,
    },
    Answer {
        call: u64,
        answer: Result<Value, String>,
    },
}

/// From the child to the scheduler.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToHost {
    Reply { call: u64, answer: Result<Value, Error> },
    Attempt { attempt: u64, said: Said },
    Spent,
}

/// What an attempt does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Log {
        /// A `Level` as its number.
        level: u8,
        text: String,
    },
    Progress {
        /// Nothing where the engine cannot tell.
        fraction: Option<f64>,
        message: String,
    },
    Ask {
        call: u64,
        wish: Wish,
        value: Value,
    },
    Ended(End),
    /// The engine's function has returned, and the attempt goes on.
    Returned,
}

impl Said {
    /// Whether it is one of those that only so many may be untaken of.
    pub(super) fn is_counted(&self) -> bool {
        matches!(self, Self::Log { .. } | Self::Progress { .. })
    }
}

/// What an attempt asks of the scheduler.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wish {
    Checkpoint,
    Append,
    Query,
}

/// What an opened library says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::engine) struct Opened {
    pub(in crate::engine) info: LibraryInfo,
    pub(in crate::engine) description: Description,
}

/// A message as a frame.
///
/// # Errors
///
/// It is too large, or cannot be written as JSON.
pub(super) fn frame<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > LARGEST {
        let what = format!("{length} bytes of JSON are more than an isolated engine is given at once");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    frame[..4].copy_from_slice(&prefix);
    Ok(frame)
}

/// Reads the payload of the next frame; whether there was one before the end.
///
/// # Errors
///
/// Those of the reader; also where it ends within a frame, or the frame is too large.
pub(super) fn read_frame(reader: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<bool> {
    let mut prefix = [0; 4];
    match reader.read_exact(&mut prefix[..1]) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    reader.read_exact(&mut prefix[1..])?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    payload.clear();
    // Grows as the bytes come, so that a wrong length does not take the memory.
    let read = reader.take(length as u64).read_to_end(payload)?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let task = RawValue::from_string("{\"a\": 1.0}".to_owned()).unwrap();
        let mut bytes = frame(&ToChild::Run { attempt: 7, blocks: true, task: &task }).unwrap();
        bytes.extend(frame(&ToChild::Cancel { attempt: 7 }).unwrap());
        let (mut reader, mut payload) = (&bytes[..], Vec::new());
        assert!(read_frame(&mut reader, &mut payload).unwrap());
        match serde_json::from_slice(&payload).unwrap() {
            ToChild::Run { attempt: 7, blocks: true, task } => assert_eq!(task.get(), "{\"a\": 1.0}"),
            other => panic!("{other:?}"),
        }
        assert!(read_frame(&mut reader, &mut payload).unwrap());
        assert_eq!(payload, br#"{"cancel":{"attempt":7}}"#);
        assert!(!read_frame(&mut reader, &mut payload).unwrap());
    }

    #[test]
    fn a_frame_that_is_cut_off_or_too_large_is_an_error() {
        let bytes = frame(&ToHost::Spent).unwrap();
        for end in 1..bytes.len() {
            assert!(read_frame(&mut &bytes[..end], &mut Vec::new()).is_err(), "{end}");
        }
        assert!(read_frame(&mut &[0xff; 8][..], &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let (mut reader, mut payload) = (&bytes[..], Vec::new());
            while matches!(read_frame(&mut reader, &mut payload), Ok(true)) {
                let _ = serde_json::from_slice::<ToHost>(&payload);
                let _ = serde_json::from_slice::<ToChild<'_>>(&payload);
            }
        }
    }
}
