//! How long a flow lives, and which has to go for another.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_flow_that_only_asks_name_servers_ends_sooner() {
    let activity = Activity::new();
    let begin = Instant::now();
    activity.note_sent(NAME_SERVER_PORT);
    let idle = DEFAULT_FLOW_IDLE;
    assert_eq!(activity.ends_at(idle), begin + NAME_SERVER_IDLE);
    tokio::time::advance(Duration::from_secs(10)).await;
    activity.note_received();
    assert_eq!(activity.ends_at(idle), Instant::now() + NAME_SERVER_IDLE);
    activity.note_sent(443);
    activity.note_sent(NAME_SERVER_PORT);
    assert_eq!(activity.ends_at(idle), Instant::now() + idle);
}

#[test]
fn whoever_opens_many_flows_loses_his_own_from_however_many_addresses() {
    let start = Instant::now();
    let honest = (SocketAddr::from(([192, 0, 2, 1], 53)), start);
    let mut used = vec![honest];
    // All the addresses of one network, which one host may have.
    for host in 1..=100_u16 {
        let source = SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, host], 1));
        used.push((source, start + Duration::from_secs(host.into())));
    }
    assert_eq!(one_too_many(&used), Some(used[1].0));
    assert_eq!(one_too_many(&[honest]), Some(honest.0));
    assert_eq!(one_too_many(&[]), None);
}
