//! What ACKs, NAKs and timeouts say became of what was sent: samples for the controller, and lists of frames
//! for their owners.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Path,
    sent_packets::{SentFrame, SentPacket},
};
use crate::{
    congestion::{AckSample, LossSample, PacketSample},
    error::{TransportCode, TransportError},
    stream::StreamSent,
    trace::{Event, LossTrigger},
    wire::frame::{Ack, Nak},
};

/// Probe packets per timeout (RFC 9002 section 6.2.4).
const PROBES_PER_TIMEOUT: u8 = 2;
/// Lost records are kept for so many probe intervals, in case they arrive after all
/// (spec/03-reliability.md#loss-detection).
const LOST_MEMORY: u32 = 3;

/// Frames whose fate became known.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    /// Arrived.
    pub(crate) acked: Vec<SentFrame>,
    /// To be repaired, as far as it still matters.
    pub(crate) lost: Vec<SentFrame>,
}

impl Path {
    /// An ACK of our packets, which arrived `at`.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        at: Instant,
        ack: &Ack,
        out: &mut Feedback,
    ) -> Result<(), TransportError> {
        let largest = ack.ranges.largest();
        self.refuse_unsent(largest)?;
        let prior_in_flight_bytes = self.sent.in_flight_bytes();
        let mut acked: Vec<PacketSample> = Vec::new();
        let mut spurious: Vec<PacketSample> = Vec::new();
        let mut newest: Option<(PacketSample, bool)> = None;
        let mut marked = 0;
        for range in ack.ranges.iter() {
            for number in self
                .sent
                .unacked_in(*range.start()..*range.end() + 1)
                .into_iter()
                .flatten()
            {
                //= spec/03-reliability.md#skipped-numbers
                //# An endpoint that receives an ACK of a packet number it skipped or never sent MUST close the
                //# connection with PROTOCOL_VIOLATION.
                let Some(packet) = self.sent.acknowledge(number) else {
                    return Err(unsent());
                };
                marked += u64::from(packet.ecn);
                if packet.is_spurious() {
                    let bytes = packet.sample.bytes;
                    self.trace
                        .emit(now, || Event::SpuriousLoss { number, bytes });
                }
                if number == largest {
                    newest = Some((packet.sample, packet.ack_eliciting));
                }
                self.settle_acked(now, packet, &mut acked, &mut spurious, out);
            }
        }
        let rtt = newest
            .filter(|(_, eliciting)| *eliciting)
            .map(|(sample, _)| {
                let measured = at.saturating_duration_since(sample.sent_at);
                let delay = Duration::from_micros(ack.head.delay_us).min(self.peer_ack_delay());
                self.rtt.update(now, delay, measured);
                measured.saturating_sub(delay).max(self.rtt.least())
            });
        if !spurious.is_empty() {
            self.counters.spurious_losses += spurious.len() as u64;
            self.loss.on_spurious(now, spurious.len() as u64, &self.rtt);
            //= spec/03-reliability.md#loss-detection
            //# A sender MUST tell its congestion controller of packets that were declared lost and
            //# arrived after all.
            self.controller.on_spurious_loss(now, &spurious);
        }
        let ce_packets = self
            .ecn
            .on_ack(marked, ack.head.ecn.as_ref().map(|counts| counts.ce));
        self.counters.congestion_marks += ce_packets;
        if acked.is_empty() && ce_packets == 0 {
            return Ok(());
        }
        if let Some(last) = acked.iter().map(|sample| sample.index).max() {
            self.app_limit.on_acked(last);
        }
        self.loss.on_ack(now, largest, &self.rtt);
        // Samples are promised oldest first, ranges come newest first.
        acked.sort_unstable_by_key(|sample| sample.index);
        self.controller.on_ack(&AckSample {
            now,
            arrived_at: at,
            acked: &acked,
            rtt,
            smoothed_rtt: self.rtt.smoothed(),
            received_at: newest.map(|_| Duration::from_micros(ack.head.received_at_us)),
            prior_in_flight_bytes,
            in_flight_bytes: self.sent.in_flight_bytes(),
            ce_packets,
        });
        self.detect_losses(now, out);
        self.trace_acked(now, &acked);
        self.sent.forget(
            now.checked_sub(self.probe_interval() * LOST_MEMORY)
                .unwrap_or(now),
        );
        Ok(())
    }

    fn refuse_unsent(&self, largest: u64) -> Result<(), TransportError> {
        if largest >= self.sent.next_number() {
            Err(unsent())
        } else {
            Ok(())
        }
    }

    fn settle_acked(
        &mut self,
        now: Instant,
        packet: SentPacket,
        acked: &mut Vec<PacketSample>,
        spurious: &mut Vec<PacketSample>,
        out: &mut Feedback,
    ) {
        let probe = packet.is_mtu_probe();
        if packet.in_flight {
            if packet.lost_at.is_some() {
                if !probe {
                    spurious.push(packet.sample);
                }
            } else {
                acked.push(packet.sample);
            }
        }
        if !probe {
            // A report is as good a witness as data that small packets pass.
            self.mtu.on_acked(now, packet.sample.bytes);
        }
        for frame in packet.frames {
            match frame {
                SentFrame::MtuProbe { bytes } => {
                    if self.mtu.on_probe_acked(now, bytes) {
                        self.controller.on_mtu(bytes);
                    }
                }
                other => out.acked.push(other),
            }
        }
    }

    /// The receiver names packets it misses.
    pub(crate) fn on_nak(
        &mut self,
        now: Instant,
        nak: &Nak,
        out: &mut Feedback,
    ) -> Result<(), TransportError> {
        self.counters.naks_received += 1;
        //= spec/03-reliability.md#skipped-numbers
        //# A NAK of a number above all that were sent MUST be answered in the same way.
        self.refuse_unsent(nak.ranges.largest())?;
        let mut lost = Vec::new();
        for range in nak.ranges.iter() {
            //= spec/03-reliability.md#nak-schedule
            //# A sender MUST treat a packet named in a NAK as lost, unless it was acknowledged or is being
            //# repaired already.
            lost.extend(
                self.sent
                    .open_in(*range.start()..*range.end() + 1)
                    .into_iter()
                    .flatten(),
            );
        }
        if lost.is_empty() {
            self.counters.idle_naks += 1;
            return Ok(());
        }
        lost.sort_unstable();
        self.declare_lost(now, &lost, LossTrigger::Nak, out);
        self.trace_state(now);
        Ok(())
    }

    /// On timeout: packets are declared lost, or probes become due.
    pub(crate) fn on_timeout(&mut self, now: Instant, out: &mut Feedback) {
        self.paced_until = None;
        self.detect_losses(now, out);
        self.on_candidate_timeout(now);
        //= spec/03-reliability.md#probes
        //# A probe timeout alone MUST NOT declare anything lost.
        let delay = self.peer_ack_delay();
        if self.loss.on_timeout(now, &self.sent, &self.rtt, delay) {
            self.counters.probe_timeouts += 1;
            //= spec/03-reliability.md#probes
            //# When nothing is acknowledged for a probe interval, smoothed RTT + max(4 x RTT
            //# variation, 1 ms) + the delay it allowed the peer, a sender MUST send two probe
            //# packets whatever window and pacer say.
            self.probes = PROBES_PER_TIMEOUT;
            let count = self.loss.probe_count();
            self.controller.on_probe_timeout(now, count);
            self.trace.emit(now, || Event::ProbeTimeout { count });
            self.trace_state(now);
        }
    }

    fn detect_losses(&mut self, now: Instant, out: &mut Feedback) {
        let lost = self.loss.detect(now, &self.sent, &self.rtt);
        if !lost.is_empty() {
            self.declare_lost(now, &lost, LossTrigger::Time, out);
        }
    }

    fn declare_lost(
        &mut self,
        now: Instant,
        numbers: &[u64],
        trigger: LossTrigger,
        out: &mut Feedback,
    ) {
        let mut samples = Vec::with_capacity(numbers.len());
        let mut shrunk = false;
        for &number in numbers {
            let Some(packet) = self.sent.declare_lost(number, now) else {
                continue;
            };
            let probe = packet.frames.iter().find_map(|frame| match frame {
                SentFrame::MtuProbe { bytes } => Some(*bytes),
                _ => None,
            });
            self.trace.emit(now, || Event::PacketLost {
                number,
                bytes: packet.sample.bytes,
                is_mtu_probe: probe.is_some(),
                trigger,
            });
            if let Some(bytes) = probe {
                //= spec/07-paths.md#packet-size
                //# The loss of a probe MUST NOT be reported to the congestion controller as a loss.
                self.controller.on_discarded(&packet.sample);
                let random_loss = self.controller.random_loss();
                shrunk |= self.mtu.on_probe_lost(now, bytes, random_loss);
                continue;
            }
            self.counters.lost_packets += 1;
            self.counters.lost_bytes += u64::from(packet.sample.bytes);
            if packet.in_flight {
                samples.push(packet.sample);
                self.mtu.on_lost(packet.sample.bytes);
            }
            // The record keeps its frames: should the packet arrive after all, they are acknowledged.
            out.lost.extend(packet.frames.iter().copied());
        }
        if shrunk {
            self.controller.on_mtu(self.mtu.current());
        }
        if !samples.is_empty() {
            self.loss.on_lost(samples.len() as u64);
            let in_flight_bytes = self.sent.in_flight_bytes();
            self.controller.on_loss(&LossSample {
                now,
                lost: &samples,
                in_flight_bytes,
            });
        }
    }

    /// A packet with an ACK or a NAK of ours arrived: what it said need not be said again.
    pub(crate) fn on_report_acked(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Ack { largest, .. } => self.recv.on_ack_acked(largest),
            SentFrame::Nak { largest, .. } => self.recv.nak.on_nak_acked(largest),
            _ => {}
        }
    }

    /// What the newest `most` packets in flight carried of streams, oldest first.
    pub(crate) fn newest_data(&self, most: usize) -> VecDeque<StreamSent> {
        let mut newest = VecDeque::new();
        let packets = self
            .sent
            .newest_open(most)
            .filter_map(|number| self.sent.get(number));
        for frame in packets.flat_map(|packet| &packet.frames) {
            if let SentFrame::Stream(what @ StreamSent::Data { .. }) = frame {
                newest.push_front(*what);
            }
        }
        newest
    }

    /// Whether at least one packet in two hundred was lost of late.
    pub(crate) fn is_lossy(&self) -> bool {
        let believed = self.controller.random_loss() >= 0.005;
        believed || self.loss.is_lossy()
    }

    /// Bytes that count against the window.
    pub(crate) fn in_flight_bytes(&self) -> u64 {
        self.sent.in_flight_bytes()
    }

    /// Packets that count against the window.
    pub(crate) fn in_flight_packets(&self) -> u64 {
        self.sent.in_flight_packets()
    }
}

fn unsent() -> TransportError {
    TransportError::new(
        TransportCode::PROTOCOL_VIOLATION,
        "ACK or NAK of a packet never sent",
    )
}
