//! Rounds in flight: which packets were sent in which round, and which of them are acknowledged or lost.
//! What a round's loss means is decided in `random_loss`.

use std::collections::VecDeque;

/// Most rounds in flight; beyond, the oldest is taken out unresolved.
const MAX_ROUNDS: usize = 128;

/// Why a round is sent at its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// At the estimated rate of the path.
    Usual,
    /// Slower, to measure the loss that is not self-made.
    Probe,
    /// Slower, to let the queue run empty.
    Drain,
}

/// The packets sent in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentRound {
    pub(super) number: u64,
    /// Index of its first packet.
    first: u64,
    pub(super) sent: u64,
    /// Packets whose fate is known, those of trains included.
    settled: u64,
    /// Acknowledged and lost packets that were paced: a shallow buffer drops the end of a train at any rate.
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// First indices of the two newest trains, and the indices behind them.
    trains: [(u64, u64); 2],
    bytes: u64,
    first_sent_at: f64,
    last_sent_at: f64,
    /// The rate it was to be sent at, bytes per second.
    pub(super) rate: f64,
    /// The application could not fill it, or the controller sent slower on purpose.
    pub(super) app_limited: bool,
    pub(super) kind: Kind,
    closed: bool,
}

impl SentRound {
    fn is_resolved(&self) -> bool {
        self.closed && self.settled >= self.sent
    }

    /// Whether its delivery says nothing of what the path could deliver.
    pub(super) fn is_slowed(&self) -> bool {
        self.app_limited || self.kind != Kind::Usual
    }

    fn is_in_train(&self, index: u64) -> bool {
        self.trains
            .iter()
            .any(|&(from, to)| (from..to).contains(&index))
    }

    fn extend_train(&mut self, index: u64) {
        if self.trains[1].1 == index && index > self.trains[1].0 {
            self.trains[1].1 += 1;
        } else {
            self.trains = [self.trains[1], (index, index + 1)];
        }
    }

    /// Paced packets whose fate is known.
    pub(super) fn resolved(&self) -> u64 {
        self.acked + self.lost
    }

    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / (self.resolved() as f64).max(1.0)
    }

    /// Whether it was sent at its rate from its first packet to its last, with at least half of what fills a round
    /// trip of `min_rtt` seconds.
    pub(super) fn is_half_full(&self, min_rtt: f64) -> bool {
        let at_rate = self.sent_rate().is_some_and(|rate| rate > 0.9 * self.rate);
        self.kind == Kind::Usual && at_rate && self.bytes as f64 > 0.5 * self.rate * min_rtt
    }

    /// The rate it was really sent at, bytes per second, if it lasted long enough to tell.
    pub(super) fn sent_rate(&self) -> Option<f64> {
        let span = self.last_sent_at - self.first_sent_at;
        (self.sent >= 8 && span > 0.0)
            .then(|| self.bytes as f64 * (1.0 - 1.0 / self.sent as f64) / span)
    }
}

/// Packets resolved in the current round, whichever round they were sent in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Acknowledged packets of the newest round among them.
    newest: u64,
    /// A packet of the current round was acknowledged.
    pub(super) current_acked: bool,
}

/// Rounds in flight.
#[derive(Debug)]
pub(super) struct Rounds {
    in_flight: VecDeque<SentRound>,
    tally: Tally,
    started_at: f64,
    /// The round of the newest acknowledged packet, and the one before it.
    newest: Option<SentRound>,
    before: Option<SentRound>,
    /// Packets of the current train that are still to be sent.
    train_left: u32,
}

impl Rounds {
    pub(super) fn new(now: f64, rate: f64) -> Self {
        let mut ledger = Self {
            in_flight: VecDeque::new(),
            tally: Tally::default(),
            started_at: now,
            newest: None,
            before: None,
            train_left: 0,
        };
        ledger.open(now, 0, rate, Kind::Usual);
        ledger
    }

    fn open(&mut self, now: f64, number: u64, rate: f64, kind: Kind) {
        self.in_flight.push_back(SentRound {
            number,
            first: 0,
            sent: 0,
            settled: 0,
            acked: 0,
            lost: 0,
            trains: [(0, 0); 2],
            bytes: 0,
            first_sent_at: now,
            last_sent_at: now,
            rate,
            app_limited: false,
            kind,
            closed: false,
        });
    }

