//! How often an address may give a wrong password: the first few times at once, then once a second.
//! Which passwords are right is `Credentials`' business.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as TurnMutex, OwnedMutexGuard},
    time::{Instant, sleep},
};

use crate::network::network;

/// Wrong passwords in a row that cost an address nothing: a user's typing errors, and a browser's many connections.
const FREE: u32 = 10;

/// Silence after which an address' wrong passwords are forgotten.
const MEMORY: Duration = Duration::from_secs(60);

/// Time each further attempt of such an address takes, right or wrong: whoever is answered at once when he is right
/// need not wait when he is wrong.
const DELAY: Duration = Duration::from_secs(1);

/// Attempts of one address that may wait for their turn; more are refused unheard.
const MAX_WAITING: usize = 16;

/// Addresses remembered at most; who was silent longest is forgotten first.
const MAX_ADDRESSES: usize = 4096;

/// The wrong passwords of each address.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

#[derive(Debug)]
struct Address {
    wrong: u32,
    last: Instant,
    turn: Arc<TurnMutex<()>>,
}

/// Leave for one attempt.
#[derive(Debug)]
pub(super) struct Turn {
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Attempts {
    /// Waits until `from` may try; `None` if too many of its attempts wait already.
    pub(super) async fn turn(&self, from: IpAddr) -> Option<Turn> {
        let turn = match self.lock().get(&network(from)) {
            Some(known) if known.wrong >= FREE && known.last.elapsed() < MEMORY => {
                known.turn.clone()
            }
            _ => return Some(Turn { _turn: None }),
        };
        // One handle is the table's, one ours, one of whoever has the turn.
        if Arc::strong_count(&turn) > MAX_WAITING + 2 {
            return None;
        }
        let turn = turn.lock_owned().await;
        sleep(DELAY).await;
        Some(Turn { _turn: Some(turn) })
    }

    /// `from` gave a wrong password.
    pub(super) fn note_wrong(&self, from: IpAddr) {
        let now = Instant::now();
        let mut addresses = self.lock();
        let from = network(from);
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&from) {
            make_room(&mut addresses, now);
        }
        let address = addresses.entry(from).or_insert_with(|| Address {
            wrong: 0,
            last: now,
            turn: Arc::default(),
        });
        if address.last + MEMORY <= now {
            address.wrong = 0;
        }
        address.wrong = address.wrong.saturating_add(1);
        address.last = now;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(addresses: &mut HashMap<IpAddr, Address>, now: Instant) {
    addresses.retain(|_, address| address.last + MEMORY > now);
    if addresses.len() >= MAX_ADDRESSES {
        let oldest = addresses.iter().min_by_key(|(_, address)| address.last);
        if let Some(oldest) = oldest.map(|(ip, _)| *ip) {
            addresses.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn after_some_wrong_passwords_an_address_tries_once_a_second_and_others_at_once() {
        let attempts = Arc::new(Attempts::default());
        let (guesser, honest) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let begin = Instant::now();
        for _ in 0..FREE {
            attempts.turn(guesser).await.unwrap();
            attempts.note_wrong(guesser);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let mut guesses = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let attempts = attempts.clone();
            guesses.spawn(async move {
                let turn = attempts.turn(guesser).await;
                turn.is_some()
                    .then(|| attempts.note_wrong(guesser))
                    .is_some()
            });
        }
        tokio::task::yield_now().await;
        attempts.turn(honest).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let heard = guesses.join_all().await;
        let heard = u32::try_from(heard.into_iter().filter(|heard| *heard).count()).unwrap();
        assert!((16..=18).contains(&heard), "{heard}");
        assert_eq!(begin.elapsed(), DELAY * heard);
        // And are forgotten.
        tokio::time::advance(MEMORY).await;
        let begin = Instant::now();
        attempts.turn(guesser).await.unwrap();
        attempts.note_wrong(guesser);
        attempts.turn(guesser).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_a_network_are_one_and_the_table_is_bounded() {
        let attempts = Attempts::default();
        for host in 0..FREE {
            attempts.note_wrong(ip(&format!("2001:db8::{host}")));
        }
        let begin = Instant::now();
        attempts.turn(ip("2001:db8::ffff")).await.unwrap();
        assert_eq!(begin.elapsed(), DELAY);
        for number in 0..20_000_u32 {
            attempts.note_wrong(IpAddr::V4(number.into()));
        }
        assert!(attempts.lock().len() <= MAX_ADDRESSES);
    }
}
