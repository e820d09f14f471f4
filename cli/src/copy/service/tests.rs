use rp_protocol::crypto::identity::PublicKey;

use super::*;

#[test]
fn a_user_who_holds_all_the_open_files_he_can_leaves_others_theirs() {
    let service = CopyService::default();
    let greedy = User::Key(PublicKey::from_bytes([1; 32]));
    let honest = User::Key(PublicKey::from_bytes([2; 32]));
    let held: Vec<_> = std::iter::from_fn(|| service.open_place(greedy)).collect();
    assert!(held.len() <= max_open_of_all() / 4, "{}", held.len());
    assert!(service.open_place(honest).is_some());
    drop(held);
    assert!(service.open_place(greedy).is_some());
}
