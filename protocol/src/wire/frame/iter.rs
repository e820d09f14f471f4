//! A packet's payload, frame by frame.
//! Which frames a packet type allows is asked of [`Frame`] by the connection.

use bytes::Bytes;

use super::{
    Ack, AckPolicy, Close, Crypto, DataBlocked, Datagram, Frame, FrameError, MaxData,
    MaxStreamData, MaxStreams, Nak, NewConnectionId, PathChallenge, PathResponse, ResetStream,
    RetireConnectionId, StopSending, Stream, StreamDataBlocked, StreamsBlocked, Train, TrainReport,
    kind,
};
use crate::{
    units::Dir,
    wire::reader::{DecodeError, Reader},
};

/// Decodes the frames of one opened payload in order; ends after the first error.
///
/// Nothing is copied: byte strings in frames are slices of the payload.
#[derive(Clone, Debug)]
pub struct FrameIter {
    payload: Bytes,
    at: usize,
}

impl FrameIter {
    /// The frames of `payload`.
    pub const fn new(payload: Bytes) -> Self {
        Self { payload, at: 0 }
    }
}

impl Iterator for FrameIter {
    type Item = Result<Frame, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.payload.get(self.at..)?;
        let &first = rest.first()?;
        let mut reader = Reader::new(rest);
        let decoded = decode(first, &self.payload, &mut reader);
        self.at = match decoded {
            Ok(_) => self.payload.len() - reader.remaining(),
            Err(_) => self.payload.len(),
        };
        Some(decoded.map_err(|error| FrameError {
            frame_type: u64::from(first),
            error,
        }))
    }
}

fn decode(kind: u8, payload: &Bytes, reader: &mut Reader<'_>) -> Result<Frame, DecodeError> {
    // All registered types fit one byte, so the type is that byte.
    reader.u8()?;
    Ok(match kind {
        kind::STREAM..=kind::STREAM_LAST => Frame::Stream(Stream::decode(kind, payload, reader)?),
        kind::PADDING => Frame::Padding(1 + skip_padding(reader)),
        kind::PING => Frame::Ping,
        kind::ACK | kind::ACK_ECN => Frame::Ack(Ack::decode(kind, payload, reader)?),
        kind::NAK => Frame::Nak(Nak::decode(payload, reader)?),
        kind::ACK_POLICY => Frame::AckPolicy(AckPolicy::decode(reader)?),
        kind::CRYPTO => Frame::Crypto(Crypto::decode(payload, reader)?),
        kind::MAX_DATA => Frame::MaxData(MaxData::decode(reader)?),
        kind::MAX_STREAM_DATA => Frame::MaxStreamData(MaxStreamData::decode(reader)?),
        kind::MAX_STREAMS_BI => Frame::MaxStreams(MaxStreams::decode(Dir::Bi, reader)?),
        kind::MAX_STREAMS_UNI => Frame::MaxStreams(MaxStreams::decode(Dir::Uni, reader)?),
        kind::DATA_BLOCKED => Frame::DataBlocked(DataBlocked::decode(reader)?),
        kind::STREAM_DATA_BLOCKED => Frame::StreamDataBlocked(StreamDataBlocked::decode(reader)?),
        kind::STREAMS_BLOCKED_BI => Frame::StreamsBlocked(StreamsBlocked::decode(Dir::Bi, reader)?),
        kind::STREAMS_BLOCKED_UNI => {
            Frame::StreamsBlocked(StreamsBlocked::decode(Dir::Uni, reader)?)
        }
        kind::NEW_CONNECTION_ID => Frame::NewConnectionId(NewConnectionId::decode(reader)?),
        kind::RETIRE_CONNECTION_ID => {
            Frame::RetireConnectionId(RetireConnectionId::decode(reader)?)
        }
        kind::PATH_CHALLENGE => Frame::PathChallenge(PathChallenge::decode(reader)?),
        kind::PATH_RESPONSE => Frame::PathResponse(PathResponse::decode(reader)?),
        kind::CLOSE_TRANSPORT => Frame::Close(Close::decode_transport(payload, reader)?),
        kind::CLOSE_APPLICATION => Frame::Close(Close::decode_application(payload, reader)?),
        kind::HANDSHAKE_DONE => Frame::HandshakeDone,
        kind::RESET_STREAM => Frame::ResetStream(ResetStream::decode(reader)?),
        kind::STOP_SENDING => Frame::StopSending(StopSending::decode(reader)?),
        kind::TRAIN => Frame::Train(Train::decode(reader)?),
        kind::TRAIN_REPORT => Frame::TrainReport(TrainReport::decode(reader)?),
        kind::DATAGRAM | kind::DATAGRAM_LEN => {
            Frame::Datagram(Datagram::decode(kind, payload, reader)?)
        }
        _ => return Err(DecodeError::new("frame type: unknown")),
    })
}

/// Skips the zero bytes that follow; how many they were.
fn skip_padding(reader: &mut Reader<'_>) -> usize {
    let rest = reader.rest();
    let len = rest
        .iter()
        .position(|&byte| byte != kind::PADDING)
        .unwrap_or(rest.len());
    *reader = Reader::new(&rest[len..]);
    len
}
