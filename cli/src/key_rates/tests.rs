//! Who shares what.

use super::*;

#[test]
fn connections_of_a_key_share_its_rate_and_nothing_is_kept_without_them() {
    let rates = KeyRates::default();
    let [one, other] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
    let [slow, fast] = [1, 2].map(Bandwidth::from_bytes_per_second);
    let held = rates.get(one, slow);
    assert!(Arc::ptr_eq(&held, &rates.get(one, slow)));
    assert!(!Arc::ptr_eq(&held, &rates.get(one, fast)));
    assert!(!Arc::ptr_eq(&held, &rates.get(other, slow)));
    drop(held);
    drop(rates.get(one, fast));
    let _last = rates.get(other, fast);
    assert_eq!(rates.rates.lock().unwrap().len(), 1);
}
