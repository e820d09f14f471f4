//! What waits for which name.

use std::{
    future::{pending, ready},
    sync::Arc,
};

use bytes::Bytes;

use super::*;
use crate::datagram::queue::QueueBudget;

fn names() -> Names {
    Names::new(Queue::new(
        QueueBudget::new(1 << 20, Arc::default()).share(),
    ))
}

fn datagram(name: &str) -> Datagram {
    Datagram {
        address: Target::parse(&format!("{name}:53"), None).unwrap(),
        payload: Bytes::copy_from_slice(name.as_bytes()),
    }
}

fn addr() -> SocketAddr {
    ([192, 0, 2, 1], 53).into()
}

#[tokio::test]
async fn a_name_nobody_answers_for_holds_up_no_other() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# A name that is being looked up MUST NOT hold up datagrams to other addresses.
    let mut names = names();
    names.look_up(datagram("dead.test"), |_| pending());
    for _ in 0..2 {
        names.look_up(datagram("live.test"), |_| ready(Ok(addr())));
    }
    let (name, found) = names.found().await.unwrap();
    assert_eq!((name, found), (datagram("live.test").address, Ok(addr())));
    let live = datagram("live.test");
    assert_eq!(names.released(), [live.clone(), live.clone()]);
    assert_eq!(names.get(&live.address), Some(addr()));
    assert_eq!(names.get(&datagram("dead.test").address), None);
    assert_eq!(names.waiting.take_all(), [datagram("dead.test")]);
}

#[tokio::test]
async fn lookups_at_once_and_names_are_bounded() {
    let mut names = names();
    for number in 0..100 {
        names.look_up(datagram(&format!("dead{number}.test")), |_| pending());
    }
    assert_eq!(names.lookups.len(), MAX_LOOKUPS);
    assert_eq!(names.waiting.take_all().len(), MAX_LOOKUPS);
    let mut names = self::names();
    let first = datagram("name0.test");
    for number in 0..200 {
        names.look_up(datagram(&format!("name{number}.test")), |_| {
            ready(Ok(addr()))
        });
        names.found().await.unwrap().1.unwrap();
        assert_eq!(names.released().len(), 1);
        // In use all the time, and so never the one that is forgotten.
        assert_eq!(names.get(&first.address), Some(addr()), "{number}");
    }
    assert_eq!(names.names.len(), MAX_NAMES);
}

#[tokio::test]
async fn a_name_without_an_address_is_asked_for_anew() {
    let mut names = names();
    let failure = DialFailure::new(crate::error::FailureKind::NameNotFound);
    let told = failure.clone();
    names.look_up(datagram("gone.test"), |_| ready(Err(told)));
    assert_eq!(names.found().await.unwrap().1, Err(failure));
    assert!(names.released().is_empty());
    names.look_up(datagram("gone.test"), |_| ready(Ok(addr())));
    assert_eq!(names.found().await.unwrap().1, Ok(addr()));
    assert_eq!(names.released().len(), 1);
}
