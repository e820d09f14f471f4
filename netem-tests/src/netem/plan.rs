//! What `tc netem` is told for one direction of a scenario, and what of the scenario it cannot be told.
//! Nothing is run here: the commands are run in `lab`.

use std::{fmt, time::Duration};

use rp_protocol::units::Bandwidth;

use crate::{
    link::{LinkConfig, Spread, Step},
    loss::Loss,
    queue::QueueLimit,
};

/// One direction as `tc` arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What follows `tc qdisc add dev DEVICE root`.
    pub qdisc: Vec<String>,
    /// What follows `tc qdisc change dev DEVICE root` at these times.
    pub steps: Vec<(Duration, Vec<String>)>,
    /// Settings netem has no word for, or another meaning.
    pub notes: Vec<Note>,
}

/// A setting of a scenario that netem does not have as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// As it is called in the scenario file.
    pub setting: &'static str,
    /// It is left out, rather than done in another way.
    pub is_left_out: bool,
    /// What happens instead.
    pub text: &'static str,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_left_out {
            "is left out"
        } else {
            "is done differently"
        };
        write!(f, "`{}` {verb}: {}", self.setting, self.text)
    }
}

/// netem counts what a packet takes on Ethernet; a scenario's rate is of IP packets.
pub(super) const ETHERNET_HEADER_BYTES: u64 = 14;

/// Size of the packets a limit in bytes is turned into a number of, where no MTU is set.
const PACKET_BYTES: u64 = 1500;

/// Packets an unlimited queue may hold: more than a machine has memory for.
const UNLIMITED_PACKETS: u64 = 10_000_000;

impl Plan {
    /// The arguments for `link`.
    pub fn of(link: &LinkConfig) -> Self {
        let mut now = Settings::of(link);
        let qdisc = now.arguments(link);
        let steps = link
            .steps
            .iter()
            .map(|step| {
                now.apply(step);
                (step.at, now.arguments(link))
            })
            .collect();
        Self {
            qdisc,
            steps,
            notes: notes(link),
        }
    }
}

/// What steps change.
#[derive(Clone, Copy)]
struct Settings {
    rate: Option<Bandwidth>,
    delay: Duration,
    loss: Loss,
}

impl Settings {
    fn of(link: &LinkConfig) -> Self {
        Self {
            rate: link.rate,
            delay: link.delay,
            loss: link.loss,
        }
    }

    fn apply(&mut self, step: &Step) {
        // netem takes zero for no limit at all.
        if let Some(rate) = step.rate.filter(|rate| rate.bits_per_second() > 0) {
            self.rate = Some(rate);
        }
        if let Some(delay) = step.delay {
            self.delay = delay;
        }
        if let Some(loss) = step.loss {
            self.loss = loss;
        }
    }

    fn arguments(&self, link: &LinkConfig) -> Vec<String> {
        let mut words = vec![
            "netem".to_owned(),
            "limit".to_owned(),
            self.limit_packets(link).to_string(),
        ];
        let mut add = |more: &[String]| words.extend_from_slice(more);
        if let Some(width) = uniform_jitter(link) {
            // netem spreads evenly around a middle, a scenario upwards from its delay.
            let middle = self.delay + width / 2;
            add(&["delay".to_owned(), micros(middle), micros(width / 2)]);
        } else if self.delay > Duration::ZERO || link.reorder.is_some() {
            add(&["delay".to_owned(), micros(self.delay)]);
        }
        match self.loss {
            Loss::None => {}
            Loss::Bernoulli(p) => add(&["loss".to_owned(), "random".to_owned(), percent(p)]),
            Loss::GilbertElliott(states) => add(&[
                "loss".to_owned(),
                "gemodel".to_owned(),
                percent(states.enter_bad),
                percent(states.leave_bad),
                percent(states.loss_bad),
                percent(states.loss_good),
            ]),
        }
        if link.duplicate > 0.0 {
            add(&["duplicate".to_owned(), percent(link.duplicate)]);
        }
        if link.corrupt > 0.0 {
            add(&["corrupt".to_owned(), percent(link.corrupt)]);
        }
        if let Some(reorder) = link.reorder {
            add(&["reorder".to_owned(), percent(reorder.probability)]);
        }
        if let Some(rate) = self.rate {
            add(&[
                "rate".to_owned(),
                format!("{}bit", rate.bits_per_second()),
                format!("-{ETHERNET_HEADER_BYTES}"),
            ]);
        }
        words
    }

