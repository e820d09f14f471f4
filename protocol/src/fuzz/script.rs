//! A connection driven by a script: what the applications do, what the wire does to datagrams, what
//! unauthenticated senders and a dishonest peer send. Whatever arrives at an application is what was written.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    input::Input,
    world::{Fate, World},
};
use crate::{
    error::ReadError,
    units::{CloseCode, Dir, EcnCodepoint},
    wire::id::StreamId,
};

/// Steps a script may have; longer ones find nothing new.
const MAX_OPS: usize = 256;

/// Virtual time the ends get to settle after the script, and the events that may take. A machine that
/// slept through an ACK has measured an RTT of its sleep, so a probe may be due a minute later only.
const SETTLE: Duration = Duration::from_secs(300);
const MAX_SETTLE_STEPS: usize = 20_000;

/// Bytes one end may write to all streams.
const MAX_WRITTEN: u64 = 1 << 20;

struct Script<'a> {
    world: World,
    input: Input<'a>,
    /// A peer that lies may break its own streams; nothing is promised to it.
    honest: bool,
    streams: Vec<Stream>,
    /// Bytes read of each stream, by which end.
    read: BTreeMap<(bool, StreamId), u64>,
}

/// A sending half.
struct Stream {
    from_server: bool,
    id: StreamId,
    written: u64,
    finished: bool,
    /// Reset or stopped: it need not arrive.
    abandoned: bool,
}

/// Runs the script `data`, starting at `now`.
pub fn script(now: Instant, data: &[u8]) {
    let mut input = Input::new(data);
    let world = World::new(now, input.bool());
    let mut script = Script {
        world,
        input,
        honest: true,
        streams: Vec::new(),
        read: BTreeMap::new(),
    };
    for _ in 0..MAX_OPS {
        if script.input.is_empty() {
            break;
        }
        script.operate();
    }
    script.settle();
}

