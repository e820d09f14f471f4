//! Each finding names its cause and its remedy.

use std::net::Ipv4Addr;

use super::{
    server::{route_v4, route_v6},
    *,
};

#[test]
fn small_buffers_come_with_lines_to_paste() {
    let found = buffers(212_992, 212_992, true);
    assert_eq!(found.severity, Severity::Note);
    assert!(found.text.contains("208 kB"), "{found}");
    assert!(
        found.remedy[0].starts_with("sysctl -w net.core.rmem_max=8388608"),
        "{found}"
    );
    assert!(found.remedy[1].contains("/etc/sysctl.d/"), "{found}");
    assert_eq!(buffers(8 << 20, 8 << 20, false).severity, Severity::Ok);
    // Root passes the limit, whoever the service runs as does not.
    let limited = buffers(8 << 20, 8 << 20, true);
    assert!(limited.text.contains("other users"), "{limited}");
}

#[test]
fn an_mtu_is_judged_by_what_our_packets_need() {
    let of = |mtu| interface_mtu(Some(("eth0".into(), mtu)));
    assert_eq!(of(1500).severity, Severity::Ok);
    assert_eq!(of(1400).severity, Severity::Note);
    let low = of(1000);
    assert_eq!(low.severity, Severity::Bad);
    assert!(low.text.contains("1000 on eth0"), "{low}");
    assert_eq!(low.remedy, ["ip link set dev eth0 mtu 1500"]);
    assert_eq!(interface_mtu(None).severity, Severity::Ok);
}

#[test]
fn clocks_descriptors_and_segmentation_are_judged() {
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(clock(day * 9, day * 10, Some("tsc")).severity, Severity::Ok);
    let wrong = clock(day * 8, day * 10, Some("tsc"));
    assert_eq!(wrong.severity, Severity::Bad);
    assert!(wrong.text.contains("expiry-time"), "{wrong}");
    assert!(clock(day, day, Some("hpet")).text.contains("hpet"));
    assert_eq!(descriptors(1024).severity, Severity::Note);
    assert_eq!(descriptors(65536).severity, Severity::Ok);
    assert_eq!(segmentation(1).severity, Severity::Note);
    assert_eq!(segmentation(64).severity, Severity::Ok);
}

#[test]
fn a_path_that_carries_less_than_the_interface_is_named() {
    let reached = Reached {
        rtt: Duration::from_millis(100),
        max_payload: 1300,
        blocked_above: Some(1500),
    };
    let findings = server_findings("host:7377", Ok(reached));
    assert!(findings[0].text.contains("RTT 100.0 ms"), "{findings:?}");
    assert!(
        findings[1].text.contains("1328 bytes arrive"),
        "{findings:?}"
    );
    assert_eq!(findings[1].severity, Severity::Note);
}

#[test]
fn the_verdict_is_one_line_and_a_number() {
    let found = |severity, what| Finding::new(severity, what, "", &[]);
    let code = |findings: &[Finding]| verdict(findings).0;
    let fine = found(Severity::Ok, "GSO");
    assert_eq!(
        verdict(std::slice::from_ref(&fine)),
        (ExitCode::Ok, "verdict: all is well".into())
    );
    let slow = found(Severity::Note, "MTU");
    let (ok, text) = verdict(&[fine, slow.clone()]);
    assert_eq!(ok, ExitCode::Ok);
    assert!(text.ends_with("could be better: MTU"), "{text}");
    assert_eq!(
        code(&[slow.clone(), found(Severity::Bad, "clock")]),
        ExitCode::Failed
    );
    let (cut_off, text) = verdict(&[slow, found(Severity::Bad, "server")]);
    assert_eq!(cut_off, ExitCode::Connect);
    assert!(text.ends_with("does not work: server"), "{text}");
    assert_eq!(
        found(Severity::Bad, "MTU").to_string().trim_end(),
        "BAD   MTU"
    );
}

#[test]
fn the_interface_is_that_of_the_longest_prefix() {
    let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
    let of = |to: &str| route_v4(table, to.parse().unwrap());
    assert_eq!(of("10.1.2.3").as_deref(), Some("tun0"));
    assert_eq!(of("192.0.2.1").as_deref(), Some("eth0"));
    assert_eq!(route_v4("", Ipv4Addr::LOCALHOST), None);
    let table = "\
        20010db8000000000000000000000000 20 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth1\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";
    let of = |to: &str| route_v6(table, to.parse().unwrap());
    assert_eq!(of("2001:db8::1").as_deref(), Some("eth0"));
    assert_eq!(of("2001:dead::1").as_deref(), Some("eth1"));
}
