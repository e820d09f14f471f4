//! Tests of both ends over loopback, with a server that stalls.

use super::*;

fn asking(to: SocketAddr) -> Asking {
    Asking {
        to,
        proxy: None,
        objects: vec![(1000, 100.0), (50_000, 20.0)],
        has_bulk: false,
        head_start: Duration::from_millis(20),
        span: Duration::from_millis(300),
        after: Duration::from_secs(5),
        seed: 1,
    }
}

/// A server of ours on a port of its own.
fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || answer(stream));
        }
    });
    address
}

#[test]
fn every_request_is_answered_and_counted() {
    let answers = ask(&asking(server())).unwrap();
    let [small, large] = &answers.objects[..] else {
        panic!("two kinds were asked for");
    };
    assert!((15..=60).contains(&small.requests), "{}", small.requests);
    assert!((2..=12).contains(&large.requests), "{}", large.requests);
    for object in &answers.objects {
        assert_eq!(object.unanswered, 0);
        assert_eq!(object.quantiles_us.len(), QUANTILES.len());
        assert!(object.quantiles_us.is_sorted());
    }
    assert_eq!(answers.bulk_bytes_per_second, None);
}

#[test]
fn a_bulk_transfer_beside_the_requests_is_measured() {
    let asking = Asking {
        has_bulk: true,
        ..asking(server())
    };
    let answers = ask(&asking).unwrap();
    let rate = answers.bulk_bytes_per_second.unwrap();
    assert!(rate > 1e6, "{rate} bytes a second over loopback");
}

#[test]
fn requests_that_were_due_during_a_stall_count_with_their_wait() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // Answers the first request of every connection, as `work` wants it, and never again.
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&[0]).unwrap();
            kept.push(stream);
        }
    });
    let asking = Asking {
        objects: vec![(1000, 200.0)],
        after: Duration::from_millis(50),
        ..asking(address)
    };
    let answers = ask(&asking).unwrap();
    let object = &answers.objects[0];
    // More were due than there are connections; all of them count.
    assert!(object.requests > 2 * CONNECTIONS as u64, "{object:?}");
    assert_eq!(object.unanswered, object.requests);
    let longest = *object.quantiles_us.last().unwrap();
    assert!(longest >= 250_000, "{longest} us");
}

#[test]
fn a_proxy_that_refuses_is_an_error_with_its_words() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = listener.local_addr().unwrap();
    // The connections are made all at once, and each is refused.
    let expected = b"CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n";
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 53];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(&request, expected);
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
        }
    });
    let asking = Asking {
        proxy: Some(proxy),
        ..asking("192.0.2.1:80".parse().unwrap())
    };
    let error = ask(&asking).unwrap_err().to_string();
    assert!(error.contains("403 Forbidden"), "{error}");
}