    /// netem's limit counts whole packets, and those that are under way as well as those that wait.
    fn limit_packets(&self, link: &LinkConfig) -> u64 {
        let bytes = u64::try_from(link.mtu)
            .unwrap_or(PACKET_BYTES)
            .min(PACKET_BYTES);
        let Some(rate) = self.rate else {
            return UNLIMITED_PACKETS;
        };
        let waiting = match link.queue {
            QueueLimit::Unlimited => return UNLIMITED_PACKETS,
            // It follows the rate's steps; the others do not.
            QueueLimit::Time(time) => rate.bytes_in(time),
            _ => link.queue_bytes().unwrap_or(0),
        };
        let jitter = uniform_jitter(link).unwrap_or_default() / 2;
        let under_way = rate.bytes_in(self.delay + jitter).div_ceil(bytes);
        // An empty queue takes any packet, however small its limit.
        (waiting / bytes).max(1) + under_way
    }
}

/// The width of jitter netem can make.
fn uniform_jitter(link: &LinkConfig) -> Option<Duration> {
    match link.jitter?.spread {
        Spread::Uniform(width) => Some(width),
        Spread::Normal(_) => None,
    }
}

fn micros(time: Duration) -> String {
    format!("{}us", time.as_micros())
}

fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

fn notes(link: &LinkConfig) -> Vec<Note> {
    let note = |is_left_out| {
        move |(is_so, setting, text): (bool, &'static str, &'static str)| {
            is_so.then_some(Note {
                setting,
                is_left_out,
                text,
            })
        }
    };
    let left_out = left_out(link).into_iter().filter_map(note(true));
    let different = different(link).into_iter().filter_map(note(false));
    left_out.chain(different).collect()
}

/// Whether a setting is in use that netem has no word for, which, and what happens instead.
fn left_out(link: &LinkConfig) -> [(bool, &'static str, &'static str); 9] {
    let is_normal = link
        .jitter
        .is_some_and(|jitter| matches!(jitter.spread, Spread::Normal(_)));
    let stops = |step: &Step| step.rate.is_some_and(|rate| rate.bits_per_second() == 0);
    [
        (link.codel.is_some(), "codel", "the queue drops at its tail"),
        (
            link.policer.is_some(),
            "policer",
            "nothing is dropped in front of the queue",
        ),
        (
            link.mark_above.is_some(),
            "mark-above",
            "no packet is marked",
        ),
        (
            link.blackout.is_some(),
            "blackout",
            "everything passes at any time",
        ),
        (
            link.aggregate.is_some(),
            "aggregate",
            "packets arrive singly",
        ),
        (
            link.mtu != usize::MAX && link.mtu != 1500,
            "mtu",
            "the devices carry 1500 bytes",
        ),
        (
            link.steps.iter().any(|step| step.mtu.is_some()),
            "step.mtu",
            "the devices carry 1500 bytes",
        ),
        (
            is_normal,
            "jitter-shape",
            "netem's normal distribution has two sides",
        ),
        (
            link.steps.iter().any(stops),
            "step.rate",
            "a rate of zero would mean no limit, so the rate before it stays",
        ),
    ]
}

/// Whether a setting is in use that means something else to netem, which, and what.
fn different(link: &LinkConfig) -> [(bool, &'static str, &'static str); 4] {
    let has_loss = link.loss != Loss::None || link.steps.iter().any(|step| step.loss.is_some());
    let reorders = link.jitter.is_some_and(|jitter| !jitter.keep_order);
    [
        (
            reorders && link.rate.is_some(),
            "jitter-reorders",
            "behind its rate netem keeps packets in order",
        ),
        (
            link.reorder.is_some(),
            "reorder-by",
            "the chosen packets skip the delay and the rate instead of being held back",
        ),
        (
            has_loss && link.rate.is_some(),
            "loss",
            "lost packets vanish in front of the bottleneck and take no capacity",
        ),
        (
            link.rate.is_some() && link.queue != QueueLimit::Unlimited,
            "queue",
            "the limit counts packets of full size, whatever their own",
        ),
    ]
}

#[cfg(test)]
mod tests;
