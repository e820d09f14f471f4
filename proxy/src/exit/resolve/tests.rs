//! Selection and order of resolved addresses.

use super::*;

fn addrs(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

#[test]
fn families_take_turns_from_the_first_choice_on() {
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

#[tokio::test]
async fn a_numeric_name_cannot_dodge_the_policy() {
    for disguise in ["2130706433", "0x7f.1", "127.1", "localhost", "localhost."] {
        let target = Target::parse(&format!("{disguise}:80"), None).unwrap();
        let failure = resolve(&target, &Policy::default(), Duration::from_secs(10))
            .await
            .unwrap_err();
        assert!(
            matches!(
                failure.kind,
                FailureKind::Denied | FailureKind::NameNotFound
            ),
            "{disguise}: {failure}"
        );
    }
}
