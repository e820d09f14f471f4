//! What can be said about connecting without a server.

use super::*;

#[test]
fn a_server_is_shown_as_it_is_typed() {
    for (host, shown) in [("example.org", "example.org:7377"), ("::1", "[::1]:7377")] {
        let host = host.to_owned();
        let port = DEFAULT_PORT;
        assert_eq!(Server { host, port }.to_string(), shown);
    }
}

#[tokio::test]
async fn the_family_asked_for_is_kept() {
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: DEFAULT_PORT,
    };
    assert_eq!(resolve(&server, Family::V4).await.unwrap().len(), 1);
    let error = resolve(&server, Family::V6).await.unwrap_err();
    assert!(matches!(error, ConnectFailure::NoAddress(_)), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Connect);
}
