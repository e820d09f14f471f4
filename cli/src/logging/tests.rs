//! What is written and what is counted instead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tracing::info;

use super::{flood::*, *};

#[test]
fn levels_are_words_and_v_makes_them_louder() {
    assert_eq!("info".parse(), Ok(Level::INFO));
    assert!(
        "loud"
            .parse::<Level>()
            .unwrap_err()
            .contains("error, warn, info")
    );
    assert_eq!(Level::WARN.louder(1), "info");
    assert_eq!(Level::INFO.louder(9), "trace");
    assert_eq!("json".parse(), Ok(Format::Json));
    assert!("xml".parse::<Format>().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_counted_and_written_anew_after_a_while() {
    let mut window = Window::new("refused".into(), Instant::now());
    let written = (0..1000).filter(|_| window.admits()).count();
    assert_eq!(written, MOST as usize);
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(!window.is_over(Instant::now()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(window.is_over(Instant::now()));
}

#[test]
fn a_flood_of_one_message_leaves_room_for_others() {
    let text = Arc::new(Mutex::new(Vec::new()));
    struct Into(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Into {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let writer = {
        let text = text.clone();
        move || Into(text.clone())
    };
    let lines = fmt::layer().with_writer(writer).json().flatten_event(true);
    let subscriber = Registry::default().with(lines.with_filter(FloodFilter));
    tracing::subscriber::with_default(subscriber, || {
        for target in 0..300 {
            info!(target, "a flood of its own kind");
        }
        info!("another");
    });
    let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let flood = lines
        .iter()
        .filter(|line| line["message"] == "a flood of its own kind");
    assert_eq!(flood.count(), MOST as usize);
    assert_eq!(lines.last().unwrap()["message"], "another");
    let mut windows: HashMap<_, _> = HashMap::new();
    assert_eq!(take_over(&mut windows, Instant::now()), []);
}
