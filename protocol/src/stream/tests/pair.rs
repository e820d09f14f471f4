//! Two `Streams` and the packets between them. No test lives here.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    config::TransportConfig,
    error::{ReadError, TransportError, WriteError},
    stream::{StreamEvent, StreamSent, Streams, StreamsConfig, credit::Budget},
    testing::epoch,
    units::Side,
    wire::{Frame, FrameIter, FrameWriter, TransportParameters, id::StreamId},
};

/// Payload of every packet.
pub(super) const PACKET: usize = 1200;

pub(super) const RTT: Duration = Duration::from_millis(50);

/// A packet on its way, and what it carries for its sender.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) payload: Bytes,
    pub(super) sent: Vec<StreamSent>,
}

impl Packet {
    pub(super) fn frames(&self) -> Vec<Frame> {
        FrameIter::new(self.payload.clone())
            .map(|frame| frame.unwrap())
            .collect()
    }
}

/// A client, a server, a clock.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: Streams,
    pub(super) server: Streams,
    pub(super) now: Instant,
}

/// The byte every stream of these tests has at `offset`.
pub(super) fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

pub(super) fn bytes(range: std::ops::Range<u64>) -> Bytes {
    range.map(byte_at).collect()
}

pub(super) fn introduce(streams: &mut Streams, peer: &Streams) {
    let mut parameters = TransportParameters::default();
    peer.describe(&mut parameters);
    streams.set_peer_parameters(&parameters);
}

pub(super) fn events(streams: &mut Streams) -> Vec<StreamEvent> {
    std::iter::from_fn(|| streams.poll_event()).collect()
}

/// The next packet of `streams`, if there is anything to send.
pub(super) fn transmit(streams: &mut Streams) -> Option<Packet> {
    if !streams.interest().any() {
        return None;
    }
    let mut payload = Vec::new();
    let mut sent = Vec::new();
    let mut out = FrameWriter::new(&mut payload, PACKET);
    streams.write_control(&mut out, &mut |what| sent.push(what));
    streams.write_repair(&mut out, &mut |what| sent.push(what));
    streams.write_data(&mut out, &mut |what| sent.push(what));
    assert!(!payload.is_empty(), "interest without anything to send");
    assert!(payload.len() <= PACKET);
    Some(Packet {
        payload: payload.into(),
        sent,
    })
}

/// Hands the frames of `packet` to `streams`.
pub(super) fn deliver(
    streams: &mut Streams,
    packet: &Packet,
    now: Instant,
) -> Result<(), TransportError> {
    packet
        .frames()
        .into_iter()
        .try_for_each(|frame| streams.handle(now, frame))
}

/// Everything that can be read from a stream now; whether the end was reached.
pub(super) fn read_all(streams: &mut Streams, id: StreamId) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match streams.read(id, usize::MAX) {
            Ok(Some(data)) => all.extend_from_slice(&data),
            Ok(None) => return (all, true),
            Err(ReadError::Blocked) => return (all, false),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes as much of the stream's bytes from `offset` to `end` as there is room for; the new
/// offset.
pub(super) fn write_up_to(streams: &mut Streams, id: StreamId, mut offset: u64, end: u64) -> u64 {
    while offset < end {
        let piece = bytes(offset..end.min(offset + 10_000));
        match streams.write(id, &piece) {
            Ok(written) => offset += written as u64,
            Err(WriteError::Blocked) => break,
            Err(error) => panic!("{error}"),
        }
    }
    offset
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(&TransportConfig::default().initial_stream_credit(64 << 10))
    }

    /// Two ends of the same settings that know each other's parameters. The server has opened its window
    /// already, as after the first packets of a transfer.
    pub(super) fn with(transport: &TransportConfig) -> Self {
        let end = |side| Streams::new(StreamsConfig::new(side, transport, Budget::default()));
        let (mut client, mut server) = (end(Side::Client), end(Side::Server));
        server.recv_credit.open();
        introduce(&mut client, &server);
        introduce(&mut server, &client);
        Self {
            client,
            server,
            now: epoch(),
        }
    }

    /// Sends everything both ends have, without loss and in no time, until both are silent.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut is_silent = true;
            for from_client in [true, false] {
                let (from, to) = match from_client {
                    true => (&mut self.client, &mut self.server),
                    false => (&mut self.server, &mut self.client),
                };
                if let Some(packet) = transmit(from) {
                    is_silent = false;
                    deliver(to, &packet, self.now).unwrap();
                    packet.sent.into_iter().for_each(|what| from.on_ack(what));
                }
            }
            if is_silent {
                return;
            }
        }
        panic!("the ends never fall silent");
    }

    /// Hands one frame to the server.
    pub(super) fn server_gets(&mut self, frame: Frame) -> Result<(), TransportError> {
        self.server.handle(self.now, frame)
    }
}
