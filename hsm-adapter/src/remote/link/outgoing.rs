//! Frames on their way to the process. A frame that the socket does not take at once waits, and another thread sends it.

use crate::wire::{FRAME_MAX_BYTES, Frame};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may wait: room for one frame of any size and many of the usual ones. A process that leaves more unread does not
/// work.
const BACKLOG_MAX_BYTES: usize = 2 * FRAME_MAX_BYTES;

/// The sending side of a socket.
pub struct Outgoing {
    socket: UnixStream,
    backlog: Mutex<Backlog>,
    changed: Condvar,
}

#[derive(Default)]
struct Backlog {
    frames: VecDeque<(u64, Frame)>,
    bytes: usize,
    /// How much of the first frame has been sent.
    begun: usize,
    ended: bool,
}

impl Outgoing {
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, backlog: Mutex::default(), changed: Condvar::new() }
    }

    /// Sends a frame, or what fits of it, and leaves the rest to [`Outgoing::flush`]. Whether there was room.
    pub fn send(&self, id: u64, frame: Frame) -> bool {
        let mut backlog = self.backlog();
        if backlog.bytes + frame.len() > BACKLOG_MAX_BYTES {
            return false;
        }
        let at_once = backlog.frames.is_empty();
        backlog.bytes += frame.len();
        backlog.frames.push_back((id, frame));
        if at_once && !self.drain(&mut backlog) {
            self.changed.notify_all();
        }
        true
    }

    /// Takes back a frame of which nothing has been sent. Whether it could.
    pub fn cancel(&self, id: u64) -> bool {
        let mut backlog = self.backlog();
        let found = backlog.frames.iter().position(|(waiting, _)| *waiting == id);
        let Some(at) = found.filter(|at| *at > 0 || backlog.begun == 0) else { return false };
        if let Some((_, frame)) = backlog.frames.remove(at) {
            backlog.bytes -= frame.len();
        }
        true
    }

    /// Sends what waits, until the socket ends.
    pub fn flush(&self) {
        loop {
            {
                let mut backlog = self.backlog();
                while backlog.frames.is_empty() && !backlog.ended {
                    backlog = self.changed.wait(backlog).unwrap_or_else(PoisonError::into_inner);
                }
                if backlog.ended {
                    return;
                }
            }
            match poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => drop(self.drain(&mut self.backlog())),
                Err(e) => {
                    tracing::error!(error = %e, "cannot wait for the PKCS#11 module's process");
                    return self.end();
                }
            }
        }
    }

    /// Nothing more will be sent; the other side may still answer.
    pub fn say_farewell(&self) {
        // One that has gone already need not be told.
        let _gone = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends the socket, and what waits.
    pub fn end(&self) {
        *self.backlog() = Backlog { ended: true, ..Backlog::default() };
        let _gone = self.socket.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    /// Sends what the socket takes now. Whether nothing is left.
    fn drain(&self, backlog: &mut Backlog) -> bool {
        while let Some((_, frame)) = backlog.frames.front() {
            let rest = frame.get(backlog.begun..).unwrap_or_default();
            match send(&self.socket, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(n) if n < rest.len() => backlog.begun += n,
                Ok(_) => {
                    backlog.bytes -= frame.len();
                    backlog.begun = 0;
                    backlog.frames.pop_front();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                // The other side has gone. The reading side notices that and ends; what waits is answered for there.
                Err(_) => *backlog = Backlog { ended: true, ..Backlog::default() },
            }
        }
        true
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::sync::Arc;

    fn frame(byte: u8, length: usize) -> Frame {
        Frame::new(vec![byte; length])
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_was_not_begun_can_be_taken_back() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outgoing = Arc::new(Outgoing::new(ours));
        // More than a socket holds.
        assert!(outgoing.send(1, frame(1, FRAME_MAX_BYTES)));
        assert!(outgoing.send(2, frame(2, 10)) && outgoing.send(3, frame(3, 10)));
        assert!(!outgoing.send(4, frame(4, BACKLOG_MAX_BYTES - FRAME_MAX_BYTES)), "there is no end to what waits");
        assert!(!outgoing.cancel(1), "it is half sent");
        assert!(outgoing.cancel(2) && !outgoing.cancel(2));
        let flushing = Arc::clone(&outgoing);
        let flusher = std::thread::spawn(move || flushing.flush());
        let mut came = vec![0; FRAME_MAX_BYTES + 10];
        theirs.read_exact(&mut came).unwrap();
        assert_eq!((came[0], came[FRAME_MAX_BYTES - 1], &came[FRAME_MAX_BYTES..]), (1, 1, &[3; 10][..]));
        outgoing.end();
        flusher.join().unwrap();
        assert_eq!(theirs.read(&mut came).unwrap(), 0);
    }
}
