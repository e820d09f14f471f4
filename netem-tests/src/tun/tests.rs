//! Tests of the emulator across real namespaces. Without root they cannot run and say so.

use rp_protocol::units::Bandwidth;

use super::*;
use crate::tcp;

/// Says why a test that needs root proves nothing here.
fn skipped(test: &str) -> bool {
    let reason = netns::unavailable();
    if let Some(reason) = reason {
        println!("SKIPPED {test}: {reason}");
    }
    reason.is_some()
}

#[test]
fn kernel_tcp_passes_whole_and_nothing_remains() {
    if skipped("kernel_tcp_passes_whole_and_nothing_remains") {
        return;
    }
    let rate = Bandwidth::from_bits_per_second(50_000_000);
    let link = LinkConfig::new(rate, Duration::from_millis(10));
    let lab = TunLab::start(link.clone(), link, 1).unwrap();
    let names = [lab.near().name().to_owned(), lab.far().name().to_owned()];
    let limit = Duration::from_secs(20);
    let transfer = tcp::transfer(&lab, "cubic", 2_000_000, limit).unwrap();
    assert!(transfer.is_complete);
    let report = lab.stop().unwrap();
    assert!(report.forward.delivered_bytes > 2_000_000);
    // Segmentation happened before the link.
    let mean = report.forward.offered_bytes / report.forward.offered;
    assert!(mean <= u64::from(MTU), "mean packet {mean}");
    let left = netns::existing().unwrap();
    assert!(!names.iter().any(|name| left.contains(name)), "{left:?}");
}

#[test]
fn namespaces_of_a_dead_process_are_cleaned_and_others_kept() {
    if skipped("namespaces_of_a_dead_process_are_cleaned_and_others_kept") {
        return;
    }
    let mine = Namespace::create("kept").unwrap();
    // Process numbers end at 4194304, so nobody has this one.
    let dead = "rplab-4999999-1-dead";
    std::process::Command::new("ip")
        .args(["netns", "add", dead])
        .status()
        .unwrap();
    // A test running at the same time may have cleaned it already.
    netns::clean().unwrap();
    let left = netns::existing().unwrap();
    assert!(!left.iter().any(|name| name == dead));
    assert!(left.iter().any(|name| name == mine.name()));
}
