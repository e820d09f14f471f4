//! Frames: the things a packet's payload says (spec/01-packet.md#frames).
//! What a frame makes a connection do lives with its owner: path, stream or connection.

mod ack;
mod control;
mod data;
mod field;
mod iter;
#[cfg(test)]
mod tests;
mod writer;

use bytes::Bytes;
use thiserror::Error;

use super::{reader::DecodeError, varint};
use crate::error::{TransportCode, TransportError};

pub use ack::{Ack, AckHead, AckRanges, EcnCounts, Nak};
pub use control::{
    AckPolicy, Close, DataBlocked, MaxData, MaxStreamData, MaxStreams, NewConnectionId,
    PathChallenge, PathResponse, ResetStream, RetireConnectionId, StopSending, StreamDataBlocked,
    StreamsBlocked, Train, TrainReport,
};
pub use data::{Crypto, Datagram, Stream, StreamHead};
pub use iter::FrameIter;
pub use writer::FrameWriter;

/// Frame types as they stand on the wire (spec/registry.md#frame-types).
pub mod kind {
    /// Fills a packet.
    pub const PADDING: u8 = 0x00;
    /// Asks for an ACK.
    pub const PING: u8 = 0x01;
    /// Numbers received.
    pub const ACK: u8 = 0x02;
    /// Numbers received, with ECN counts.
    pub const ACK_ECN: u8 = 0x03;
    /// Numbers missing.
    pub const NAK: u8 = 0x04;
    /// When to send ACKs.
    pub const ACK_POLICY: u8 = 0x05;
    /// Handshake bytes.
    pub const CRYPTO: u8 = 0x06;
    /// Stream bytes; the three low bits are flags.
    pub const STREAM: u8 = 0x08;
    /// Flag of STREAM: the last byte is in this frame.
    pub const STREAM_FIN: u8 = 0x01;
    /// Flag of STREAM: the length is given.
    pub const STREAM_LEN: u8 = 0x02;
    /// Flag of STREAM: the offset is given, otherwise 0.
    pub const STREAM_OFF: u8 = 0x04;
    /// Last of the STREAM types.
    pub const STREAM_LAST: u8 = 0x0f;
    /// Credit of the connection.
    pub const MAX_DATA: u8 = 0x10;
    /// Credit of a stream.
    pub const MAX_STREAM_DATA: u8 = 0x11;
    /// Bidirectional streams allowed.
    pub const MAX_STREAMS_BI: u8 = 0x12;
    /// Unidirectional streams allowed.
    pub const MAX_STREAMS_UNI: u8 = 0x13;
    /// The connection's credit is used up.
    pub const DATA_BLOCKED: u8 = 0x14;
    /// A stream's credit is used up.
    pub const STREAM_DATA_BLOCKED: u8 = 0x15;
    /// No further bidirectional stream allowed.
    pub const STREAMS_BLOCKED_BI: u8 = 0x16;
    /// No further unidirectional stream allowed.
    pub const STREAMS_BLOCKED_UNI: u8 = 0x17;
    /// A further connection id.
    pub const NEW_CONNECTION_ID: u8 = 0x18;
    /// A connection id no longer used.
    pub const RETIRE_CONNECTION_ID: u8 = 0x19;
    /// Bytes to be sent back on the same path.
    pub const PATH_CHALLENGE: u8 = 0x1a;
    /// Those bytes.
    pub const PATH_RESPONSE: u8 = 0x1b;
    /// The transport closes the connection.
    pub const CLOSE_TRANSPORT: u8 = 0x1c;
    /// The application closes the connection.
    pub const CLOSE_APPLICATION: u8 = 0x1d;
    /// The server has confirmed the handshake.
    pub const HANDSHAKE_DONE: u8 = 0x1e;
    /// The sender abandons a stream.
    pub const RESET_STREAM: u8 = 0x20;
    /// The receiver abandons a stream.
    pub const STOP_SENDING: u8 = 0x21;
    /// Marks a packet as part of a measuring train.
    pub const TRAIN: u8 = 0x22;
    /// How such a train arrived.
    pub const TRAIN_REPORT: u8 = 0x23;
    /// A datagram to the end of the packet.
    pub const DATAGRAM: u8 = 0x30;
    /// A datagram with its length.
    pub const DATAGRAM_LEN: u8 = 0x31;
}

