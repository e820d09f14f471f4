//! The ledger of rounds: which packets were sent in which round, and what became of them.
//! What a round's loss means is judged in `baseline`.

use std::collections::VecDeque;

/// Most rounds ever open at once; the oldest is closed unresolved beyond.
const MAX_TAGS: usize = 128;

/// Why a round is sent at the rate it is sent at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The rate is what the path is believed to carry.
    Usual,
    /// Slower, to see the loss that is not ours.
    Probe,
    /// Slower, to let the queue run empty.
    Drain,
}

/// The packets sent in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) number: u64,
    /// Index of its first packet.
    first: u64,
    pub(super) sent: u64,
    /// Fates known so far, those of trains included.
    settled: u64,
    /// Of the packets that were paced: a train loses what a shallow buffer cannot hold, at any rate.
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Indices of the newest trains, from and to.
    trains: [(u64, u64); 2],
    bytes: u64,
    first_sent_at: f64,
    last_sent_at: f64,
    /// The rate in force while it was sent, bytes/s.
    pub(super) rate: f64,
    /// The application could not fill it, or the controller sent slower on purpose.
    pub(super) app_limited: bool,
    pub(super) kind: Kind,
    closed: bool,
}

impl Tag {
    fn is_resolved(&self) -> bool {
        self.closed && self.settled >= self.sent
    }

    /// Its delivery tells nothing of what the path could have delivered.
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

    /// Sent at its rate, from its first packet to its last, and at least half of what fills a round trip of
    /// `base` seconds.
    pub(super) fn is_half_full(&self, base: f64) -> bool {
        let at_rate = self.sent_rate().is_some_and(|rate| rate > 0.9 * self.rate);
        self.kind == Kind::Usual && at_rate && self.bytes as f64 > 0.5 * self.rate * base
    }

    /// Bytes per second that really left, if it lasted long enough to tell.
    pub(super) fn sent_rate(&self) -> Option<f64> {
        let span = self.last_sent_at - self.first_sent_at;
        (self.sent >= 8 && span > 0.0)
            .then(|| self.bytes as f64 * (1.0 - 1.0 / self.sent as f64) / span)
    }
}

/// Counts of the round that is being lived through, whatever tags its packets carry.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Acknowledged packets of the newest tag among them.
    newest: u64,
    /// A packet of the present tag came back.
    pub(super) came_round: bool,
}

/// Rounds in flight.
#[derive(Debug)]
pub(super) struct Rounds {
    tags: VecDeque<Tag>,
    tally: Tally,
    started_at: f64,
    /// The tag of the newest acknowledged packet, and the one before it.
    newest: Option<Tag>,
    before: Option<Tag>,
    /// Packets of a train that are still to be sent.
    train_left: u32,
}

impl Rounds {
    pub(super) fn new(now: f64, rate: f64) -> Self {
        let mut rounds = Self {
            tags: VecDeque::new(),
            tally: Tally::default(),
            started_at: now,
            newest: None,
            before: None,
            train_left: 0,
        };
        rounds.open(now, 0, rate, Kind::Usual);
        rounds
    }

    fn open(&mut self, now: f64, number: u64, rate: f64, kind: Kind) {
        self.tags.push_back(Tag {
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

    /// The round in which packets are sent at present.
    pub(super) fn number(&self) -> u64 {
        self.tags.back().map_or(0, |tag| tag.number)
    }

    /// What was sent in it so far.
    pub(super) fn present(&self) -> Option<&Tag> {
        self.tags.back()
    }

    pub(super) fn started_at(&self) -> f64 {
        self.started_at
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The round that most packets of the present one came back from.
    pub(super) fn returning(&self) -> Option<&Tag> {
        if 2 * self.tally.newest > self.tally.acked {
            self.newest.as_ref()
        } else {
            self.before.as_ref().or(self.newest.as_ref())
        }
    }

    /// The next `packets` go back to back.
    pub(super) fn begin_train(&mut self, packets: u32) {
        self.train_left = packets;
    }

    pub(super) fn on_sent(&mut self, now: f64, index: u64, bytes: u64, app_limited: bool) {
        let Some(tag) = self.tags.back_mut() else {
            return;
        };
        if tag.sent == 0 {
            tag.first = index;
            tag.first_sent_at = now;
        }
        if self.train_left > 0 {
            self.train_left -= 1;
            tag.extend_train(index);
        }
        tag.sent += 1;
        tag.bytes += bytes;
        tag.last_sent_at = now;
        tag.app_limited |= app_limited;
    }

    /// True if a packet of the present round came back.
    pub(super) fn on_acked(&mut self, index: u64) {
        self.tally.acked += 1;
        let current = self.number();
        if let Some(tag) = self.find(index) {
            tag.settled += 1;
            tag.acked += u64::from(!tag.is_in_train(index));
            let tag = *tag;
            self.tally.came_round |= tag.number == current;
            if self.newest.is_none_or(|newest| tag.number > newest.number) {
                self.before = self.newest;
                self.tally.newest = 0;
            }
            if self.newest.is_none_or(|newest| tag.number >= newest.number) {
                self.newest = Some(tag);
                self.tally.newest += 1;
            }
        }
    }

    pub(super) fn on_lost(&mut self, index: u64) {
        self.tally.lost += 1;
        if let Some(tag) = self.find(index) {
            tag.settled += 1;
            tag.lost += u64::from(!tag.is_in_train(index));
        }
    }

    /// Nothing can be told of a packet; its round need not wait for it.
    pub(super) fn on_discarded(&mut self, index: u64) {
        if let Some(tag) = self.find(index) {
            tag.settled += 1;
        }
    }

    /// A packet reported lost arrived after all; false if its round was judged already.
    pub(super) fn on_spurious(&mut self, index: u64) -> bool {
        self.tally.lost = self.tally.lost.saturating_sub(1);
        match self.find(index) {
            Some(tag) if tag.is_in_train(index) => true,
            Some(tag) if tag.lost > 0 => {
                tag.lost -= 1;
                tag.acked += 1;
                true
            }
            _ => false,
        }
    }

    /// End the round: packets from here on belong to the next, sent at `rate`.
    pub(super) fn turn(&mut self, now: f64, rate: f64, kind: Kind) {
        self.tally = Tally::default();
        self.started_at = now;
        let number = self.number() + 1;
        match self.tags.back_mut() {
            // Nothing was sent in it: nothing can be told of it.
            Some(tag) if tag.sent == 0 => {
                tag.number = number;
                tag.rate = rate;
                tag.kind = kind;
            }
            Some(tag) => {
                tag.closed = true;
                self.open(now, number, rate, kind);
            }
            None => self.open(now, number, rate, kind),
        }
    }

    /// The oldest round whose packets' fates are all known, taken out.
    pub(super) fn take_resolved(&mut self) -> Option<Tag> {
        let overfull = self.tags.len() > MAX_TAGS;
        let front = self.tags.front()?;
        if front.is_resolved() || (overfull && front.closed) {
            self.tags.pop_front()
        } else {
            None
        }
    }

    /// The rate in force changed within the round.
    pub(super) fn set_rate(&mut self, rate: f64) {
        if let Some(tag) = self.tags.back_mut() {
            tag.rate = rate;
        }
    }

    fn find(&mut self, index: u64) -> Option<&mut Tag> {
        let after = self
            .tags
            .partition_point(|tag| tag.sent > 0 && tag.first <= index);
        let tag = self.tags.get_mut(after.checked_sub(1)?)?;
        (index < tag.first + tag.sent).then_some(tag)
    }
}
