//! Opening, finding and closing by index.

use super::*;

const CREDIT: InitialCredit = InitialCredit { send: 10, recv: 20 };

fn client(dir: Dir, index: u64) -> StreamId {
    StreamId::new(Side::Client, dir, index)
}

fn find(table: &mut Table, id: StreamId) -> Found {
    table.find(id, CREDIT).unwrap()
}

#[test]
fn halves_exist_as_the_direction_says() {
    let mut table = Table::new(Side::Server, 10, 10);
    table.local(Dir::Uni).limit = 1;
    let ours = table.open(Dir::Uni, CREDIT).unwrap();
    let slot = table.slot(ours).unwrap();
    let stream = table.get(slot).unwrap();
    assert!(stream.send.is_some() && stream.recv.is_none());
    let Found::Live { slot, .. } = find(&mut table, client(Dir::Uni, 0)) else {
        panic!("not opened");
    };
    let stream = table.get(slot).unwrap();
    assert!(stream.send.is_none() && stream.recv.is_some());
    let Found::Live { slot, .. } = find(&mut table, client(Dir::Bi, 0)) else {
        panic!("not opened");
    };
    let stream = table.get(slot).unwrap();
    assert!(stream.send.is_some() && stream.recv.is_some());
}

//= spec/05-streams.md#stream-ids
//= type=test
//# A sender MUST use the indices of a kind in order, each for one stream.
#[test]
fn own_streams_are_opened_in_order_up_to_the_limit() {
    let mut table = Table::new(Side::Client, 0, 0);
    assert_eq!(table.open(Dir::Bi, CREDIT), Err(true));
    assert_eq!(table.open(Dir::Bi, CREDIT), Err(false));
    table.local(Dir::Bi).limit = 3;
    let opened: Vec<_> = std::iter::from_fn(|| table.open(Dir::Bi, CREDIT).ok()).collect();
    let expected: Vec<_> = (0..3).map(|index| client(Dir::Bi, index)).collect();
    assert_eq!(opened, expected);
}

#[test]
fn an_index_that_is_closed_stays_closed_and_a_skipped_one_opens() {
    let mut table = Table::new(Side::Server, 100, 0);
    let Found::Live { slot, is_new: true } = find(&mut table, client(Dir::Bi, 50)) else {
        panic!("not opened");
    };
    table.remove(slot);
    assert_eq!(find(&mut table, client(Dir::Bi, 50)), Found::Gone);
    for index in [49, 0, 25] {
        assert!(matches!(
            find(&mut table, client(Dir::Bi, index)),
            Found::Live { is_new: true, .. }
        ));
        assert!(matches!(
            find(&mut table, client(Dir::Bi, index)),
            Found::Live { is_new: false, .. }
        ));
    }
    assert_eq!(table.len(), 3);
    assert_eq!(table.remote(Dir::Bi).untouched.covered(), 47);
}

#[test]
fn limits_rise_by_an_eighth_of_what_is_allowed() {
    let mut table = Table::new(Side::Server, 0, 80);
    let mut announced = Vec::new();
    for index in 0..30 {
        let Found::Live { slot, .. } = find(&mut table, client(Dir::Uni, index)) else {
            panic!("not opened");
        };
        if table.remove(slot) {
            announced.push((index, table.remote(Dir::Uni).announced));
        }
    }
    assert_eq!(announced, [(9, 90), (19, 100), (29, 110)]);
    assert!(table.find(client(Dir::Uni, 109), CREDIT).is_ok());
    assert!(table.find(client(Dir::Uni, 110), CREDIT).is_err());
}
