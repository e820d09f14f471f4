use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::wire::id::PathId;

fn loopback() -> Socket {
    Socket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

fn transmit(to: SocketAddr, len: usize, segment_size: Option<usize>) -> Transmit {
    Transmit {
        path: PathId::INITIAL,
        remote: to,
        local_ip: None,
        len,
        segment_size,
        ecn: Some(EcnCodepoint::Ect0),
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Receive until `bytes` have come.
async fn receive(socket: &Socket, slots: &mut ReceiveSlots, bytes: usize) -> Vec<Received> {
    let watch = socket.watch().unwrap();
    let mut all = Vec::new();
    while all
        .iter()
        .map(|one: &Received| one.payload.len())
        .sum::<usize>()
        < bytes
    {
        watch.readable().await.unwrap();
        match watch.receive(|| socket.try_receive(slots, |one| all.push(one))) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    all
}

fn datagrams(received: &[Received]) -> Vec<Vec<u8>> {
    received
        .iter()
        .flat_map(|one| one.payload.chunks(one.stride).map(<[u8]>::to_vec))
        .collect()
}

#[tokio::test]
async fn a_batch_arrives_as_the_datagrams_it_was_made_of() {
    let (from, to) = (loopback(), loopback());
    let contents = pattern(40 * 1200 + 77);
    let what = transmit(to.local_addr().unwrap(), contents.len(), Some(1200));
    from.try_send(&what, &contents).unwrap();

    let received = receive(&to, &mut ReceiveSlots::new(), contents.len()).await;
    let expected: Vec<_> = contents.chunks(1200).map(<[u8]>::to_vec).collect();
    assert_eq!(datagrams(&received), expected);
    assert!(
        received
            .iter()
            .all(|one| one.remote == from.local_addr().unwrap())
    );
    assert_eq!(to.counters.received_datagrams.load(Relaxed), 41);
    assert_eq!(from.counters.sent_datagrams.load(Relaxed), 41);
}

#[tokio::test]
async fn ecn_and_the_local_address_come_with_a_datagram() {
    let (from, to) = (loopback(), loopback());
    let what = transmit(to.local_addr().unwrap(), 100, None);
    from.try_send(&what, &pattern(100)).unwrap();
    let received = receive(&to, &mut ReceiveSlots::new(), 100).await;
    assert_eq!(received[0].ecn, Some(EcnCodepoint::Ect0));
    if cfg!(target_os = "linux") {
        assert_eq!(received[0].local_ip, Some(Ipv4Addr::LOCALHOST.into()));
    }
}

/// The kernel refuses more segments than its limit the way it refuses segmentation altogether.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_refused_batch_is_sent_again_singly_and_remembered_for_its_destination() {
    let (from, to) = (loopback(), loopback());
    let contents = pattern(300 * 100);
    let address = to.local_addr().unwrap();
    let what = transmit(address, contents.len(), Some(100));
    let mut slots = ReceiveSlots::new();

    from.try_send(&what, &contents).unwrap();
    let received = receive(&to, &mut slots, contents.len()).await;
    assert_eq!(datagrams(&received).concat(), contents);
    assert_eq!(from.counters.segmentation_refusals.load(Relaxed), 1);
    assert!(
        received
            .iter()
            .all(|one| one.ecn == Some(EcnCodepoint::Ect0))
    );

    from.try_send(&what, &contents).unwrap();
    receive(&to, &mut slots, contents.len()).await;
    assert_eq!(from.counters.segmentation_refusals.load(Relaxed), 1);
    assert_eq!(from.counters.send_calls.load(Relaxed), 600);
    assert!(from.refusals.has(address.ip(), clock::now()));
    assert!(
        !from
            .refusals
            .has(Ipv4Addr::new(127, 0, 0, 2).into(), clock::now())
    );
}

#[tokio::test]
async fn a_datagram_that_cannot_be_sent_is_counted_and_the_socket_lives() {
    let (from, to) = (loopback(), loopback());
    let address = to.local_addr().unwrap();
    // Larger than UDP allows.
    let huge = pattern(70_000);
    from.try_send(&transmit(address, huge.len(), None), &huge)
        .unwrap();
    assert_eq!(from.counters.send_errors.load(Relaxed), 1);
    from.try_send(&transmit(address, 10, None), &pattern(10))
        .unwrap();
    let received = receive(&to, &mut ReceiveSlots::new(), 10).await;
    assert_eq!(datagrams(&received), [pattern(10)]);
}

#[tokio::test]
async fn a_source_address_that_is_gone_is_not_insisted_on() {
    let to = loopback();
    let port = to.local_addr().unwrap().port();
    for local in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
        let Ok(from) = Socket::bind(SocketAddr::new(local, 0)) else {
            // No IPv6 on this machine.
            continue;
        };
        for (len, segment_size) in [(100, None), (40 * 1200, Some(1200))] {
            let remote = (Ipv4Addr::LOCALHOST, port).into();
            let mut what = transmit(remote, len, segment_size);
            what.local_ip = Some(Ipv4Addr::new(192, 0, 2, 1).into());
            from.try_send(&what, &pattern(len)).unwrap();
            let received = receive(&to, &mut ReceiveSlots::new(), len).await;
            assert_eq!(datagrams(&received).concat(), pattern(len));
        }
        assert_eq!(from.counters.send_errors.load(Relaxed), 0);
        assert!(from.refusals.is_empty(), "segmentation was not at fault");
    }
}

#[tokio::test]
async fn a_dual_stack_socket_names_ipv4_peers_by_their_ipv4_addresses() {
    let Ok(dual) = Socket::bind((Ipv6Addr::UNSPECIFIED, 0).into()) else {
        // No IPv6 on this machine: nothing to tell.
        return;
    };
    let plain = loopback();
    let port = dual.local_addr().unwrap().port();
    plain
        .try_send(
            &transmit((Ipv4Addr::LOCALHOST, port).into(), 10, None),
            &pattern(10),
        )
        .unwrap();
    let received = receive(&dual, &mut ReceiveSlots::new(), 10).await;
    assert_eq!(received[0].remote, plain.local_addr().unwrap());

    let mut answer = transmit(received[0].remote, 20, None);
    answer.local_ip = received[0].local_ip;
    dual.try_send(&answer, &pattern(20)).unwrap();
    let received = receive(&plain, &mut ReceiveSlots::new(), 20).await;
    assert_eq!(received[0].remote, (Ipv4Addr::LOCALHOST, port).into());
}

#[test]
fn a_refusal_is_forgotten_after_its_time_and_the_table_is_bounded() {
    let refusals = Refusals::default();
    let start = clock::now();
    let first = IpAddr::from([192, 0, 2, 1]);
    refusals.insert(first, start);
    assert!(refusals.has(first, start + Duration::from_secs(599)));
    assert!(!refusals.has(first, start + Duration::from_secs(600)));
    assert!(refusals.is_empty());
    for n in 0..10_000_u32 {
        refusals.insert(IpAddr::from(n.to_be_bytes()), start);
    }
    assert!(refusals.len() <= 4096);
}
