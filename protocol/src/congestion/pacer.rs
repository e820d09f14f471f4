//! The pacer: an integer token bucket that says how many bytes may leave now and when more may.
//! The rate comes from a controller; the connection decides which packet goes next.

use std::time::{Duration, Instant};

use crate::units::Bandwidth;

#[cfg(test)]
mod tests;

/// Credit kept when the pacer is woken late: a part of the RTT within these bounds
/// (spec/04-congestion.md#pacing).
const LATE_CREDIT: Duration = Duration::from_millis(2);
const MOST_LATE_CREDIT: Duration = Duration::from_millis(8);
const LATE_PART: u32 = 32;
/// A send quantum is what the rate carries in this time.
const QUANTUM_TIME: Duration = Duration::from_millis(1);
/// Time between two bursts of a path that is only held by its rate: at 100 Mbit/s two packets, from
/// 2 Gbit/s on a whole send quantum, so that wake-ups and system calls stay below 4000 a second.
pub(super) const BURST_TIME: Duration = Duration::from_micros(250);
/// Largest send quantum: what one segmentation-offload buffer takes.
const MAX_QUANTUM: u64 = 64_000;
/// Packets of credit kept over an idle time.
const IDLE_PACKETS: u64 = 2;
/// Largest debt kept, in packets and in time: that of a packet train of the steady states. It must be paid, or the
/// faster of two flows, whose trains are longer, would get more.
const DEBT_PACKETS: u64 = 4;
const DEBT_TIME: Duration = Duration::from_millis(2);
/// Longest wait, also at a rate of zero.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const NANOS: i128 = 1_000_000_000;

/// The burst a pacer may release at once at `rate`: one millisecond, at least one packet of `mtu`
/// bytes, at most 64 kB.
pub fn send_quantum(rate: Bandwidth, mtu: u16) -> u64 {
    let mtu = u64::from(mtu);
    //= spec/04-congestion.md#pacing
    //# The send quantum MUST be what the rate carries in 1 ms, at least one packet and at most
    //# 64 kB.
    rate.bytes_in(QUANTUM_TIME).clamp(mtu, MAX_QUANTUM.max(mtu))
}

/// A token bucket with signed credit, counted in byte-nanoseconds so that nothing is ever rounded.
///
/// Ask [`budget`](Self::budget) how much may leave, tell [`on_sent`](Self::on_sent) what did, and
/// sleep until [`next_at`](Self::next_at). A burst may overdraw the credit (a packet train does on
/// purpose); the debt is paid by waiting.
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: u64,
    quantum: u64,
    mtu: u64,
    burst_time: Duration,
    late: Duration,
    /// Bytes times 10^9.
    credit: i128,
    refilled_at: Instant,
    sent_at: Instant,
    /// The caller is waiting for credit, so that time that passes is lateness and not idleness.
    waiting: bool,
}

impl Pacer {
    /// A pacer that lets the first two packets go at once.
    pub fn new(now: Instant) -> Self {
        Self {
            rate: 0,
            quantum: 0,
            mtu: 0,
            burst_time: BURST_TIME,
            late: LATE_CREDIT,
            credit: 0,
            refilled_at: now,
            sent_at: now,
            waiting: false,
        }
    }

    /// Pace at `rate` from here on, in bursts of at most `quantum` bytes.
    ///
    /// Credit earned so far was earned at the old rate; `now` is the time of the last call, so call
    /// [`budget`](Self::budget) or [`on_sent`](Self::on_sent) with the present time first if that
    /// matters. Debt beyond 2 ms (or four packets) is forgiven, or a rate that falls a thousandfold would lock
    /// the path for a thousand times too long.
    pub fn set(&mut self, rate: Bandwidth, quantum: u64, mtu: u16) {
        let fresh = self.mtu == 0;
        self.rate = rate.bytes_per_second();
        self.mtu = u64::from(mtu);
        self.quantum = quantum.max(self.mtu);
        if fresh {
            self.credit = scaled(IDLE_PACKETS * self.mtu);
        }
        let floor = -scaled(rate.bytes_in(DEBT_TIME).max(DEBT_PACKETS * self.mtu));
        self.credit = self.credit.max(floor);
    }

