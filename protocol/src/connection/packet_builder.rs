//! Lays one packet out in the output buffer: header, frames, seal. What goes in is decided in
//! `transmit.rs`.

use crate::{
    crypto::keys::{DataKeys, LevelKeys, SealError},
    wire::{
        frame::{FrameWriter, kind},
        header::{Header, HeaderLayout, TAG_LEN},
        id::{ConnectionId, PathId},
        packet_number,
    },
};

/// A packet being written at the end of the buffer.
#[derive(Debug)]
pub(super) struct PacketBuilder {
    layout: HeaderLayout,
    /// Buffer length the plaintext must not exceed.
    limit: usize,
}

impl PacketBuilder {
    /// Write `header`; the whole packet takes at most `room` bytes. `None` if that is too little for a
    /// header and a frame.
    pub(super) fn begin(out: &mut Vec<u8>, header: &Header, room: usize) -> Option<Self> {
        let least = header.encoded_len() + packet_number::MAX_LEN + TAG_LEN;
        if room < least {
            return None;
        }
        let limit = out.len() + room - TAG_LEN;
        let layout = header.encode(out);
        Some(Self { layout, limit })
    }

    /// Where frames go.
    pub(super) fn writer<'a>(&self, out: &'a mut Vec<u8>) -> FrameWriter<'a> {
        FrameWriter::new(out, self.limit)
    }

    /// Whether nothing was written after the header.
    pub(super) fn is_empty(&self, out: &[u8]) -> bool {
        out.len() == self.layout.payload_offset()
    }

    /// Take the packet back.
    pub(super) fn cancel(self, out: &mut Vec<u8>) {
        out.truncate(self.layout.start);
    }

    /// Fill up with PADDING to the packet's full size.
    pub(super) fn pad(&self, out: &mut Vec<u8>) {
        out.resize(self.limit, kind::PADDING);
    }

    fn pad_for_sample(&self, out: &mut Vec<u8>) {
        let least = self.layout.pn_offset + packet_number::MAX_LEN;
        if out.len() < least {
            out.resize(least, kind::PADDING);
        }
    }

    /// Seal a handshake packet; says its length.
    pub(super) fn seal(
        self,
        out: &mut Vec<u8>,
        keys: &LevelKeys,
        number: u64,
    ) -> Result<usize, SealError> {
        self.pad_for_sample(out);
        self.layout.finish(out);
        keys.seal(number, out, self.layout)?;
        Ok(out.len() - self.layout.start)
    }

    /// Seal a data packet; says its length.
    pub(super) fn seal_data(
        self,
        out: &mut Vec<u8>,
        keys: &mut DataKeys,
        path: PathId,
        number: u64,
    ) -> Result<usize, SealError> {
        self.pad_for_sample(out);
        keys.seal(path, number, out, self.layout)?;
        Ok(out.len() - self.layout.start)
    }
}

/// Bytes of frames a data packet of `size` bytes holds at least.
pub(super) fn data_room(size: u16) -> usize {
    usize::from(size) - 1 - ConnectionId::LEN - packet_number::MAX_LEN - TAG_LEN
}
