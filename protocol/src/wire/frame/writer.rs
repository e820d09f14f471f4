//! A packet under construction, with the number of bytes it may still take.
//! What is put into it is decided by its callers.

use super::Frame;

/// Appends frames to `out` up to `limit` bytes of total buffer length.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    /// The buffer; packets before this one may lie in it.
    pub out: &'a mut Vec<u8>,
    /// Length `out` must not exceed.
    pub limit: usize,
}

impl<'a> FrameWriter<'a> {
    /// A writer that fills `out` up to a length of `limit`.
    pub const fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        Self { out, limit }
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }

    /// Appends `frame` if it fits; whether it did.
    pub fn put(&mut self, frame: &Frame) -> bool {
        let fits = frame.encoded_len() <= self.remaining();
        if fits {
            frame.encode(self.out);
        }
        fits
    }
}
