use super::*;

#[test]
fn no_more_chunks_are_kept_than_there_is_room_for() {
    //= spec/20-copy.md#older-destination
    //= type=test
    //# A receiver MUST bound how many chunks of an older file it keeps.
    let file = tempfile::tempfile().unwrap();
    let mut older = Older::new(Some(file), vec![(0, 1)], Scale::MIN);
    for index in 0..MAX_KNOWN as u64 + 9 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&index.to_be_bytes());
        older.know(&Chunk {
            length: 1,
            id: id.into(),
        });
    }
    assert_eq!(older.known.len(), MAX_KNOWN);
    assert!(!older.is_looking);
}
