//! The scheduler's way to write to a child: whoever writes never waits for the child to read.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::lock;

/// Frames on their way to a child.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: UnixStream,
    waiting: Mutex<Waiting>,
}

/// What the socket did not take yet.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether a thread is there to write it.
    has_writer: bool,
}

impl Outbox {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, waiting: Mutex::default() }
    }

    /// Writes what the socket takes at once; a thread that lives no longer writes the rest. Where the child is gone, nobody
    /// needs it: that is noticed by reading.
    pub(super) fn send(self: &Arc<Self>, frame: &[u8]) {
        let mut waiting = lock(&self.waiting);
        let mut rest = frame;
        while !waiting.has_writer && !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let outbox = Arc::clone(self);
                    let writer = thread::Builder::new().name("oxidag-child-writer".to_owned());
                    if writer.spawn(move || outbox.write_rest()).is_err() {
                        // Cut off in the middle, the child could not be talked to any more: it ends, and says so.
                        self.close();
                        return;
                    }
                    waiting.has_writer = true;
                }
                Err(_) => return,
            }
        }
        waiting.bytes.extend_from_slice(rest);
    }

    fn write_rest(&self) {
        loop {
            let bytes = {
                let mut waiting = lock(&self.waiting);
                waiting.has_writer = !waiting.bytes.is_empty();
                if !waiting.has_writer {
                    return;
                }
                std::mem::take(&mut waiting.bytes)
            };
            let written: io::Result<()> = (&self.socket).write_all(&bytes);
            // As above: a child that is gone is noticed by reading. Without `has_writer` reset nothing more is tried.
            if written.is_err() {
                return;
            }
        }
    }

    /// Nothing follows: the child ends.
    pub(super) fn close(&self) {
        // Where the child is gone it is closed already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn nobody_waits_for_a_child_that_does_not_read_and_all_of_it_arrives_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outbox = Arc::new(Outbox::new(ours));
        let frames = 0..200_u8;
        // More than any socket takes; it would wait for ever here.
        frames.clone().for_each(|n| outbox.send(&vec![n; 100_000]));
        let mut frame = vec![0; 100_000];
        for n in frames {
            theirs.read_exact(&mut frame).unwrap();
            assert!(frame.iter().all(|&byte| byte == n), "{n}");
        }
    }

    #[test]
    fn a_child_that_is_gone_is_no_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbox = Arc::new(Outbox::new(ours));
        drop(theirs);
        outbox.send(b"frame");
        outbox.close();
    }
}
