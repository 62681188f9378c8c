//! A journal's end in memory: what is written there is in the page cache, as after write(2), without a system call.
//!
//! Why, and where not: decision 17. All `unsafe` of the store is here.

use std::fs::File;
use std::io;

use memmap2::MmapMut;

/// A journal that is shorter needs no window: most runs are short, and to make one costs as much as some fifty writes.
const FIRST: u64 = if cfg!(test) { 1024 } else { 64 * 1024 };
/// How much of the file there is room for at a time.
const LENGTH: u64 = if cfg!(test) { 8 * 1024 } else { 1024 * 1024 };
/// What is larger is written by the system.
const LARGE: usize = LENGTH as usize / 8;

/// Where a journal is written, in order.
#[derive(Debug)]
pub(super) enum Window {
    /// There was none yet.
    New,
    /// This part of the file is in memory, and the disk has room for it.
    Open { start: u64, bytes: MmapMut },
    /// The file system cannot promise room, or has none.
    Closed,
}

impl Window {
    /// Writes the bytes at the journal's end, which is this place of the file; `false` where they are for the system to write.
    pub(super) fn write(&mut self, file: &File, bytes: &[u8], place: u64) -> bool {
        if place < FIRST || bytes.len() > LARGE || matches!(self, Self::Closed) {
            return false;
        }
        if self.room(place, bytes.len()).is_none() {
            *self = open(file, place).unwrap_or_else(|_| {
                // What it was given of the room that it asked for. Nothing is lost where that stays.
                let _ = file.set_len(place);
                Self::Closed
            });
        }
        self.room(place, bytes.len()).map(|room| room.copy_from_slice(bytes)).is_some()
    }

    /// Gives back the room behind the journal's end; the system writes from now on. Nothing is lost where it stays: it is no frame.
    pub(super) fn close(&mut self, file: &File, end: u64) {
        if matches!(std::mem::replace(self, Self::Closed), Self::Open { .. }) {
            let _ = file.set_len(end);
        }
    }

    /// The part of the window for so many bytes at this place.
    fn room(&mut self, place: u64, length: usize) -> Option<&mut [u8]> {
        let Self::Open { start, bytes } = self else { return None };
        let from = usize::try_from(place.checked_sub(*start)?).ok()?;
        bytes.get_mut(from..from.checked_add(length)?)
    }
}

/// A window that begins with the page of this place.
#[cfg(target_os = "linux")]
fn open(file: &File, place: u64) -> io::Result<Window> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::process::{Resource, getrlimit};
    /// Windows begin at a page; no system has larger ones.
    const PAGE: u64 = 64 * 1024;

    let start = place - place % PAGE;
    let end = place + LENGTH;
    // Beyond the limit the system does not only refuse: it sends SIGXFSZ.
    let is_allowed = getrlimit(Resource::Fsize).current.is_none_or(|limit| end <= limit);
    if !is_allowed || !keeps_promises(file)? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // Without room that is promised, a full disk would kill this process.
    rustix::io::retry_on_intr(|| fallocate(file, FallocateFlags::empty(), place, LENGTH))?;
    let length = usize::try_from(end - start).map_err(io::Error::other)?;
    // SAFETY: nobody else has the journal's lock, and who has none neither writes to it nor makes it shorter. What others
    // read of it meanwhile is for them to check: frames have a sum.
    let bytes = unsafe { memmap2::MmapOptions::new().offset(start).len(length).map_mut(file)? };
    Ok(Window::Open { start, bytes })
}

#[cfg(not(target_os = "linux"))]
fn open(_file: &File, _place: u64) -> io::Result<Window> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether what the file system promises room for can be written whatever becomes of the rest of the disk: one on this machine
/// that writes files where they are. XFS does not where a file was cloned.
#[cfg(target_os = "linux")]
fn keeps_promises(file: &File) -> io::Result<bool> {
    const EXT4: u64 = 0xef53;
    const TMPFS: u64 = 0x0102_1994;
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| [EXT4, TMPFS].contains(&kind)))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::FileExt as _;

    /// A file whose room is promised: in memory, which every Linux has.
    fn file() -> File {
        tempfile::tempfile_in("/dev/shm").unwrap()
    }

    #[test]
    fn what_is_written_is_in_the_file_at_once_wherever_windows_begin() {
        let file = file();
        let (mut window, mut expected) = (Window::New, vec![7; FIRST as usize]);
        assert!(!window.write(&file, b"early", FIRST - 5));
        file.write_all_at(&expected, 0).unwrap();
        for number in 0..40_000_u32 {
            let bytes = number.to_string().into_bytes();
            assert!(window.write(&file, &bytes, expected.len() as u64), "{number}");
            expected.extend(bytes);
        }
        assert!(expected.len() as u64 > 10 * LENGTH, "several windows");
        let mut found = vec![0; expected.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected);
        let end = expected.len() as u64;
        assert!((end + 1..=end + LENGTH).contains(&file.metadata().unwrap().len()));
        window.close(&file, end);
        assert_eq!(file.metadata().unwrap().len(), end);
        assert!(!window.write(&file, b"late", end));
    }

    #[test]
    fn what_is_large_is_left_to_the_system_and_the_window_goes_on_behind_it() {
        let file = file();
        let mut window = Window::New;
        assert!(window.write(&file, b"before", FIRST));
        let large = vec![1; 3 * LENGTH as usize];
        assert!(!window.write(&file, &large, FIRST + 6));
        file.write_all_at(&large, FIRST + 6).unwrap();
        assert!(window.write(&file, b"after", FIRST + 6 + large.len() as u64));
        let mut found = vec![0; 6 + large.len() + 5];
        file.read_exact_at(&mut found, FIRST).unwrap();
        assert!(found == [b"before", &large[..], b"after"].concat());
    }

    #[test]
    fn without_room_that_is_promised_there_is_no_window() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::write(dir.path().join("a"), [7; FIRST as usize]).unwrap();
        // Neither can be written.
        for path in [dir.path().join("a"), "/proc/self/status".into()] {
            let mut window = Window::New;
            assert!(!window.write(&File::open(path).unwrap(), b"x", FIRST));
            assert!(matches!(window, Window::Closed), "it is not tried again and again");
        }
    }
}
