//! What streams tell others: the application, the connection, the packets that carry their frames.
//! Nothing here decides anything.

use crate::{
    units::{CloseCode, Dir},
    wire::id::StreamId,
};

/// What a packet carried for the streams; comes back in [`Streams::on_ack`](super::Streams::on_ack) or
/// [`Streams::on_loss`](super::Streams::on_loss).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSent {
    /// Bytes of a stream, or only its end.
    Data {
        /// The stream.
        id: StreamId,
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        len: u16,
        /// Whether the stream ends with them.
        fin: bool,
    },
    /// RESET_STREAM.
    Reset(StreamId),
    /// STOP_SENDING.
    Stop(StreamId),
    /// MAX_DATA.
    MaxData,
    /// MAX_STREAM_DATA.
    MaxStreamData(StreamId),
    /// MAX_STREAMS.
    MaxStreams(Dir),
    /// DATA_BLOCKED.
    DataBlocked,
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked(StreamId),
    /// STREAMS_BLOCKED.
    StreamsBlocked(Dir),
}

/// What the streams want to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInterest {
    /// Credit, resets, ends without bytes.
    pub control: bool,
    /// Bytes that were lost.
    pub repair: bool,
    /// Bytes never sent, within credit.
    pub data: bool,
}

impl StreamInterest {
    /// Whether there is anything.
    pub const fn any(self) -> bool {
        self.control || self.repair || self.data
    }
}

/// What the application should know. An event says that something changed since the application
/// was told `Blocked` or found nothing; it does not come again before the application has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer opened a stream of this kind; accept until there is none.
    Opened(Dir),
    /// A stream of this kind can be opened, after an attempt that failed.
    Available(Dir),
    /// The stream has data, an end or a reset to read.
    Readable(StreamId),
    /// The stream takes data, after a write that found it blocked.
    Writable(StreamId),
    /// The peer has every byte and the end.
    Finished(StreamId),
    /// The peer does not want the stream; it has been reset with that code.
    Stopped {
        /// The stream.
        id: StreamId,
        /// The peer's reason.
        code: CloseCode,
    },
}

/// What happened on the streams of a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Streams opened by this side.
    pub opened: u64,
    /// Streams opened by the peer and named by a frame.
    pub accepted: u64,
    /// Bytes sent for the first time.
    pub sent_bytes: u64,
    /// Bytes sent again.
    pub repaired_bytes: u64,
    /// Bytes the application took.
    pub read_bytes: u64,
    /// Times the peer said our connection credit holds it up.
    pub peer_data_blocked: u64,
    /// Times the peer said a stream's credit holds it up.
    pub peer_stream_data_blocked: u64,
    /// Times the peer said it could not open a stream.
    pub peer_streams_blocked: u64,
    /// Frames for streams that were closed already.
    pub late_frames: u64,
}
