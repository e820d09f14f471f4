//! The sending end of a flow: pacing, window, loss detection by time, probes, trains.
//! How fast and how much is the controller's to say.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rp_protocol::{
    congestion::{
        AckSample, Controller, LossSample, Pacer, PacketSample, Rtt, SentSample, TrainSample,
    },
    units::Bandwidth,
};

use super::{
    Packet, TrainPart,
    config::FlowConfig,
    receiver::{Ack, Arrival},
    source::Source,
};

/// Packets sent on a probe timeout.
const PROBES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Outstanding,
    Acked,
    Lost(Instant),
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    sample: PacketSample,
    fate: Fate,
}

#[derive(Debug)]
pub(super) struct Sender {
    flow: usize,
    mtu: u16,
    paced: bool,
    trains: bool,
    source: Source,
    pub(super) controller: Box<dyn Controller>,
    pacer: Pacer,
    rtt: Rtt,
    sent: VecDeque<Sent>,
    /// Index of the first entry of `sent`, and of the first outstanding one.
    base: u64,
    oldest: u64,
    in_flight: u64,
    newest_acked: Option<Instant>,
    reorder: Duration,
    loss_at: Option<Instant>,
    probe_at: Option<Instant>,
    probes: u32,
    probe_packets: u32,
    send_at: Option<Instant>,
    /// The train being sent.
    train: Option<TrainPart>,
    trains_sent: u32,
    pub(super) sent_packets: u64,
    pub(super) lost_packets: u64,
    pub(super) spurious_packets: u64,
}

impl Sender {
    pub(super) fn new(
        flow: usize,
        config: &FlowConfig,
        rtt: Duration,
        start: Instant,
        seed: u64,
    ) -> Self {
        // The handshake has measured the RTT before data flows.
        let mut estimate = Rtt::new(rtt);
        estimate.update(start, Duration::ZERO, rtt);
        let mut controller = config.algorithm.controller(config.mtu, rtt, start, seed);
        if let Some(memory) = &config.memory {
            controller.recall(memory);
        }
        let mut pacer = Pacer::new(start);
        pacer.set(
            controller.pacing_rate(),
            controller.send_quantum(),
            config.mtu,
        );
        Self {
            flow,
            mtu: config.mtu,
            paced: config.paced,
            trains: config.trains,
            source: Source::new(config.application, start, config.mtu, seed),
            controller,
            pacer,
            rtt: estimate,
            sent: VecDeque::new(),
            base: 0,
            oldest: 0,
            in_flight: 0,
            newest_acked: None,
            reorder: (rtt / 8).max(Duration::from_millis(1)),
            loss_at: None,
            probe_at: None,
            probes: 0,
            probe_packets: 0,
            send_at: Some(start),
            train: None,
            trains_sent: 0,
            sent_packets: 0,
            lost_packets: 0,
            spurious_packets: 0,
        }
    }

    pub(super) fn smoothed_rtt(&self) -> Duration {
        self.rtt.smoothed()
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        [self.send_at, self.loss_at, self.probe_at]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn on_ack(&mut self, now: Instant, ack: &Ack, arrivals: &[Arrival]) {
        let prior = self.in_flight;
        let mut acked = Vec::with_capacity(arrivals.len());
        let mut spurious = Vec::new();
        let mut ce_packets = 0;
        for arrival in arrivals {
            ce_packets += u64::from(arrival.ce);
            let Some(sent) = self.entry(arrival.index) else {
                continue;
            };
            let before = std::mem::replace(&mut sent.fate, Fate::Acked);
            let sample = sent.sample;
            match before {
                Fate::Outstanding => {
                    self.in_flight -= u64::from(sample.bytes);
                    acked.push(sample);
                }
                Fate::Lost(_) => spurious.push(sample),
                Fate::Acked => {}
            }
        }
        if !spurious.is_empty() {
            self.spurious_packets += spurious.len() as u64;
            self.controller.on_spurious_loss(now, &spurious);
            let wider = self.reorder.mul_f64(1.5) + Duration::from_millis(1);
            self.reorder = wider.min(self.rtt.smoothed() / 2).max(self.reorder);
        }
        let newest = acked.last().copied().filter(|p| p.index == ack.largest);
        if let Some(newest) = newest {
            let sample = now - newest.sent_at;
            self.rtt.update(now, ack.delay, sample);
            self.newest_acked = self.newest_acked.max(Some(newest.sent_at));
        }
        if acked.is_empty() {
            return;
        }
        self.probes = 0;
        self.controller.on_ack(&AckSample {
            now,
            arrived_at: now,
            acked: &acked,
            rtt: newest.map(|_| self.rtt.latest()),
            smoothed_rtt: self.rtt.smoothed(),
            received_at: newest.map(|_| ack.received_at),
            prior_in_flight_bytes: prior,
            in_flight_bytes: self.in_flight,
            ce_packets,
        });
        if let Some(train) = ack.train {
            self.controller.on_train(&TrainSample {
                now,
                packets: train.packets,
                bytes: train.bytes,
                span: train.span,
            });
        }
        self.detect_losses(now);
        self.arm_probe(now);
        self.send_at = Some(now);
    }

    pub(super) fn set_max_rate(&mut self, now: Instant, max_rate: Option<Bandwidth>) {
        self.controller.set_max_rate(max_rate);
        self.send_at = self.send_at.map(|_| now);
    }

    pub(super) fn on_timers(&mut self, now: Instant) {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_losses(now);
            self.send_at = Some(now);
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probes += 1;
            self.controller.on_probe_timeout(now, self.probes);
            self.probe_packets = PROBES;
            self.send_at = Some(now);
            self.arm_probe(now);
        }
    }

