//! What a relay takes while nothing moves.

use std::sync::Arc;

use super::*;

fn size_of_result<A, B, C, D, R>(_: impl FnOnce(A, B, C, D) -> R) -> usize {
    size_of::<R>()
}

#[test]
fn an_idle_relay_holds_its_arguments_once() {
    let size = size_of_result(relay::<Arc<Traffic>>);
    assert!(size <= 1200, "{size} bytes");
}
