//! One direction of the world: a link, what is on it, and a digest of all it ever delivered.
//! Who sends and who takes is in the parent module.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::Instant,
};

use rp_protocol::units::EcnCodepoint;

use crate::{
    flow,
    host::Wire,
    link::{Class, Delivery, Link, LinkConfig, Offer},
};

/// IPv4 and UDP headers: links count whole packets.
const HEADER_BYTES: usize = 28;

/// What may be on the way.
#[derive(Clone, Debug)]
enum Carried {
    /// A machine's datagram.
    Wire(Wire),
    /// Somebody else's packet.
    Other(flow::Packet),
}

/// What has arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    /// For a machine, marked or damaged as the link saw fit.
    Wire(Wire),
    /// Somebody else's packet, and whether it was marked.
    Other(flow::Packet, bool),
}

/// A direction.
#[derive(Debug)]
pub(super) struct Way {
    link: Link<Carried>,
    epoch: Instant,
    payload_bytes: u64,
    offered_bytes: u64,
    digest: DefaultHasher,
}

impl Way {
    pub(super) fn new(config: LinkConfig, seed: u64, epoch: Instant) -> Self {
        Self {
            link: Link::new(config, seed).epoch(epoch),
            epoch,
            payload_bytes: 0,
            offered_bytes: 0,
            digest: DefaultHasher::new(),
        }
    }

    pub(super) fn link(&self) -> &Link<impl Clone> {
        &self.link
    }

    /// Payload of the datagrams on the way, which the world holds and no machine.
    pub(super) fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Bytes machines have offered, with headers.
    pub(super) fn offered_bytes(&self) -> u64 {
        self.offered_bytes
    }

    /// Of every delivery so far: when, how large, in what state.
    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(super) fn send(&mut self, now: Instant, wire: Wire) {
        let payload = wire.payload.len();
        let offer = Offer {
            bytes: payload + HEADER_BYTES,
            is_ecn_capable: wire.ecn.is_some(),
            class: Class::Udp,
        };
        self.offered_bytes += offer.bytes as u64;
        let before = self.link.in_flight();
        self.link.send(now, offer, Carried::Wire(wire));
        // None if it was lost, two if it was doubled.
        let taken = self.link.in_flight() - before;
        self.payload_bytes += (taken * payload) as u64;
    }

    pub(super) fn send_other(&mut self, now: Instant, offer: Offer, packet: flow::Packet) {
        self.link.send(now, offer, Carried::Other(packet));
    }

    /// The next that has arrived by `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Arrival> {
        let Delivery {
            payload,
            at,
            ce,
            corrupt,
        } = self.link.poll(now)?;
        let nanos = (at - self.epoch).as_nanos();
        self.digest.write_u128(nanos);
        self.digest.write_u8(u8::from(ce) | u8::from(corrupt) << 1);
        match payload {
            Carried::Wire(mut wire) => {
                self.payload_bytes -= wire.payload.len() as u64;
                self.digest.write_usize(wire.payload.len());
                if ce {
                    wire.ecn = Some(EcnCodepoint::Ce);
                }
                if corrupt {
                    let mut damaged = wire.payload.to_vec();
                    let middle = damaged.len() / 2;
                    if let Some(byte) = damaged.get_mut(middle) {
                        *byte ^= 0x10;
                    }
                    wire.payload = damaged.into();
                }
                Some(Arrival::Wire(wire))
            }
            Carried::Other(packet) => {
                self.digest.write_u16(packet.bytes);
                Some(Arrival::Other(packet, ce))
            }
        }
    }
}
