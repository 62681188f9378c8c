//! The journal of a run, as bytes: a header that names the owner, then frames of events.
//!
//! ```text
//! header: magic (8) · pid (4) · crc32 of both (4)
//! frame:  length of the payload (4) · crc32 of the payload (4) · payload: events
//! ```
//!
//! All integers are little-endian. A frame holds what one call recorded, and is in the page cache when that returns, so
//! killing the process loses nothing; a power failure may cost the journal's end. What follows the
//! last whole frame is a torn tail: its `record` never returned, so nobody was told.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::StoreError;

const MAGIC: [u8; 8] = *b"oxidagJ1";
/// The length of the header: where the first frame begins.
pub(super) const HEADER_LEN: u64 = 16;
/// The length of what precedes a frame's payload.
const FRAME_LEN: usize = 8;

/// Writes the header in this process's name.
pub(super) fn claim(file: &File) -> io::Result<()> {
    let mut header = [0; HEADER_LEN as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&header, 0)
}

/// The process that the header names.
pub(super) fn owner(file: &File, path: &Path) -> Result<u32, StoreError> {
    let mut header = [0; HEADER_LEN as usize];
    file.read_exact_at(&mut header, 0).map_err(|error| StoreError::io(path, &error))?;
    let crc = crc32fast::hash(&header[..12]).to_le_bytes();
    if header[..8] != MAGIC || header[12..] != crc {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "its header is not that of a journal".to_owned(),
        });
    }
    Ok(u32::from_le_bytes([header[8], header[9], header[10], header[11]]))
}

/// Whether the header is zeros: there was room for the journal on the disk, and the power failed before it was written.
pub(super) fn is_blank(file: &File) -> io::Result<bool> {
    let mut header = [1; HEADER_LEN as usize];
    file.read_exact_at(&mut header, 0)?;
    Ok(header == [0; HEADER_LEN as usize])
}

/// Clears the buffer and leaves room for what precedes the payload.
pub(super) fn begin_frame(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_LEN, 0);
}

/// Completes the frame around the payload; `false` where there is none, and so nothing to write.
pub(super) fn end_frame(buffer: &mut [u8]) -> io::Result<bool> {
    let (head, payload) = buffer.split_at_mut(FRAME_LEN);
    let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    Ok(length > 0)
}

/// What stands at the beginning of some bytes of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A whole frame: its payload, and what follows it.
    Frame(&'a [u8], &'a [u8]),
    /// The beginning of a frame that takes this many bytes in all.
    Cut(usize),
    /// Not a frame.
    Torn,
}

/// Looks for a frame at the beginning of the bytes.
pub(super) fn next_frame(bytes: &[u8]) -> Next<'_> {
    let Some((&[l0, l1, l2, l3, c0, c1, c2, c3], rest)) = bytes.split_first_chunk() else {
        return Next::Cut(FRAME_LEN);
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    // No frame is empty; a hole in the file would otherwise pass for a row of them.
    if length == 0 {
        return Next::Torn;
    }
    let Some((payload, rest)) = rest.split_at_checked(length) else {
        return Next::Cut(FRAME_LEN + length);
    };
    if crc32fast::hash(payload) == u32::from_le_bytes([c0, c1, c2, c3]) {
        Next::Frame(payload, rest)
    } else {
        Next::Torn
    }
}
