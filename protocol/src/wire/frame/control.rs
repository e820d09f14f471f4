//! Frames that steer a connection, its paths and its streams.
//! They carry no stream bytes and no packet-number ranges.

use bytes::Bytes;

use super::{
    bytes_len,
    field::{Field, fields},
    kind, put_bytes, shared,
};
use crate::{
    error::TransportCode,
    units::{CloseCode, Dir},
    wire::{
        id::{ConnectionId, PathId, StreamId},
        reader::{DecodeError, Reader},
        varint,
    },
};

fields! {
    /// How the sender of data wants it acknowledged (spec/03-reliability.md).
    AckPolicy = kind::ACK_POLICY => {
        /// The path whose packets are meant.
        path: PathId,
        /// Counts the policies of this path; an older one is ignored.
        sequence: u64,
        /// Ack-eliciting packets after which an ACK is due.
        packets: u64,
        /// Longest time an ACK may wait, in microseconds.
        delay_us: u64,
        /// Age in microseconds at which a gap counts as loss and is reported at once.
        reorder_us: u64,
    }
}

fields! {
    /// Credit of the connection: sum of stream offsets allowed.
    MaxData = kind::MAX_DATA => {
        /// First byte not allowed.
        limit: u64,
        /// Bytes the readers have taken.
        read: u64,
    }
}

fields! {
    /// Credit of one stream.
    MaxStreamData = kind::MAX_STREAM_DATA => {
        /// The stream.
        id: StreamId,
        /// First offset not allowed.
        limit: u64,
        /// Bytes the reader has taken.
        read: u64,
    }
}

fields! {
    /// The connection's credit is used up and more is waiting.
    DataBlocked = kind::DATA_BLOCKED => {
        /// The credit used up.
        limit: u64,
    }
}

fields! {
    /// A stream's credit is used up and more is waiting.
    StreamDataBlocked = kind::STREAM_DATA_BLOCKED => {
        /// The stream.
        id: StreamId,
        /// The credit used up.
        limit: u64,
    }
}

fields! {
    /// A further id to reach the sender of this frame by.
    NewConnectionId = kind::NEW_CONNECTION_ID => {
        /// The path it is for.
        path: PathId,
        /// Counts the ids of this path.
        sequence: u64,
        /// Ids of the path below this sequence are to be retired.
        retire_prior_to: u64,
        /// The id.
        id: ConnectionId,
        /// Proof that a stateless reset for this id is genuine.
        reset_token: [u8; 16],
    }
}

fields! {
    /// The sender no longer uses an id it was given.
    RetireConnectionId = kind::RETIRE_CONNECTION_ID => {
        /// The path it was for.
        path: PathId,
        /// Which id of that path.
        sequence: u64,
    }
}

fields! {
    /// Bytes only a peer that sees this path can send back.
    PathChallenge = kind::PATH_CHALLENGE => {
        /// Unpredictable bytes.
        data: [u8; 8],
    }
}

fields! {
    /// Answers a PATH_CHALLENGE on the path it came by.
    PathResponse = kind::PATH_RESPONSE => {
        /// The bytes of the challenge.
        data: [u8; 8],
    }
}

fields! {
    /// The sender abandons its half of a stream.
    ResetStream = kind::RESET_STREAM => {
        /// The stream.
        id: StreamId,
        /// The application's reason.
        code: CloseCode,
        /// Bytes sent on it, for the credit accounts.
        final_size: u64,
    }
}

fields! {
    /// The receiver no longer reads a stream.
    StopSending = kind::STOP_SENDING => {
        /// The stream.
        id: StreamId,
        /// The application's reason.
        code: CloseCode,
    }
}

fields! {
    /// This packet is one of a measuring train, sent back to back.
    Train = kind::TRAIN => {
        /// The path measured.
        path: PathId,
        /// Which train.
        train: u64,
        /// Which packet of it, from 0.
        index: u64,
        /// Packets in the train.
        count: u64,
    }
}

fields! {
    /// How a train arrived.
    TrainReport = kind::TRAIN_REPORT => {
        /// The path measured.
        path: PathId,
        /// Which train.
        train: u64,
        /// Index of the packet the measurement begins with.
        first: u64,
        /// Index of the one it ends with.
        last: u64,
        /// Time from the one's arrival to the other's, in nanoseconds.
        span_ns: u64,
    }
}

/// How many streams of one kind the receiver of this frame may open in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreams {
    /// Which kind.
    pub dir: Dir,
    /// First index not allowed, at most 2^60.
    pub limit: u64,
}

/// The sender would open another stream but may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsBlocked {
    /// Which kind.
    pub dir: Dir,
    /// The limit reached.
    pub limit: u64,
}

/// Most streams of one kind: stream ids are 62-bit numbers with two bits for the kind.
pub(super) const MAX_STREAMS: u64 = 1 << 60;

fn stream_count(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let limit = reader.varint()?;
    //= spec/01-packet.md#frames
    //# A count of streams MUST NOT exceed 2^60.
    if limit > MAX_STREAMS {
        return Err(DecodeError::new("stream count: above 2^60"));
    }
    Ok(limit)
}

impl MaxStreams {
    pub(super) fn decode(dir: Dir, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        stream_count(reader).map(|limit| Self { dir, limit })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        varint::put(out, self.limit);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        1 + varint::len(self.limit)
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        match self.dir {
            Dir::Bi => kind::MAX_STREAMS_BI,
            Dir::Uni => kind::MAX_STREAMS_UNI,
        }
    }
}

impl StreamsBlocked {
    pub(super) fn decode(dir: Dir, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        stream_count(reader).map(|limit| Self { dir, limit })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        varint::put(out, self.limit);
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        1 + varint::len(self.limit)
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        match self.dir {
            Dir::Bi => kind::STREAMS_BLOCKED_BI,
            Dir::Uni => kind::STREAMS_BLOCKED_UNI,
        }
    }
}

/// Ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// For a reason of the transport.
    Transport {
        /// Which rule was broken.
        code: TransportCode,
        /// Type of the frame that broke it, 0 if none did.
        frame_type: u64,
        /// Words for people; not trusted.
        reason: Bytes,
    },
    /// By the application.
    Application {
        /// The application's code.
        code: CloseCode,
        /// Words for people; not trusted.
        reason: Bytes,
    },
}

impl Close {
    pub(super) fn decode_transport(
        payload: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(Self::Transport {
            code: TransportCode::from(reader.varint()?),
            frame_type: reader.varint()?,
            reason: decode_reason(payload, reader)?,
        })
    }

    pub(super) fn decode_application(
        payload: &Bytes,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(Self::Application {
            code: CloseCode::decode(reader)?,
            reason: decode_reason(payload, reader)?,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        match self {
            Self::Transport {
                code,
                frame_type,
                reason,
            } => {
                varint::put(out, code.into_inner());
                varint::put(out, *frame_type);
                put_bytes(out, reason);
            }
            Self::Application { code, reason } => {
                varint::put(out, code.into_inner());
                put_bytes(out, reason);
            }
        }
    }

    /// Bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Transport {
                code,
                frame_type,
                reason,
            } => 1 + varint::len(code.into_inner()) + varint::len(*frame_type) + bytes_len(reason),
            Self::Application { code, reason } => {
                1 + varint::len(code.into_inner()) + bytes_len(reason)
            }
        }
    }

    /// Its type on the wire.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Transport { .. } => kind::CLOSE_TRANSPORT,
            Self::Application { .. } => kind::CLOSE_APPLICATION,
        }
    }
}

fn decode_reason(payload: &Bytes, reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    let len = reader.varint()?;
    Ok(shared(payload, reader.bytes(len)?))
}