    /// Wait for what the rate carries in `time` before each burst.
    pub fn set_burst_time(&mut self, time: Duration) {
        self.burst_time = time;
    }

    /// Keep more of the credit of a late wake-up on a path with this RTT: a burst is small beside what
    /// is in flight on a long path, and a busy machine would otherwise lose what it was late for.
    pub fn set_rtt(&mut self, smoothed_rtt: Duration) {
        self.late = (smoothed_rtt / LATE_PART).clamp(LATE_CREDIT, MOST_LATE_CREDIT);
    }

    /// Bytes worth waiting for: what the rate carries in the burst time (250 us if not set), at least a packet, at
    /// most the send quantum. More would not fit into a buffer of a millisecond.
    pub fn burst(&self) -> u64 {
        let earned = Bandwidth::from_bytes_per_second(self.rate).bytes_in(self.burst_time);
        earned.clamp(self.mtu, self.quantum.max(self.mtu))
    }

    /// Bytes that may leave at `now`.
    pub fn budget(&self, now: Instant) -> u64 {
        let bytes = self.credit_at(now).max(0) / NANOS;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// `bytes` left at `now`.
    pub fn on_sent(&mut self, now: Instant, bytes: u64) {
        self.credit = self.credit_at(now) - scaled(bytes);
        self.refilled_at = self.refilled_at.max(now);
        self.sent_at = self.refilled_at;
        self.waiting = false;
    }

    /// When `bytes` (or a full bucket, if that is less) may leave; `now` if they may at once.
    ///
    /// Ask for the smaller of the send quantum and what is waiting to be sent: a packet at a time
    /// costs a wake-up each, more than a quantum is a burst.
    pub fn next_at(&mut self, now: Instant, bytes: u64) -> Instant {
        let missing = scaled(bytes).min(self.late_cap()) - self.credit_at(now);
        if missing <= 0 {
            return now;
        }
        // Time before this call was nobody's lateness: settle it by the rules of idleness.
        self.credit = self.credit_at(now);
        self.refilled_at = self.refilled_at.max(now);
        self.waiting = true;
        let rate = i128::from(self.rate);
        let wait = match rate {
            0 => LONGEST_WAIT,
            _ => u64::try_from((missing + rate - 1) / rate)
                .map_or(LONGEST_WAIT, Duration::from_nanos)
                .min(LONGEST_WAIT),
        };
        now + wait
    }

    fn credit_at(&self, now: Instant) -> i128 {
        let elapsed = now.saturating_duration_since(self.refilled_at);
        if elapsed.is_zero() {
            return self.credit;
        }
        let nanos = i128::from(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        let earned = i128::from(self.rate).saturating_mul(nanos);
        let since_sent = now.saturating_duration_since(self.sent_at);
        //= spec/04-congestion.md#pacing
        //# A pacer that is woken late MUST keep the credit it earned up to the larger of 1/32 of the RTT
        //# (2 to 8 ms) and one send quantum.
        let cap = if self.waiting || since_sent <= self.late {
            self.late_cap()
        } else {
            //= spec/04-congestion.md#pacing
            //# A pacer that had nothing to send MUST NOT keep more than two packets of credit.
            scaled(IDLE_PACKETS * self.mtu)
        };
        self.credit.saturating_add(earned).min(cap)
    }

    fn late_cap(&self) -> i128 {
        let late = i128::from(self.rate) * i128::try_from(self.late.as_nanos()).unwrap_or(0);
        late.max(scaled(self.quantum))
    }
}

fn scaled(bytes: u64) -> i128 {
    i128::from(bytes) * NANOS
}
