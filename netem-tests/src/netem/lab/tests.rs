//! Tests of netem across real namespaces, where the running kernel has it. Elsewhere they say so.

use rp_protocol::units::Bandwidth;

use super::*;
use crate::tcp;

#[test]
fn kernel_tcp_passes_whole_through_netem_and_nothing_remains() {
    if let Some(reason) = unavailable() {
        println!("SKIPPED kernel_tcp_passes_whole_through_netem_and_nothing_remains: {reason}");
        return;
    }
    let rate = Bandwidth::from_bits_per_second(50_000_000);
    let link = LinkConfig::new(rate, Duration::from_millis(10));
    let lab = NetemLab::start(&link, &link).unwrap();
    let names = [&lab.near, &lab.far, &lab.router].map(|n| n.name().to_owned());
    let limit = Duration::from_secs(20);
    let transfer = tcp::transfer_between(lab.near(), lab.far(), "cubic", 2_000_000, limit).unwrap();
    assert!(transfer.is_complete);
    let (forward, _) = lab.report().unwrap();
    assert!(forward.bytes > 2_000_000);
    // Segmentation happened before netem.
    let mean = forward.bytes / forward.packets;
    assert!(mean <= 1514, "mean packet {mean}");
    lab.stop().unwrap();
    let left = netns::existing().unwrap();
    assert!(!left.iter().any(|name| names.contains(name)), "{left:?}");
}

#[test]
fn a_kernel_without_netem_is_told_from_one_with_it() {
    // Whichever this is, the answer is in words or none, and the probe leaves nothing behind.
    if let Some(reason) = unavailable() {
        assert!(!reason.is_empty());
    }
    let left = netns::existing().unwrap();
    let own = format!("rplab-{}-", std::process::id());
    assert!(!left.iter().any(|name| name.starts_with(&own)), "{left:?}");
}
