//! What a path says of arrivals: ACK, NAK and TRAIN_REPORT, ahead of everything else in a packet.
//! When they are due is decided in `path`.

use std::time::{Duration, Instant};

use crate::{
    path::{Path, SentFrame, SentFrames},
    wire::frame::{Ack, AckHead, Frame, FrameWriter, Nak, kind},
};

/// Longest NAK frame, in ranges.
const MAX_NAK_RANGES: usize = 64;

/// ACK and NAK of one path, if due or if an ACK can ride along. Returns whether the peer is to
/// acknowledge the packet for their sake.
pub(super) fn write_reports(
    now: Instant,
    path: &mut Path,
    out: &mut FrameWriter<'_>,
    frames: &mut SentFrames,
) -> bool {
    let mut ack_eliciting = false;
    if path.recv.nak.interest(now) {
        let (smoothed, var) = (path.rtt.smoothed(), path.rtt.var());
        let named = path.recv.nak.take_due(now, MAX_NAK_RANGES, smoothed, var);
        if let Some(last) = named.last() {
            let largest = last.end - 1;
            if Nak::encode_from(path.id, named.iter().rev().cloned(), out) > 0 {
                path.counters.naks_sent += 1;
                frames.push(SentFrame::Nak {
                    path: path.id,
                    largest,
                });
                // Once it is acknowledged, the gaps it named are named no more.
                ack_eliciting = true;
            }
        }
    }
    let due = path.recv.ack.interest(now);
    // A packet that leaves anyway takes the news along once half of the wait is over.
    if !(due || path.recv.ack.is_ripe(now)) {
        return ack_eliciting;
    }
    let Some(largest) = path.recv.largest() else {
        return ack_eliciting;
    };
    // Before the ACK, which may end a round that the report belongs to.
    if let Some(report) = path.recv.trains.report()
        && out.put(&Frame::TrainReport(*report))
    {
        path.recv.trains.on_report_sent();
    }
    if write_ack(now, path, out) {
        path.recv.ack.on_sent();
        frames.push(SentFrame::Ack {
            path: path.id,
            largest,
        });
        let interval = path.rtt.smoothed();
        if path.recv.wants_prompt(now, interval) && out.remaining() > 0 {
            out.out.push(kind::PING);
            ack_eliciting = true;
        }
    }
    ack_eliciting
}

/// The ACK of one path, as it stands. Returns whether it fits.
pub(super) fn write_ack(now: Instant, path: &Path, out: &mut FrameWriter<'_>) -> bool {
    let head = AckHead {
        path: path.id,
        delay_us: micros(path.recv.ack_delay(now)),
        received_at_us: micros(path.recv.largest_at()),
        ecn: path.recv.ecn(),
    };
    Ack::encode_from(&head, path.recv.ranges().iter().rev(), out) > 0
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(0)
        .min(crate::units::MAX_VARINT)
}
