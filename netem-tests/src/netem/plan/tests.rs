//! Tests of what netem is told, word by word.

use super::*;
use crate::{
    loss::GilbertElliott,
    queue::{Codel, Policer},
};

fn mbit(rate: u64) -> Bandwidth {
    Bandwidth::from_bits_per_second(rate * 1_000_000)
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn words(plan: &Plan) -> String {
    plan.qdisc.join(" ")
}

fn settings(plan: &Plan) -> Vec<&'static str> {
    plan.notes.iter().map(|note| note.setting).collect()
}

#[test]
fn a_plain_link_is_delay_loss_rate_and_a_limit_that_counts_what_is_under_way() {
    let link = LinkConfig::new(mbit(50), ms(50)).loss(Loss::bernoulli(0.01));
    let plan = Plan::of(&link);
    // 50 Mbit/s x 100 ms are 416 packets that wait, and half as many are under way.
    assert_eq!(
        words(&plan),
        "netem limit 625 delay 50000us loss random 1% rate 50000000bit -14"
    );
    assert_eq!(settings(&plan), ["loss", "queue"]);
}

#[test]
fn a_link_that_only_delays_has_no_rate_and_no_note() {
    let plan = Plan::of(&LinkConfig::unlimited(ms(5)));
    assert_eq!(words(&plan), "netem limit 10000000 delay 5000us");
    assert_eq!(plan.notes, []);
}

#[test]
fn bursts_jitter_duplicates_and_damage_have_their_words() {
    let link = LinkConfig::unlimited(ms(10))
        .loss(Loss::GilbertElliott(GilbertElliott {
            enter_bad: 0.01,
            leave_bad: 0.2,
            loss_good: 0.001,
            loss_bad: 0.5,
        }))
        .jitter(Spread::Uniform(ms(8)), true)
        .duplicate(0.002)
        .corrupt(0.0005);
    assert_eq!(
        words(&Plan::of(&link)),
        "netem limit 10000000 delay 14000us 4000us loss gemodel 1% 20% 50% 0.1% duplicate 0.2% corrupt 0.05%"
    );
}

#[test]
fn what_netem_cannot_do_is_named() {
    let link = LinkConfig::new(mbit(10), ms(10))
        .codel(Codel::default())
        .policer(Policer {
            rate: mbit(5),
            burst_bytes: 10_000,
        })
        .mark_above(ms(5))
        .mtu(1280)
        .jitter(Spread::Normal(ms(2)), false)
        .reorder(0.03, ms(10));
    let plan = Plan::of(&link);
    let missing: Vec<&str> = plan
        .notes
        .iter()
        .filter(|note| note.is_left_out)
        .map(|note| note.setting)
        .collect();
    assert_eq!(
        missing,
        ["codel", "policer", "mark-above", "mtu", "jitter-shape"]
    );
    assert_eq!(
        settings(&plan)[5..],
        ["jitter-reorders", "reorder-by", "queue"]
    );
    assert_eq!(
        plan.notes[0].to_string(),
        "`codel` is left out: the queue drops at its tail"
    );
}

#[test]
fn steps_repeat_what_stays_and_change_what_changes() {
    let link = LinkConfig::new(mbit(100), ms(50)).steps(vec![
        Step {
            at: ms(1000),
            rate: Some(mbit(10)),
            ..Step::default()
        },
        Step {
            at: ms(2000),
            delay: Some(ms(80)),
            loss: Some(Loss::Bernoulli(1.0)),
            ..Step::default()
        },
    ]);
    let steps = Plan::of(&link).steps;
    assert_eq!(steps[0].0, ms(1000));
    assert_eq!(
        steps[0].1.join(" "),
        "netem limit 875 delay 50000us rate 10000000bit -14"
    );
    assert_eq!(
        steps[1].1.join(" "),
        "netem limit 900 delay 80000us loss random 100% rate 10000000bit -14"
    );
}

#[test]
fn a_queue_in_time_follows_the_rate() {
    let link = LinkConfig::new(mbit(12), ms(10))
        .queue(QueueLimit::Time(ms(100)))
        .steps(vec![Step {
            at: ms(1),
            rate: Some(mbit(24)),
            ..Step::default()
        }]);
    let plan = Plan::of(&link);
    assert_eq!(plan.qdisc[2], "110");
    assert_eq!(plan.steps[0].1[2], "220");
}
