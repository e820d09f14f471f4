//! Connections that take all the threads they can, and others beside them.

use std::sync::mpsc;

use super::*;

fn key(number: u8) -> User {
    User::Key(PublicKey::from_bytes([number; PublicKey::LEN]))
}

/// Jobs that hang until the returned sender is dropped; those that run are counted by the receiver.
fn hang(worker: &Worker, jobs: usize, begun: &mpsc::Sender<()>) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    for _ in 0..jobs {
        let (begun, released) = (begun.clone(), Arc::clone(&released));
        let job = move || {
            begun.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
        };
        worker.spawn(job).unwrap();
    }
    release
}

#[tokio::test]
async fn a_connection_whose_files_hang_holds_up_no_other() {
    let threads = FileThreads::new();
    let greedy = threads.connection(key(1));
    let (begun, begins) = mpsc::channel();
    let _release = hang(&greedy, 1000, &begun);
    for _ in 0..MAX_THREADS_PER_CONNECTION {
        begins.recv().unwrap();
    }
    let sibling = threads.connection(key(1));
    assert_eq!(sibling.run(|| 1).await.unwrap(), 1);
    let other = threads.connection(key(2));
    assert_eq!(other.run(|| 2).await.unwrap(), 2);
    assert!(begins.try_recv().is_err());
}

#[tokio::test]
async fn a_key_whose_connections_all_hang_holds_up_no_other_key() {
    let threads = FileThreads::new();
    let (begun, begins) = mpsc::channel();
    let release: Vec<_> = (0..100)
        .map(|_| hang(&threads.connection(User::Anonymous), 16, &begun))
        .collect();
    for _ in 0..MAX_THREADS_PER_USER {
        begins.recv().unwrap();
    }
    let other = threads.connection(key(2));
    assert_eq!(other.run(|| 2).await.unwrap(), 2);
    assert!(begins.try_recv().is_err());
    // What hung goes on in the end, all of it.
    drop(release);
    for _ in MAX_THREADS_PER_USER..1600 {
        begins.recv().unwrap();
    }
}

#[tokio::test]
async fn threads_are_bounded_and_outlive_a_job_that_panics() {
    let threads = FileThreads::new();
    let (begun, begins) = mpsc::channel();
    let release: Vec<_> = (0..20)
        .map(|number| hang(&threads.connection(key(number)), 16, &begun))
        .collect();
    for _ in 0..MAX_THREADS {
        begins.recv().unwrap();
    }
    assert_eq!(threads.shared.lock().threads, MAX_THREADS);
    drop(release);
    let worker = threads.connection(key(99));
    let failed = worker.run(|| panic!("on purpose")).await;
    assert!(failed.is_err());
    assert_eq!(worker.run(|| 3).await.unwrap(), 3);
}
