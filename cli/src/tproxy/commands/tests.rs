//! What is recognised as ours in what `ip` prints.

use super::*;

const RULES: &str = "0:\tfrom all lookup local
7270:\tfrom all fwmark 0x7270 lookup 7270
7270:\tfrom all fwmark 0x7270 lookup 7270
32766:\tfrom all lookup main
";

#[test]
fn our_rules_are_counted_and_others_are_not() {
    assert_eq!(count_rules(RULES), 2);
    for other in [
        "7270:\tfrom all fwmark 0x72700 lookup 7270",
        "7271:\tfrom all fwmark 0x7270 lookup 7270",
        "7270:\tfrom all fwmark 0x7270 lookup main",
        "7270:\tfrom 10.0.0.0/8 fwmark 0x7270 lookup 7270",
    ] {
        assert_eq!(count_rules(other), 0, "{other}");
    }
}

#[test]
fn somebody_elses_use_of_our_numbers_is_noticed() {
    let ours = "local default dev lo scope host \n";
    assert_eq!(stranger(RULES, ours), None);
    assert_eq!(stranger(RULES, ""), None);
    let ours_v6 = "local default dev lo metric 1024 pref medium\n";
    assert_eq!(stranger("", ours_v6), None);
    let rule = "7270:\tfrom all fwmark 0x1 lookup 100";
    assert_eq!(stranger(rule, ours), Some(rule));
    let route = "10.0.0.0/8 via 10.1.1.1 dev eth0";
    assert_eq!(stranger(RULES, route), Some(route));
}

#[test]
fn a_step_reads_as_shell() {
    assert_eq!(
        Step::add_rule(Family::V6).to_string(),
        "ip -6 rule add priority 7270 fwmark 0x7270 lookup 7270"
    );
    assert_eq!(
        Step::load("table inet x\n".to_owned()).to_string(),
        "nft -f - <<'END'\ntable inet x\nEND"
    );
}
