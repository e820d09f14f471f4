//! How long a flow lives, and which has to go for another.

use std::{net::Ipv4Addr, sync::atomic::AtomicU64};

use super::*;

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_only_asks_name_servers_ends_sooner() {
    let activity = Activity::new();
    let begin = Instant::now();
    activity.note_sent(&target("192.0.2.53:53"));
    let idle = DEFAULT_FLOW_IDLE;
    assert_eq!(activity.ends_at(idle), begin + NAME_SERVER_IDLE);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(activity.note_received([192, 0, 2, 53].into()));
    assert_eq!(activity.ends_at(idle), Instant::now() + NAME_SERVER_IDLE);
    activity.note_sent(&target("192.0.2.1:443"));
    activity.note_sent(&target("192.0.2.53:53"));
    assert_eq!(activity.ends_at(idle), Instant::now() + idle);
}

#[test]
fn a_flow_hears_from_those_it_has_sent_to_and_from_all_where_it_cannot_know_them() {
    let hears = |activity: &Activity, sender: &str| activity.note_received(sender.parse().unwrap());
    let activity = Activity::new();
    activity.note_sent(&target("192.0.2.1:69"));
    activity.note_sent(&target("[2001:db8::1]:69"));
    assert!(hears(&activity, "192.0.2.1"));
    assert!(hears(&activity, "::ffff:192.0.2.1"));
    assert!(hears(&activity, "2001:db8::1"));
    assert!(!hears(&activity, "192.0.2.2"));
    let many = Activity::new();
    for number in 0..=u32::try_from(MAX_ASKED).unwrap() {
        assert!(!hears(&many, "192.0.2.2"));
        let ip = Ipv4Addr::from(0x0a00_0000 + number);
        many.note_sent(&target(&format!("{ip}:53")));
    }
    assert!(hears(&many, "192.0.2.2"));
    activity.note_sent(&target("a.example:53"));
    assert!(hears(&activity, "192.0.2.2"));
}

#[test]
fn one_party_that_lets_all_it_can_wait_leaves_others_room() {
    let counter = Arc::<AtomicU64>::default();
    let budget = QueueBudget::new(QUEUE_BYTES, counter.clone());
    let discarded = || counter.load(Ordering::Relaxed);
    let waiting = |share: &Arc<QueueShare>| {
        let queue = Queue::new(share.clone());
        let datagram = || Datagram {
            address: target("192.0.2.1:53"),
            payload: vec![0; 60_000].into(),
        };
        queue.push(datagram());
        queue
    };
    let (greedy, honest) = (budget.share(), budget.share());
    // A flow for each datagram, as from another port each.
    let flood: Vec<_> = (0..1000).map(|_| waiting(&greedy)).collect();
    let lost = discarded();
    assert!(lost > 500, "{lost}");
    let served: Vec<_> = (0..50).map(|_| waiting(&honest)).collect();
    assert_eq!(discarded(), lost);
    drop((flood, served));
}
