//! Spellings that are understood and spellings that are not.

use super::*;

fn mbit(text: &str) -> f64 {
    parse(text).unwrap().bits_per_second() as f64 / 1e6
}

#[test]
fn spellings_of_the_same_rate_agree() {
    for text in [
        "200M",
        "200m",
        "200Mbit",
        "200Mbit/s",
        "200 Mbps",
        "200Mb/s",
        "25MB/s",
        "0.2G",
    ] {
        assert_eq!(mbit(text), 200.0, "{text}");
    }
    assert_eq!(parse("8000").unwrap().bytes_per_second(), 1000);
    assert_eq!(parse("1MiB/s").unwrap().bytes_per_second(), 1 << 20);
    assert_eq!(parse(" 1.5G ").unwrap().bits_per_second(), 1_500_000_000);
    assert_eq!(parse("10k").unwrap().bits_per_second(), 10_000);
    assert_eq!(parse("1T").unwrap().bits_per_second(), 1_000_000_000_000);
}

#[test]
fn what_is_no_rate_is_refused() {
    for text in [
        "", "0", "M", "-1M", "1.2.3M", "10X", "10MM", "1e9", "NaN", "inf", "99999T", "10 M x", "7",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
