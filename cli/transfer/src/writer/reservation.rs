//! Disk space set aside for a file, a bounded step ahead of its data, so that a large one lies in few pieces.
//! What was announced and never comes takes no space from others.

use std::{fs::File, io};

use rustix::{fs::FallocateFlags, io::Errno};

/// Bytes set aside ahead at least: a small file is set aside in one step.
const MIN_STEP: u64 = 1 << 20;

/// Bytes set aside ahead at most; in between it is as much as has come.
const MAX_STEP: u64 = 64 << 20;

/// How much of a file is set aside.
#[derive(Debug)]
pub(super) struct Reservation {
    /// The size that was announced.
    size: u64,
    reserved: u64,
}

impl Reservation {
    /// For a file of `size` bytes, 0 where that is not known; nothing is set aside yet.
    pub(super) fn new(size: u64) -> Self {
        Self { size, reserved: 0 }
    }

    /// Sets aside what the bytes up to `end`, which are about to be written, make likely; fails when the disk
    /// has no space for that much of the file.
    pub(super) fn extend(&mut self, file: &File, end: u64) -> io::Result<()> {
        if end <= self.reserved || self.reserved >= self.size {
            return Ok(());
        }
        let target = (end + end.clamp(MIN_STEP, MAX_STEP)).min(self.size);
        let (start, length) = (self.reserved, target - self.reserved);
        self.reserved = target;
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, start, length) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(errno.into()),
            // Whatever else it says, the file can be written without.
            _ => Ok(()),
        }
    }
}
