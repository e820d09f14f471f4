//! Listening at addresses and paths of this machine.

use tokio::net::{TcpStream, UnixStream};

use super::*;

#[tokio::test]
async fn both_loopback_addresses_have_the_same_port() {
    let listening = Listening::at(&loopback(0)).unwrap();
    let port = listening.local_addr().unwrap().port();
    for addr in loopback(port) {
        // A machine without IPv6 has one of them only.
        let Ok(_tcp) = TcpStream::connect(addr).await else {
            assert!(addr.is_ipv6());
            continue;
        };
        let (_, from) = listening.accept().await.unwrap();
        assert_eq!(from.ip(), addr.ip());
    }
}

#[tokio::test]
async fn a_taken_address_is_refused() {
    let listening = Listening::at(&loopback(0)).unwrap();
    let taken = [listening.local_addr().unwrap()];
    let error = Listening::at(&taken).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_and_goes_with_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listening = Listening::at_path(&path).unwrap();
    let mode = std::fs::symlink_metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _unix = UnixStream::connect(&path).await.unwrap();
    assert_eq!(listening.accept().await.unwrap().1, NO_ADDRESS);
    drop(listening);
    assert!(!path.exists());
}

#[tokio::test]
async fn only_a_socket_that_nobody_listens_at_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    // What a process that was killed leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listening = Listening::at_path(&path).unwrap();
    let in_use = Listening::at_path(&path).unwrap_err();
    assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
    drop(listening);
    std::fs::write(&path, b"data").unwrap();
    Listening::at_path(&path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}
