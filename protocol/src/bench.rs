//! Work whose instructions are counted (`netem-tests/src/instructions.rs`): each function does one
//! thing of the hot path many times, always the same. Not part of the API.
//!
//! What a work needs is prepared by [`Work::new`]; only [`Work::run`] is counted.

use std::{hint::black_box, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    config::{ClientConfig, ServerConfig},
    crypto::{
        handshake::{ClientCrypto, KeyChange, Level, ServerCrypto, Session},
        identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
        keys::DataKeys,
    },
    stream::assembler::Assembler,
    units::{Dir, Side},
    wire::{
        FrameIter, FrameWriter, Header, PartialHeader, RangeSet,
        frame::{Ack, AckHead, Frame, Stream},
        header::{HeaderLayout, PacketKind},
        id::{ConnectionId, PathId, StreamId},
        packet_number::Truncated,
    },
};

/// How often each thing is done.
const TIMES: u64 = 1000;
/// Bytes of stream data in a packet.
const DATA: usize = 1400;
/// Bytes of a packet's number.
const PN_LEN: usize = 2;
/// Every so many packets one is missing.
const HOLE: u64 = 50;

/// Something to be done a thousand times.
#[derive(Debug)]
pub struct Work(Kind);

#[derive(Debug)]
enum Kind {
    Encode(Bytes),
    Decode(Vec<Bytes>),
    Seal(Box<DataKeys>, Vec<Vec<u8>>, HeaderLayout),
    Open(Box<DataKeys>, Vec<BytesMut>),
    Ranges,
    Assembler(Bytes),
}

/// The works there are.
pub const NAMES: [&str; 6] = [
    "packet-encode",
    "packet-decode",
    "seal",
    "open",
    "ranges",
    "assembler",
];

impl Work {
    /// The work of that name, with all it needs.
    pub fn new(name: &str) -> Option<Self> {
        Some(Self(match name {
            "packet-encode" => Kind::Encode(Bytes::from(vec![0x5a; DATA])),
            "packet-decode" => {
                let data = Bytes::from(vec![0x5a; DATA]);
                let packet = |number| Bytes::from(packet(number, &data).0);
                Kind::Decode((0..TIMES).map(packet).collect())
            }
            "seal" => {
                let (keys, _) = data_keys()?;
                let (packets, layout) = packets();
                Kind::Seal(Box::new(keys), packets, layout)
            }
            "open" => {
                let (mut near, far) = data_keys()?;
                let (packets, layout) = packets();
                let sealed = (0..).zip(packets).map(|(number, mut packet)| {
                    let sealed = near.seal(PathId::INITIAL, number, &mut packet, layout);
                    sealed.ok().map(|()| BytesMut::from(&packet[..]))
                });
                Kind::Open(Box::new(far), sealed.collect::<Option<_>>()?)
            }
            "ranges" => Kind::Ranges,
            "assembler" => Kind::Assembler(Bytes::from(vec![0x5a; DATA])),
            _ => return None,
        }))
    }

    /// Does it. The name is what the counting looks for, so it must stay a function of its own.
    #[inline(never)]
    pub fn run(self) {
        match self.0 {
            Kind::Encode(data) => (0..TIMES).for_each(|number| {
                black_box(packet(number, &data));
            }),
            Kind::Decode(packets) => packets.into_iter().for_each(decode),
            Kind::Seal(mut keys, packets, layout) => {
                for (number, mut packet) in (0..).zip(packets) {
                    let sealed = keys.seal(PathId::INITIAL, number, &mut packet, layout);
                    assert!(sealed.is_ok(), "packets that are whole");
                    black_box(packet);
                }
            }
            Kind::Open(mut keys, packets) => {
                for (number, packet) in (0..).zip(packets) {
                    open(&mut keys, number, packet);
                }
            }
            Kind::Ranges => ranges(),
            Kind::Assembler(data) => assemble(&data),
        }
    }
}

/// A data packet before sealing: an ACK with a few ranges, then a piece of a stream.
fn packet(number: u64, data: &Bytes) -> (Vec<u8>, HeaderLayout) {
    let mut out = Vec::with_capacity(1500);
    let header = Header::Short {
        dcid: ConnectionId::new([7; 8]),
        key_phase: false,
        number: Truncated::with_len(number, PN_LEN),
    };
    let layout = header.encode(&mut out);
    let mut writer = FrameWriter::new(&mut out, 1472);
    let head = AckHead {
        path: PathId::INITIAL,
        delay_us: 250,
        received_at_us: 40_000_000 + number,
        ecn: None,
    };
    let ranges = (0..4).map(|range| 1000 - range * 20..1010 - range * 20);
    assert!(
        Ack::encode_from(&head, ranges, &mut writer) > 0,
        "room for an ACK"
    );
    writer.put(&Frame::Stream(Stream {
        id: StreamId::new(Side::Client, Dir::Uni, 3),
        offset: number * DATA as u64,
        fin: false,
        data: data.clone(),
    }));
    (out, layout)
}

