//! Amounts as they are typed, and what a machine is believed to have.

use super::*;

#[test]
fn amounts_are_read_as_people_type_them() {
    let parsed = |text: &str| text.parse().map(MemoryBudget::bytes);
    assert_eq!(parsed("1G"), Ok(1 << 30));
    assert_eq!(parsed("1.5G"), Ok(3 << 29));
    assert_eq!(parsed("512 MiB"), Ok(512 << 20));
    assert_eq!(parsed("64m"), Ok(64 << 20));
    assert_eq!(parsed("16777216"), Ok(16 << 20));
}

#[test]
fn what_is_no_amount_or_too_little_is_refused_with_an_example() {
    for text in ["", "G", "1X", "15M", "0", "-1G", "1e9G", "9999999T", "1G5"] {
        let error = text.parse::<MemoryBudget>().unwrap_err();
        assert!(error.to_string().ends_with("write 512M or 1.5G"), "{error}");
    }
}

#[test]
fn a_machine_gives_a_part_of_what_it_has() {
    let budget = MemoryBudget::of_machine().bytes();
    assert!((UNSAID.0..=UNSAID.1).contains(&budget));
    assert!(machine_bytes().is_none_or(|all| budget <= (all / PART).max(UNSAID.0)));
}

#[test]
fn memory_is_looked_at_now_and_then() {
    let pressure = Pressure::above(100);
    let start = Instant::now();
    assert!(!pressure.is_high(start, || Some(100)));
    assert!(!pressure.is_high(start, || panic!("looked at twice")));
    assert!(pressure.is_high(start + LOOK, || Some(101)));
    assert!(pressure.is_high(start + LOOK, || panic!("looked at twice")));
    assert!(!pressure.is_high(start + 2 * LOOK, || None));
    assert!(resident_bytes().unwrap() > 1 << 20);
}

#[test]
fn what_a_machine_has_is_read_for_all_of_it_and_for_a_node() {
    let all = "MemTotal:       24683520 kB\nMemFree:        14052352 kB\n";
    assert_eq!(total(all), Some(24_683_520 << 10));
    let node = "Node 0 MemTotal:       8388608 kB\nNode 0 MemFree:  1 kB\n";
    assert_eq!(total(node), Some(8 << 30));
    assert_eq!(total("MemFree: 1 kB"), None);
}
