//! A name server in the test's hands.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, OpCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};
use tokio::net::UdpSocket;

/// A name server that has the addresses `answers` says, for no longer than the answer takes. `alias.` names are
/// told to be another one.
pub(crate) async fn name_server(
    answers: impl Fn(&str) -> Vec<IpAddr> + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..len]).unwrap();
            let query = asked.queries[0].clone();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            let mut owner = query.name().clone();
            if owner.to_ascii().starts_with("alias.") {
                let other = Name::from_ascii("loopback.test.").unwrap();
                let data = RData::CNAME(CNAME(other.clone()));
                answer.add_answer(Record::from_rdata(owner, 0, data));
                owner = other;
            }
            for ip in answers(&query.name().to_ascii()) {
                let data = match (query.query_type(), ip) {
                    (RecordType::A, IpAddr::V4(ip)) => RData::A(A(ip)),
                    (RecordType::AAAA, IpAddr::V6(ip)) => RData::AAAA(AAAA(ip)),
                    _ => continue,
                };
                answer.add_answer(Record::from_rdata(owner.clone(), 0, data));
            }
            answer.add_query(query);
            let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
        }
    });
    at
}

/// Answers that are harmless the first time, and forbidden from then on; `forget` begins anew.
#[derive(Clone, Debug)]
pub(crate) struct Rebinding {
    harmless: IpAddr,
    forbidden: IpAddr,
    asked: Arc<Mutex<u32>>,
}

impl Rebinding {
    pub(crate) fn new(harmless: &str, forbidden: &str) -> Self {
        Self {
            harmless: harmless.parse().unwrap(),
            forbidden: forbidden.parse().unwrap(),
            asked: Arc::default(),
        }
    }

    pub(crate) fn answer(&self) -> Vec<IpAddr> {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        // A name is asked for twice: IPv4 and IPv6.
        match *asked <= 2 {
            true => vec![self.harmless],
            false => vec![self.forbidden],
        }
    }

    pub(crate) fn forget(&self) {
        *self.asked.lock().unwrap() = 0;
    }
}