fn decode(packet: Bytes) {
    let header = PartialHeader::decode(&packet).expect("a packet we encoded");
    let PacketKind::Short { pn_offset } = header.kind else {
        unreachable!("a data packet");
    };
    for frame in FrameIter::new(packet.slice(pn_offset + PN_LEN..)) {
        black_box(frame.is_ok());
    }
}

/// Packets with numbers of the same length, so that one layout fits all.
fn packets() -> (Vec<Vec<u8>>, HeaderLayout) {
    let data = Bytes::from(vec![0x5a; DATA]);
    let (_, layout) = packet(0, &data);
    let packets = (0..TIMES).map(|_| {
        let (mut bytes, _) = packet(0, &data);
        bytes.reserve(64);
        bytes
    });
    (packets.collect(), layout)
}

fn open(keys: &mut DataKeys, number: u64, mut packet: BytesMut) {
    let header = PartialHeader::decode(&packet).expect("a packet we sealed");
    let PacketKind::Short { pn_offset } = header.kind else {
        unreachable!("a data packet");
    };
    let unprotected = keys.unprotect_header(&mut packet, pn_offset);
    let pn_len = unprotected.expect("long enough").pn_len;
    let mut payload = packet.split_off(pn_offset + pn_len);
    let opened = keys.open(PathId::INITIAL, number, &packet, &mut payload);
    assert!(opened.is_ok(), "sealed by the other end");
    black_box(payload);
}

/// What a receiver does with numbers: note each, name the gaps, forget the old.
fn ranges() {
    let mut received = RangeSet::new();
    for number in 0..TIMES {
        if number % HOLE != 0 {
            received.insert_one(number);
        }
        if number % 10 == 0 {
            black_box(received.iter().rev().take(8).count());
            black_box(received.gaps(number.saturating_sub(100)..number).count());
        }
        if number % (2 * HOLE) == 0 {
            received.insert_one(number.saturating_sub(HOLE));
            received.remove_below(number.saturating_sub(10 * HOLE));
        }
    }
    black_box(received.covered());
}

/// A stream whose every fiftieth packet comes a hundred packets late.
fn assemble(data: &Bytes) {
    let mut assembler = Assembler::new();
    let mut insert = |number: u64| {
        let offset = number * DATA as u64;
        assert!(
            assembler.insert(offset, data.clone(), DATA).is_ok(),
            "few holes"
        );
        while let Ok(Some(read)) = assembler.read(usize::MAX) {
            black_box(read);
        }
    };
    for number in 0..TIMES {
        if number % HOLE != 0 {
            insert(number);
        }
        if number % HOLE == 0 && number >= 2 * HOLE {
            insert(number - 2 * HOLE);
        }
    }
}

#[derive(Debug)]
struct Anyone;

impl PeerVerifier for Anyone {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

/// One end of a handshake.
struct End {
    session: Session,
    writing: Level,
    keys: Option<DataKeys>,
}

impl End {
    fn new(session: Session) -> Self {
        Self {
            session,
            writing: Level::Initial,
            keys: None,
        }
    }

    /// Says all it has to say to `peer`; whether that was anything.
    fn speak(&mut self, peer: &mut Self) -> Option<bool> {
        let mut flight = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let change = self.session.write(&mut bytes);
            if !bytes.is_empty() {
                flight.push((self.writing, bytes));
            }
            match change {
                Some(KeyChange::Handshake(_)) => self.writing = Level::Handshake,
                Some(KeyChange::Data(keys)) => {
                    self.keys = Some(keys);
                    self.writing = Level::Data;
                }
                None => break,
            }
        }
        let spoke = !flight.is_empty();
        for (level, bytes) in flight {
            peer.session.read(level, &bytes).ok()?;
            // Its keys for the next level come from this one.
            peer.speak(self)?;
        }
        Some(spoke)
    }
}

/// The data keys of both ends of a handshake, client's first.
fn data_keys() -> Option<(DataKeys, DataKeys)> {
    let verifier: Arc<dyn PeerVerifier> = Arc::new(Anyone);
    let identity = |seed| Arc::new(Identity::from_seed(&[seed; 32]));
    let client = ClientConfig::new(identity(1), Arc::clone(&verifier), "bench/1");
    let server = ServerConfig::new(identity(2), verifier, &["bench/1"]);
    let client = Session::client(&ClientCrypto::new(&client), vec![0x31, 1, 2]);
    let server = Session::server(&ServerCrypto::new(&server), vec![0x31, 1, 3]);
    let (mut client, mut server) = (End::new(client.ok()?), End::new(server.ok()?));
    while client.speak(&mut server)? || server.speak(&mut client)? {}
    client.keys.zip(server.keys)
}

#[cfg(test)]
mod tests;
