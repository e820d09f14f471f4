//! Selection and order of resolved addresses.

use hickory_resolver::proto::{
    op::{Message, OpCode},
    rr::{RData, Record, rdata::A},
};
use tokio::sync::watch;

use super::*;

fn addrs(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

#[test]
fn families_take_turns_from_the_first_choice_on() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# The exit SHOULD try the addresses of a name as RFC 8305 describes: families alternating, 250
    //# ms apart, at most 16 of them, 10 seconds in all.
    let found = addrs(&["[2606::1]:80", "[2606::2]:80", "[2606::3]:80", "1.1.1.1:80"]);
    let expected = addrs(&["[2606::1]:80", "1.1.1.1:80", "[2606::2]:80", "[2606::3]:80"]);
    assert_eq!(select(&found, &Policy::default()), Ok(expected));
}

#[test]
fn denied_addresses_are_left_out() {
    let found = addrs(&["127.0.0.1:80", "1.1.1.1:80", "1.1.1.1:80", "10.0.0.1:80"]);
    assert_eq!(
        select(&found, &Policy::default()),
        Ok(addrs(&["1.1.1.1:80"]))
    );
}

#[test]
fn only_denied_addresses_means_denied() {
    let failure = select(&addrs(&["127.0.0.1:80"]), &Policy::default()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Denied);
    assert_eq!(failure.reason, "loopback address");
    assert_eq!(
        select(&[], &Policy::default()).unwrap_err().kind,
        FailureKind::NameNotFound
    );
}

/// A name server that answers for `live*` with one address, for `half*` too but not when asked for IPv6, and says nothing
/// to other questions, and the count of those.
async fn name_server() -> (Resolver, watch::Receiver<usize>) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let (count, silenced) = watch::channel(0);
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..len]).unwrap();
            let query = asked.queries[0].clone();
            let name = query.name().to_utf8();
            let is_half = name.starts_with("half") && query.query_type() == RecordType::A;
            if !name.starts_with("live") && !is_half {
                count.send_modify(|count| *count += 1);
                continue;
            }
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            if query.query_type() == RecordType::A {
                let data = RData::A(A::new(1, 1, 1, 1));
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
            answer.add_query(query);
            let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
        }
    });
    let resolver = Resolver::new(1000).asking(&[([127, 0, 0, 1], port).into()]);
    (resolver, silenced)
}

fn name(text: &str) -> Target {
    Target::parse(&format!("{text}:80"), None).unwrap()
}

async fn resolve(
    resolver: &Resolver,
    target: &str,
    client: &str,
) -> Result<Vec<SocketAddr>, DialFailure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let policy = Policy::default();
    resolver
        .resolve(&name(target), &policy, client, deadline)
        .await
}

#[tokio::test]
async fn a_numeric_name_cannot_dodge_the_policy() {
    let (resolver, _silenced) = name_server().await;
    for disguise in ["2130706433", "0x7f.1", "127.1", "localhost", "localhost."] {
        let deadline = Instant::now() + Duration::from_millis(200);
        let target = name(disguise);
        let policy = Policy::default();
        let failure = resolver
            .resolve(&target, &policy, "key", deadline)
            .await
            .unwrap_err();
        assert!(
            matches!(failure.kind, FailureKind::Denied | FailureKind::TimedOut),
            "{disguise}: {failure}"
        );
    }
}

#[tokio::test]
async fn names_nobody_answers_for_hold_up_neither_their_own_client_nor_others() {
    let (resolver, mut silenced) = name_server().await;
    let resolver = Arc::new(resolver);
    let dead: Vec<_> = (0..1400)
        .map(|number| {
            let resolver = resolver.clone();
            tokio::spawn(
                async move { resolve(&resolver, &format!("dead{number}.test"), "flood").await },
            )
        })
        .collect();
    //= spec/10-proxy.md#egress
    //= type=test
    //# Names of one client that nobody answers for MUST NOT hold up those of another.
    // As many as one client's share are under way, each with its two questions.
    silenced.wait_for(|count| *count >= 900).await.unwrap();
    let live = Ok(addrs(&["1.1.1.1:80"]));
    assert_eq!(resolve(&resolver, "live.test", "honest").await, live);
    assert!(dead.iter().all(|lookup| !lookup.is_finished()));
    for lookup in &dead {
        lookup.abort();
    }
    for lookup in dead {
        let _ = lookup.await;
    }
    assert_eq!(resolve(&resolver, "live2.test", "flood").await, live);
}

#[tokio::test]
async fn a_name_server_that_says_nothing_is_a_timeout_and_not_an_unknown_name() {
    let (resolver, _silenced) = name_server().await;
    let deadline = Instant::now() + Duration::from_millis(50);
    let target = name("dead.test");
    let failure = resolver
        .resolve(&target, &Policy::default(), "key", deadline)
        .await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::TimedOut);
}

#[tokio::test]
async fn silence_about_ipv6_does_not_hold_up_ipv4() {
    //= spec/10-proxy.md#egress
    //= type=test
    //# An exit SHOULD NOT wait for the IPv6 addresses of a name for longer than 50 ms once it has IPv4 addresses.
    let (resolver, silenced) = name_server().await;
    // Shorter than the question about IPv6 is waited for.
    let deadline = Instant::now() + MAX_QUERY_TIMEOUT;
    let target = name("half.test");
    let policy = Policy::default();
    let found = resolver.resolve(&target, &policy, "key", deadline);
    assert_eq!(found.await, Ok(addrs(&["1.1.1.1:80"])));
    assert!(*silenced.borrow() > 0);
}