impl Script<'_> {
    fn operate(&mut self) {
        let choice = self.input.u8();
        let server = choice & 0x80 != 0;
        match choice % 24 {
            0..=5 => {
                let until = self.world.now + Duration::from_millis(1 + u64::from(self.input.u8()));
                while self.world.step(until) {}
            }
            6 => self.open(server),
            7 => self.write(),
            8 => self.finish(),
            9 => self.abandon(),
            10 => self.read_all(server),
            11 => self.datagram(server),
            12..=17 => self.meddle(choice % 24),
            18 => {
                let payload = self.input.bytes(1500);
                self.world.forge(server, payload);
            }
            19 => self.forge_with_known_id(),
            20 => {
                let index = usize::from(self.input.u8());
                self.world.replay(index);
            }
            21 => self.lie(server),
            22 => self
                .world
                .client
                .address
                .set_port(40000 + u16::from(self.input.u8())),
            _ => self.close_or_sleep(server),
        }
    }

    fn open(&mut self, server: bool) {
        let dir = if self.input.bool() { Dir::Uni } else { Dir::Bi };
        let opened = self
            .world
            .host(server)
            .engine()
            .and_then(|engine| engine.open(dir));
        if let Some(id) = opened {
            self.streams.push(Stream::new(server, id));
        }
    }

    fn write(&mut self) {
        let total: u64 = self.streams.iter().map(|stream| stream.written).sum();
        let len = 1 + usize::from(self.input.u16() % 20_000);
        let Some(at) = self.any_stream() else { return };
        if total + len as u64 > MAX_WRITTEN {
            return;
        }
        let stream = &mut self.streams[at];
        let data: Vec<u8> = (stream.written..)
            .take(len)
            .map(|o| pattern(stream.id, o))
            .collect();
        if let Some(engine) = self.world.host(stream.from_server).engine()
            && let Ok(taken) = engine.write(stream.id, &data)
        {
            stream.written += taken as u64;
        }
    }

    fn finish(&mut self) {
        let Some(at) = self.any_stream() else { return };
        let stream = &mut self.streams[at];
        if let Some(engine) = self.world.host(stream.from_server).engine() {
            stream.finished |= engine.finish(stream.id).is_ok();
        }
    }

    /// Resets the stream at its sender or stops it at its receiver, or changes its rank.
    fn abandon(&mut self) {
        let code = CloseCode::from_u32(7);
        let choice = self.input.u8() % 3;
        let Some(at) = self.any_stream() else { return };
        let stream = &mut self.streams[at];
        let (id, server) = (stream.id, stream.from_server);
        stream.abandoned |= choice != 2;
        if choice == 1 {
            if let Some(engine) = self.world.host(!server).engine() {
                engine.stop(id, code).ok();
            }
        } else if let Some(engine) = self.world.host(server).engine() {
            if choice == 0 {
                engine.reset(id, code).ok();
            } else {
                engine.set_priority(id, -3).ok();
            }
        }
    }

    fn any_stream(&mut self) -> Option<usize> {
        let at = self.input.below(self.streams.len());
        (at < self.streams.len()).then_some(at)
    }

    /// Reads all that has come to one end, and checks it.
    fn read_all(&mut self, server: bool) {
        let honest = self.honest;
        let Some(engine) = self.world.host(server).engine() else {
            return;
        };
        for dir in [Dir::Bi, Dir::Uni] {
            while let Some(id) = engine.accept(dir) {
                self.read.entry((server, id)).or_insert(0);
                if dir == Dir::Bi {
                    self.streams.push(Stream::new(server, id));
                }
            }
        }
        for stream in self
            .streams
            .iter()
            .filter(|stream| stream.id.dir() == Dir::Bi)
        {
            if stream.from_server == server {
                self.read.entry((server, stream.id)).or_insert(0);
            }
        }
        for (&(_, id), offset) in self.read.iter_mut().filter(|((at, _), _)| *at == server) {
            loop {
                match engine.read(id, 1 << 16) {
                    Ok(Some(data)) => {
                        assert!(!data.is_empty(), "a read of nothing");
                        let as_written = (*offset..).zip(&data).all(|(o, &b)| b == pattern(id, o));
                        assert!(as_written || !honest, "{id} differs from {offset} on");
                        *offset += data.len() as u64;
                    }
                    Ok(None) | Err(ReadError::Blocked | ReadError::Closed) => break,
                    Err(_) => break,
                }
            }
        }
        while let Some(datagram) = engine.read_datagram() {
            let whole = datagram.iter().all(|&byte| byte == datagram[0]);
            assert!(whole || !honest, "a damaged datagram");
        }
    }

    fn datagram(&mut self, server: bool) {
        let data = vec![self.input.u8(); usize::from(self.input.u16() % 1600)];
        if let Some(engine) = self.world.host(server).engine() {
            engine.send_datagram(data.into()).ok();
        }
    }

    /// Decides what becomes of the next datagrams sent.
    fn meddle(&mut self, choice: u8) {
        let count = 1 + self.input.u8() % 16;
        for _ in 0..count {
            let fate = match choice {
                12 => Fate::Drop,
                13 => Fate::Double,
                14 => Fate::Delay(Duration::from_millis(u64::from(self.input.u8()))),
                15 => Fate::Flip(usize::from(self.input.u16())),
                16 => Fate::Cut(usize::from(self.input.u16() % 1500)),
                _ => Fate::Congest,
            };
            self.world.fates.push(fate);
        }
    }

    /// An unauthenticated sender who has seen a datagram writes its own payload behind the header.
    fn forge_with_known_id(&mut self) {
        let index = self.input.below(self.world.kept.len());
        let Some(parcel) = self.world.kept.get(index) else {
            return;
        };
        let (to_server, mut payload) = (parcel.to_server, parcel.payload.clone());
        payload.truncate(1 + self.input.below(30));
        payload.extend_from_slice(self.input.bytes(1400));
        self.world.forge(to_server, &payload);
    }

    /// Frames no honest peer sends, as if they had come sealed.
    fn lie(&mut self, server: bool) {
        let payload = Bytes::copy_from_slice(self.input.bytes(600));
        let now = self.world.now;
        if let Some(engine) = self.world.host(server).engine() {
            self.honest = false;
            engine.handle_payload(now, payload, Some(EcnCodepoint::Ect0));
        }
    }

    fn close_or_sleep(&mut self, server: bool) {
        let now = self.world.now;
        let choice = self.input.u8();
        if choice < 16 {
            let code = CloseCode::from_u32(u32::from(choice));
            let reason = Bytes::copy_from_slice(self.input.bytes(300));
            if let Some(engine) = self.world.host(server).engine() {
                engine.close(now, code, reason);
            }
        } else {
            // The whole machine was asleep: every deadline is missed at once.
            self.world.now += Duration::from_millis(u64::from(choice) * 50);
        }
    }

    /// Lets both ends finish; whatever was finished must have arrived if both still live.
    fn settle(&mut self) {
        self.world.fates.clear();
        let until = self.world.now + SETTLE;
        for _ in 0..MAX_SETTLE_STEPS {
            let more = self.world.step(until);
            self.read_all(false);
            self.read_all(true);
            if !more {
                break;
            }
        }
        if !self.honest || !self.world.client.is_live() || !self.world.server.is_live() {
            return;
        }
        for stream in self.streams.iter().filter(|s| s.finished && !s.abandoned) {
            let arrived = self.read.get(&(!stream.from_server, stream.id));
            assert_eq!(
                arrived,
                Some(&stream.written),
                "{} did not arrive",
                stream.id
            );
        }
    }
}

impl Stream {
    const fn new(from_server: bool, id: StreamId) -> Self {
        Self {
            from_server,
            id,
            written: 0,
            finished: false,
            abandoned: false,
        }
    }
}

/// The byte every stream has at `offset`.
fn pattern(id: StreamId, offset: u64) -> u8 {
    let mixed = (offset ^ id.into_inner() << 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[0]
}