/// One frame. Byte strings are slices of the packet they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is its struct's name; the structs are documented"
)]
pub enum Frame {
    /// So many zero bytes in a row.
    Padding(usize),
    /// Asks for an ACK, says nothing else.
    Ping,
    Ack(Ack),
    Nak(Nak),
    AckPolicy(AckPolicy),
    Crypto(Crypto),
    Stream(Stream),
    MaxData(MaxData),
    MaxStreamData(MaxStreamData),
    MaxStreams(MaxStreams),
    DataBlocked(DataBlocked),
    StreamDataBlocked(StreamDataBlocked),
    StreamsBlocked(StreamsBlocked),
    NewConnectionId(NewConnectionId),
    RetireConnectionId(RetireConnectionId),
    PathChallenge(PathChallenge),
    PathResponse(PathResponse),
    Close(Close),
    /// The server has confirmed the handshake.
    HandshakeDone,
    ResetStream(ResetStream),
    StopSending(StopSending),
    Train(Train),
    TrainReport(TrainReport),
    Datagram(Datagram),
}

/// Calls the same method of whichever frame `$frame` is; the three without a struct are given.
macro_rules! each {
    ($frame:expr, $f:ident => $call:expr, padding($n:ident) => $pad:expr, bare => $bare:expr) => {
        match $frame {
            Frame::Padding($n) => $pad,
            Frame::Ping | Frame::HandshakeDone => $bare,
            Frame::Ack($f) => $call,
            Frame::Nak($f) => $call,
            Frame::AckPolicy($f) => $call,
            Frame::Crypto($f) => $call,
            Frame::Stream($f) => $call,
            Frame::MaxData($f) => $call,
            Frame::MaxStreamData($f) => $call,
            Frame::MaxStreams($f) => $call,
            Frame::DataBlocked($f) => $call,
            Frame::StreamDataBlocked($f) => $call,
            Frame::StreamsBlocked($f) => $call,
            Frame::NewConnectionId($f) => $call,
            Frame::RetireConnectionId($f) => $call,
            Frame::PathChallenge($f) => $call,
            Frame::PathResponse($f) => $call,
            Frame::Close($f) => $call,
            Frame::ResetStream($f) => $call,
            Frame::StopSending($f) => $call,
            Frame::Train($f) => $call,
            Frame::TrainReport($f) => $call,
            Frame::Datagram($f) => $call,
        }
    };
}

impl Frame {
    /// Appends the frame. STREAM and DATAGRAM are written with their length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        each!(self, frame => frame.encode(out),
            padding(len) => out.resize(out.len() + len, kind::PADDING),
            bare => out.push(self.kind()));
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        each!(self, frame => frame.encoded_len(), padding(len) => *len, bare => 1)
    }

    /// Its type on the wire, as [`encode`](Self::encode) writes it.
    pub fn kind(&self) -> u8 {
        each!(self, frame => frame.kind(),
        padding(_len) => kind::PADDING,
        bare => match self {
            Self::Ping => kind::PING,
            _ => kind::HANDSHAKE_DONE,
        })
    }

    /// Whether the packet it came in must be acknowledged within the agreed delay.
    //= spec/01-packet.md#frames
    //# A packet is ack-eliciting when it holds any frame other than PADDING, ACK, CLOSE and
    //# TRAIN_REPORT, and a receiver MUST acknowledge it within the delay its ACK policy gives.
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(
            self,
            Self::Padding(_) | Self::Ack(_) | Self::Close(_) | Self::TrainReport(_)
        )
    }

    /// Whether it may stand in Initial and Handshake packets.
    //= spec/01-packet.md#frames
    //# Initial and Handshake packets MUST NOT hold frames other than PADDING, PING, ACK, CRYPTO
    //# and CLOSE of the transport.
    pub const fn is_allowed_in_handshake(&self) -> bool {
        matches!(
            self,
            Self::Padding(_)
                | Self::Ping
                | Self::Ack(_)
                | Self::Crypto(_)
                | Self::Close(Close::Transport { .. })
        )
    }
}

/// A payload that does not parse into frames.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("frame type {frame_type:#x}: {error}")]
pub struct FrameError {
    /// The type of the frame that failed.
    pub frame_type: u64,
    /// What of it failed.
    pub error: DecodeError,
}

impl From<FrameError> for TransportError {
    //= spec/01-packet.md#frames
    //# A receiver MUST close the connection with FRAME_ENCODING_ERROR when a packet that opened
    //# holds a frame of an unknown type or one that does not parse.
    fn from(error: FrameError) -> Self {
        Self::new(TransportCode::FRAME_ENCODING_ERROR, error.error.what)
    }
}

/// The slice of `payload` that `part` borrows from it.
fn shared(payload: &Bytes, part: &[u8]) -> Bytes {
    payload.slice_ref(part)
}

/// Appends a byte string after its length.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes [`put_bytes`] appends.
fn bytes_len(bytes: &[u8]) -> usize {
    varint::len(bytes.len() as u64) + bytes.len()
}
