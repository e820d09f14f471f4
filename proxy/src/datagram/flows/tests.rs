//! How long a flow lives.

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