    /// The next packet, if one may leave at `now`.
    pub(super) fn poll(&mut self, now: Instant, stopped: bool) -> Option<Packet> {
        if self.send_at.is_none_or(|at| at > now) {
            return None;
        }
        self.send_at = None;
        if self.probe_packets > 0 {
            self.probe_packets -= 1;
            self.send_at = Some(now);
            return Some(self.emit(now, false));
        }
        let (rate, quantum) = (
            self.controller.pacing_rate(),
            self.controller.send_quantum(),
        );
        let (rate, quantum) = if self.paced {
            (rate, quantum)
        } else {
            (Bandwidth::from_bytes_per_second(u64::MAX >> 8), 64_000)
        };
        self.pacer.set(rate, quantum, self.mtu);
        self.pacer.set_burst_time(self.controller.burst_time());
        let available = if stopped {
            0
        } else {
            self.source.available(now)
        };
        let window = self.controller.window();
        let size = u64::from(self.mtu);
        if self.in_flight + size > window {
            self.train = None;
            return None;
        }
        if available < size {
            self.train = None;
            if !stopped {
                self.controller.on_app_limited(now, self.in_flight);
                self.send_at = Some(self.source.available_at(now));
            }
            return None;
        }
        if self.train.is_none() && !self.begin_train(now, available.min(window - self.in_flight)) {
            let ask = self
                .pacer
                .burst()
                .min(available)
                .min(window - self.in_flight)
                .max(size);
            if self.pacer.budget(now) < size {
                let paced = self.pacer.next_at(now, ask);
                // Without room for it a train that is due would be asked for again and again.
                let fits = self.trains && available.min(window - self.in_flight) >= 16 * size;
                let train = self.controller.train_at().filter(|_| fits);
                self.send_at = Some(train.map_or(paced, |at| paced.min(at.max(now))));
                return None;
            }
        }
        self.send_at = Some(now);
        let last = !self.source.is_bulk() && available < 2 * size;
        Some(self.emit(now, last))
    }

    fn emit(&mut self, now: Instant, app_limited: bool) -> Packet {
        let index = self.base + self.sent.len() as u64;
        let sample = PacketSample {
            index,
            bytes: self.mtu,
            sent_at: now,
            app_limited,
        };
        self.sent.push_back(Sent {
            sample,
            fate: Fate::Outstanding,
        });
        self.in_flight += u64::from(self.mtu);
        self.sent_packets += 1;
        self.source.on_sent(u64::from(self.mtu));
        self.pacer.on_sent(now, u64::from(self.mtu));
        self.controller.on_sent(&SentSample {
            packet: sample,
            in_flight_bytes: self.in_flight,
        });
        if self.probe_at.is_none() {
            self.arm_probe(now);
        }
        let train = self.train;
        if let Some(part) = &mut self.train {
            part.position += 1;
            if part.position == part.count {
                self.train = None;
            }
        }
        Packet {
            flow: self.flow,
            index,
            bytes: self.mtu,
            train,
        }
    }

    fn begin_train(&mut self, now: Instant, room: u64) -> bool {
        if !self.trains {
            return false;
        }
        let Some(count) = self.controller.train_due(now, room / u64::from(self.mtu)) else {
            return false;
        };
        self.trains_sent += 1;
        self.train = Some(TrainPart {
            train: self.trains_sent,
            position: 0,
            count,
        });
        true
    }

    fn detect_losses(&mut self, now: Instant) {
        self.loss_at = None;
        let Some(newest) = self.newest_acked else {
            return;
        };
        let wait = self.rtt.latest().max(self.rtt.smoothed()) + self.reorder;
        let mut lost = Vec::new();
        let first = usize::try_from(self.oldest - self.base).unwrap_or(usize::MAX);
        for sent in self.sent.iter_mut().skip(first) {
            if sent.fate == Fate::Outstanding {
                if sent.sample.sent_at > newest {
                    break;
                }
                let overtaken = sent.sample.sent_at + self.reorder <= newest;
                let due = sent.sample.sent_at + wait;
                if !overtaken && due > now {
                    self.loss_at = Some(due);
                    break;
                }
                sent.fate = Fate::Lost(now);
                self.in_flight -= u64::from(sent.sample.bytes);
                lost.push(sent.sample);
            }
            self.oldest += 1;
        }
        self.forget(now);
        if !lost.is_empty() {
            self.lost_packets += lost.len() as u64;
            self.controller.on_loss(&LossSample {
                now,
                lost: &lost,
                in_flight_bytes: self.in_flight,
            });
        }
    }

    fn forget(&mut self, now: Instant) {
        let keep = 2 * self.rtt.pto(Duration::ZERO);
        while self.base < self.oldest
            && let Some(front) = self.sent.front()
        {
            if matches!(front.fate, Fate::Lost(at) if now - at < keep) {
                break;
            }
            self.sent.pop_front();
            self.base += 1;
        }
    }

    fn arm_probe(&mut self, now: Instant) {
        self.probe_at = (self.in_flight > 0).then(|| {
            let pto = self.rtt.pto(Duration::from_millis(10));
            now + pto * 2_u32.pow(self.probes.min(6))
        });
    }

    fn entry(&mut self, index: u64) -> Option<&mut Sent> {
        let at = usize::try_from(index.checked_sub(self.base)?).ok()?;
        self.sent.get_mut(at)
    }
}
