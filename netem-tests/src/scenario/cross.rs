//! Who else is on a scenario's link: named kinds of traffic, with the times they come and go.
//! How they behave is in `flow`.

use std::time::Duration;

use rp_protocol::units::Bandwidth;
use serde::Deserialize;

use crate::quantity::{Rate, Time};

/// A kind of other traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrossKind {
    /// A TCP bulk flow under CUBIC.
    Cubic,
    /// A TCP bulk flow under Reno.
    Reno,
    /// A bulk flow like BBR version 1.
    Bbr,
    /// Objects that come and go, as a browser fetches them.
    Web,
}

/// Other traffic on a link, towards far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cross {
    /// Its kind.
    pub kind: CrossKind,
    /// When it begins.
    pub start: Duration,
    /// When it has no more to send; never, if absent.
    pub stop: Option<Duration>,
    /// Mean load of web traffic; bulk flows take what they get.
    pub load: Bandwidth,
}

/// The same as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrossText {
    pub(super) kind: CrossKind,
    #[serde(default = "at_once")]
    start: Time,
    stop: Option<Time>,
    pub(super) load: Option<Rate>,
}

fn at_once() -> Time {
    Time(Duration::ZERO)
}

impl From<&CrossText> for Cross {
    fn from(text: &CrossText) -> Self {
        Self {
            kind: text.kind,
            start: text.start.0,
            stop: text.stop.map(|stop| stop.0),
            load: text.load.map(|load| load.0).unwrap_or_default(),
        }
    }
}
