//! Who may keep how much.

use bytes::Bytes;

use super::*;
use crate::target::Target;

fn datagram(number: usize, len: usize) -> Datagram {
    let mut payload = vec![0; len];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    Datagram {
        address: Target::parse("192.0.2.1:7", None).unwrap(),
        payload: Bytes::from(payload),
    }
}

fn number(datagram: &Datagram) -> usize {
    usize::from_le_bytes(datagram.payload[..8].try_into().unwrap())
}

fn budget(total: usize) -> (Arc<QueueBudget>, Arc<AtomicU64>) {
    let discarded = Arc::<AtomicU64>::default();
    (QueueBudget::new(total, discarded.clone()), discarded)
}

#[tokio::test]
async fn the_oldest_make_room_and_a_queue_never_keeps_more_than_its_bound() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# Where a bound is reached, the oldest datagrams of the association SHOULD be discarded.
    let (budget, discarded) = budget(1 << 30);
    let queue = Queue::new(budget.share());
    for at in 0..1000 {
        queue.push(datagram(at, 1400));
    }
    assert!(queue.lock().bytes <= ASSOCIATION_BYTES);
    assert_eq!(budget.used.load(Ordering::Relaxed), queue.lock().bytes);
    queue.close();
    let mut kept = Vec::new();
    while let Some(datagram) = queue.pop().await {
        kept.push(number(&datagram));
    }
    let first = 1000 - kept.len();
    assert_eq!(kept, (first..1000).collect::<Vec<_>>());
    assert!(kept.len() >= 40, "{}", kept.len());
    assert_eq!(discarded.load(Ordering::Relaxed), first as u64);
    assert_eq!(budget.used.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_connection_that_keeps_all_it_can_leaves_others_their_share() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# Each side MUST bound the datagrams that wait, for each association, for each connection and in all.
    let (budget, _) = budget(4 << 20);
    let flood = |share: &Arc<QueueShare>| {
        let queues: Vec<_> = (0..1000).map(|_| Queue::new(share.clone())).collect();
        for at in 0..50 {
            for queue in &queues {
                queue.push(datagram(at, 1400));
            }
        }
        queues
    };
    let (greedy, second) = (budget.share(), budget.share());
    let held = flood(&greedy);
    let used = budget.used.load(Ordering::Relaxed);
    assert!(used <= 2 << 20, "{used}");
    let more = flood(&second);
    // A third with a single association keeps all that one may, although nobody reads the others'.
    let honest = Queue::new(budget.share());
    for at in 0..40 {
        honest.push(datagram(at, 1400));
    }
    honest.close();
    let mut kept = 0;
    while honest.pop().await.is_some() {
        kept += 1;
    }
    assert_eq!(kept, 40);
    drop((held, more, honest));
    assert_eq!(budget.used.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_arrives_after_the_end_is_not_kept() {
    let (budget, discarded) = budget(1 << 20);
    let queue = Queue::new(budget.share());
    queue.push(datagram(1, 8));
    queue.close();
    queue.push(datagram(2, 8));
    assert_eq!(queue.pop().await.map(|kept| number(&kept)), Some(1));
    assert_eq!(queue.pop().await, None);
    assert_eq!(discarded.load(Ordering::Relaxed), 1);
}
