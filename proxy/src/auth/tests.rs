//! Right, wrong and malformed credentials.

use super::*;

fn credentials() -> Credentials {
    let mut credentials = Credentials::default();
    credentials.add("alice", "open:sesame");
    credentials.add("bob", "");
    credentials
}

#[test]
fn only_the_right_pair_is_let_in() {
    let known = credentials();
    assert!(known.accepts(b"alice", b"open:sesame"));
    assert!(known.accepts(b"bob", b""));
    assert!(!known.accepts(b"alice", b""));
    assert!(!known.accepts(b"bob", b"open:sesame"));
    assert!(!known.accepts(b"", b""));
    assert!(!Credentials::default().accepts(b"", b""));
}

#[tokio::test(start_paused = true)]
async fn basic_splits_at_the_first_colon() {
    let header = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
    let known = credentials();
    let admits = async |value: &str| {
        known
            .admit_basic([192, 0, 2, 1].into(), value.as_bytes())
            .await
    };
    assert!(admits(&header("alice:open:sesame")).await);
    assert!(admits(&header("bob:").replace("Basic", "bAsIc")).await);
    assert!(!admits(&header("alice")).await);
    for wrong in ["", "Basic", "Basic !", "Bearer YWxpY2U6", "Basicx YTpi"] {
        assert!(!admits(wrong).await, "{wrong}");
    }
}

#[test]
fn passwords_never_reach_a_log() {
    assert_eq!(format!("{:?}", credentials()), "Credentials(2 users)");
}

#[test]
fn replaced_users_are_let_in_by_all_clones() {
    let known = credentials();
    let clone = known.clone();
    let mut others = Credentials::default();
    others.add("carol", "x");
    known.replace(&others);
    assert!(clone.accepts(b"carol", b"x"));
    assert!(!clone.accepts(b"alice", b"open:sesame"));
    known.replace(&Credentials::default());
    assert!(!clone.is_required());
}
