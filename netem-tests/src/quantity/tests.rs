//! Tests of the text forms of quantities.

use super::*;

#[test]
fn quantities_are_read_with_their_units() {
    assert_eq!(
        "100Mbit".parse(),
        Ok(Rate(Bandwidth::from_bits_per_second(100_000_000)))
    );
    assert_eq!(
        "2.5 Gbit/s".parse(),
        Ok(Rate(Bandwidth::from_bits_per_second(2_500_000_000)))
    );
    assert_eq!("0.5ms".parse(), Ok(Time(Duration::from_micros(500))));
    assert_eq!("64KB".parse(), Ok(Size(64_000)));
    assert_eq!("0.1%".parse(), Ok(Share(0.001)));
}

#[test]
fn a_queue_may_be_in_bdps_time_or_bytes() {
    assert_eq!("0.25BDP".parse(), Ok(Queue(QueueLimit::Bdp(0.25))));
    assert_eq!(
        "50ms".parse(),
        Ok(Queue(QueueLimit::Time(Duration::from_millis(50))))
    );
    assert_eq!("3000B".parse(), Ok(Queue(QueueLimit::Bytes(3000))));
    assert_eq!("unlimited".parse(), Ok(Queue(QueueLimit::Unlimited)));
}

#[test]
fn nonsense_is_refused_in_words() {
    let message = |result: Result<(), QuantityError>| result.unwrap_err().to_string();
    assert_eq!(
        message("100".parse::<Rate>().map(|_| ())),
        "`100` is not a rate such as `100Mbit`"
    );
    assert_eq!(
        message("101%".parse::<Share>().map(|_| ())),
        "`101%` is not a share from `0%` to `100%`"
    );
    assert!("-1ms".parse::<Time>().is_err());
    assert!("1..2s".parse::<Time>().is_err());
    assert!("".parse::<Size>().is_err());
    assert!("5 apples".parse::<Queue>().is_err());
}
