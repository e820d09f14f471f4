//! Packet trains on a path: those that were sent, and the timing of those that arrive.
//! When to send one and what its spacing means is the congestion controller's business.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Path;
use crate::{
    congestion::TrainSample,
    error::{TransportCode, TransportError},
    wire::{
        frame::{Train, TrainReport},
        id::PathId,
    },
};

/// Packets in the longest train.
const LONGEST: u64 = 16;
/// Trains remembered until their report comes: more than START sends in a round trip.
const REMEMBERED: usize = 32;

/// The trains this end sends.
#[derive(Debug, Default)]
pub(super) struct TrainSender {
    next: u64,
    /// The part that the next packet is.
    current: Option<Train>,
    /// Number and packet size of those without a report, oldest first.
    sent: VecDeque<(u64, u16)>,
}

impl TrainSender {
    /// What is reported of the trains sent so far says nothing any more.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
    }
}

impl Path {
    /// Packets that leave back to back from here on, if a train is due and has room. There must be
    /// data to fill them with; [`end_train`](Self::end_train) follows when they are written.
    pub(crate) fn begin_train(&mut self, now: Instant) -> Option<u64> {
        if self.probes > 0 {
            return None;
        }
        let size = self.packet_size();
        let count = u64::from(self.controller.train_due(now, self.train_room())?);
        let trains = &mut self.trains;
        if trains.sent.len() == REMEMBERED {
            trains.sent.pop_front();
        }
        trains.sent.push_back((trains.next, size));
        trains.current = Some(Train {
            path: self.id,
            train: trains.next,
            index: 0,
            count,
        });
        trains.next += 1;
        Some(count)
    }

    /// Packets that may leave if the pacer does not object.
    fn train_room(&self) -> u64 {
        let room = self.window().saturating_sub(self.sent.in_flight_bytes());
        room / u64::from(self.packet_size())
    }

    /// When a train is due that the pacer must not delay, if there is room for one.
    pub(crate) fn train_at(&self) -> Option<Instant> {
        self.controller
            .train_at()
            .filter(|_| self.probes == 0 && self.train_room() >= LONGEST / 2)
    }

    /// What the packet being written says of the train it is in.
    pub(crate) fn train_part(&self) -> Option<Train> {
        self.trains.current
    }

    /// The packet with the present part left.
    pub(crate) fn advance_train(&mut self) {
        if let Some(part) = &mut self.trains.current {
            part.index += 1;
        }
    }

    /// The train is over, complete or for lack of data.
    pub(crate) fn end_train(&mut self) {
        self.trains.current = None;
    }

    /// The peer tells how a train arrived.
    pub(crate) fn on_train_report(
        &mut self,
        now: Instant,
        report: &TrainReport,
    ) -> Result<(), TransportError> {
        //= spec/04-congestion.md#trains
        //# An endpoint that receives a TRAIN_REPORT of a train it never sent MUST close the
        //# connection with PROTOCOL_VIOLATION.
        if report.train >= self.trains.next {
            return Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "report of a train never sent",
            ));
        }
        let trains = &mut self.trains.sent;
        let Some(at) = trains.iter().position(|&(train, _)| train == report.train) else {
            // Reported before, or long ago.
            return Ok(());
        };
        let Some((_, bytes)) = trains.remove(at) else {
            return Ok(());
        };
        let steps = report.last.saturating_sub(report.first).min(LONGEST);
        let Ok(packets) = u32::try_from(steps) else {
            return Ok(());
        };
        self.controller.on_train(&TrainSample {
            now,
            packets,
            bytes: steps * u64::from(bytes),
            span: Duration::from_nanos(report.span_ns),
        });
        Ok(())
    }
}

/// The train that is arriving.
#[derive(Clone, Copy, Debug)]
struct Arriving {
    train: u64,
    /// Highest number of a packet in it.
    newest: u64,
    first: (u64, Instant),
    last: (u64, Instant),
}

/// Times the trains the peer sends.
#[derive(Debug, Default)]
pub(crate) struct TrainTimer {
    arriving: Option<Arriving>,
    report: Option<TrainReport>,
}

impl TrainTimer {
    /// A packet that was opened arrived `at`; `part` is what it says of a train. True if a report is
    /// ready now.
    pub(crate) fn on_packet(
        &mut self,
        path: PathId,
        number: u64,
        at: Instant,
        part: Option<Train>,
    ) -> bool {
        let Some(part) = part else {
            // A packet from before the train, or out of it, that comes late says nothing.
            return self.arriving.is_some_and(|train| number > train.newest) && self.close(path);
        };
        match &mut self.arriving {
            Some(train) if train.train == part.train => {
                if part.index <= train.last.0 || number < train.newest || at < train.last.1 {
                    // Out of order: the spacing is not the bottleneck's.
                    self.arriving = None;
                    return false;
                }
                train.newest = number;
                train.last = (part.index, at);
                //= spec/04-congestion.md#trains
                //# Packets that arrive together, as far as the receiver can tell, MUST be counted as one arrival at the
                //# last one's index.
                if at == train.first.1 {
                    train.first.0 = part.index;
                }
            }
            Some(train) if number < train.newest => return false,
            _ => {
                let was = self.close(path);
                self.arriving = Some(Arriving {
                    train: part.train,
                    newest: number,
                    first: (part.index, at),
                    last: (part.index, at),
                });
                return was;
            }
        }
        part.index.saturating_add(1) >= part.count && self.close(path)
    }

    /// A report that waits to be sent.
    pub(crate) fn report(&self) -> Option<&TrainReport> {
        self.report.as_ref()
    }

    /// The report left.
    pub(crate) fn on_report_sent(&mut self) {
        self.report = None;
    }

    fn close(&mut self, path: PathId) -> bool {
        let Some(train) = self.arriving.take() else {
            return false;
        };
        let span = train.last.1.saturating_duration_since(train.first.1);
        if span.is_zero() || train.last.0 <= train.first.0 {
            return false;
        }
        self.report = Some(TrainReport {
            path,
            train: train.train,
            first: train.first.0,
            last: train.last.0,
            span_ns: u64::try_from(span.as_nanos())
                .unwrap_or(crate::units::MAX_VARINT)
                .min(crate::units::MAX_VARINT),
        });
        true
    }
}

#[cfg(test)]
mod tests;