    /// Number of the current round.
    pub(super) fn number(&self) -> u64 {
        self.in_flight.back().map_or(0, |round| round.number)
    }

    /// The current round, as sent so far.
    pub(super) fn current(&self) -> Option<&SentRound> {
        self.in_flight.back()
    }

    pub(super) fn started_at(&self) -> f64 {
        self.started_at
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The round in which most of the packets acknowledged in the current one were sent.
    pub(super) fn returning(&self) -> Option<&SentRound> {
        if 2 * self.tally.newest > self.tally.acked {
            self.newest.as_ref()
        } else {
            self.before.as_ref().or(self.newest.as_ref())
        }
    }

    /// Counts the next `packets` as a train.
    pub(super) fn begin_train(&mut self, packets: u32) {
        self.train_left = packets;
    }

    pub(super) fn on_sent(&mut self, now: f64, index: u64, bytes: u64, app_limited: bool) {
        let Some(round) = self.in_flight.back_mut() else {
            return;
        };
        if round.sent == 0 {
            round.first = index;
            round.first_sent_at = now;
        }
        if self.train_left > 0 {
            self.train_left -= 1;
            round.extend_train(index);
        }
        round.sent += 1;
        round.bytes += bytes;
        round.last_sent_at = now;
        round.app_limited |= app_limited;
    }

    /// Handles the acknowledgement of a packet.
    pub(super) fn on_acked(&mut self, index: u64) {
        self.tally.acked += 1;
        let current = self.number();
        if let Some(round) = self.find(index) {
            round.settled += 1;
            round.acked += u64::from(!round.is_in_train(index));
            let round = *round;
            self.tally.current_acked |= round.number == current;
            if self
                .newest
                .is_none_or(|newest| round.number > newest.number)
            {
                self.before = self.newest;
                self.tally.newest = 0;
            }
            if self
                .newest
                .is_none_or(|newest| round.number >= newest.number)
            {
                self.newest = Some(round);
                self.tally.newest += 1;
            }
        }
    }

    pub(super) fn on_lost(&mut self, index: u64) {
        self.tally.lost += 1;
        if let Some(round) = self.find(index) {
            round.settled += 1;
            round.lost += u64::from(!round.is_in_train(index));
        }
    }

    /// Leaves a packet out: its round need not wait for it.
    pub(super) fn on_discarded(&mut self, index: u64) {
        if let Some(round) = self.find(index) {
            round.settled += 1;
        }
    }

    /// Takes back the loss of a packet; false if its round was judged already.
    pub(super) fn on_spurious(&mut self, index: u64) -> bool {
        self.tally.lost = self.tally.lost.saturating_sub(1);
        match self.find(index) {
            Some(round) if round.is_in_train(index) => true,
            Some(round) if round.lost > 0 => {
                round.lost -= 1;
                round.acked += 1;
                true
            }
            _ => false,
        }
    }

    /// Ends the current round and starts the next, sent at `rate`.
    pub(super) fn start_next_round(&mut self, now: f64, rate: f64, kind: Kind) {
        self.tally = Tally::default();
        self.started_at = now;
        let number = self.number() + 1;
        match self.in_flight.back_mut() {
            // Nothing was sent in it: it becomes the next.
            Some(round) if round.sent == 0 => {
                round.number = number;
                round.rate = rate;
                round.kind = kind;
            }
            Some(round) => {
                round.closed = true;
                self.open(now, number, rate, kind);
            }
            None => self.open(now, number, rate, kind),
        }
    }

    /// Takes out the oldest round if the fates of all its packets are known.
    pub(super) fn take_resolved(&mut self) -> Option<SentRound> {
        let overfull = self.in_flight.len() > MAX_ROUNDS;
        let front = self.in_flight.front()?;
        if front.is_resolved() || (overfull && front.closed) {
            self.in_flight.pop_front()
        } else {
            None
        }
    }

    /// Changes the rate of the current round.
    pub(super) fn set_rate(&mut self, rate: f64) {
        if let Some(round) = self.in_flight.back_mut() {
            round.rate = rate;
        }
    }

    fn find(&mut self, index: u64) -> Option<&mut SentRound> {
        let after = self
            .in_flight
            .partition_point(|round| round.sent > 0 && round.first <= index);
        let round = self.in_flight.get_mut(after.checked_sub(1)?)?;
        (index < round.first + round.sent).then_some(round)
    }
}
