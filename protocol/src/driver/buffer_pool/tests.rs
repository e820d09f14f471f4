use super::*;

fn filled(pool: &mut BufferPool, slot: &mut BytesMut, byte: u8, len: usize) -> BytesMut {
    slot[..len].fill(byte);
    pool.take(slot, len)
}

#[test]
fn a_slot_is_whole_again_after_its_contents_were_taken() {
    let mut pool = BufferPool::default();
    let mut slot = pool.slot();
    for len in [0, 1, COPY_MAX, COPY_MAX + 1, SLOT_BYTES] {
        let taken = filled(&mut pool, &mut slot, 7, len);
        assert_eq!(taken.len(), len);
        assert!(taken.iter().all(|&byte| byte == 7));
        assert_eq!(slot.len(), SLOT_BYTES);
    }
}

#[test]
fn a_released_buffer_is_used_again() {
    let mut pool = BufferPool::default();
    let mut slot = pool.slot();
    let mut seen = std::collections::BTreeSet::new();
    for round in (0..=u8::MAX).cycle().take(1000) {
        let taken = filled(&mut pool, &mut slot, round, 40_000).freeze();
        seen.insert(taken.as_ptr() as usize);
    }
    assert!(seen.len() <= 3, "{} buffers for one at a time", seen.len());
}

#[test]
fn a_buffer_still_held_is_never_written_again() {
    let mut pool = BufferPool::default();
    let mut slot = pool.slot();
    let mut held = Vec::new();
    for round in (0..=u8::MAX).cycle().take(300) {
        let mut taken = filled(&mut pool, &mut slot, round, 30_000);
        held.push((round, taken.split_to(9000).freeze()));
        if round % 3 == 0 {
            held.remove(0);
        }
    }
    for (byte, slice) in held {
        assert!(slice.iter().all(|&b| b == byte));
    }
}

#[test]
fn a_small_receive_does_not_pin_its_slot() {
    let mut pool = BufferPool::default();
    let mut slot = pool.slot();
    let before = slot.as_ptr();
    let taken = filled(&mut pool, &mut slot, 1, 1452);
    assert_eq!(slot.as_ptr(), before);
    assert!(taken.capacity() < SLOT_BYTES);
}

#[test]
fn the_watch_list_is_bounded() {
    let mut pool = BufferPool::default();
    let mut slot = pool.slot();
    let held: Vec<_> = (0..500)
        .map(|_| filled(&mut pool, &mut slot, 0, 50_000))
        .collect();
    assert_eq!(pool.lent.len(), MAX_LENT);
    drop(held);
}
