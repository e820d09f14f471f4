//! What happened on a link, in numbers. Nothing is decided here.

use crate::queue::QueueDelay;

/// Totals of one link since it began; every packet offered is in exactly one of
/// `too_big`, `blocked`, `policed`, `queue_dropped`, `lost`, or was accepted for delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets offered.
    pub offered: u64,
    /// Bytes offered.
    pub offered_bytes: u64,
    /// Packets over the MTU.
    pub too_big: u64,
    /// Packets that met a blackout.
    pub blocked: u64,
    /// Packets the policer dropped.
    pub policed: u64,
    /// Packets the full queue, CoDel or a stopped link dropped.
    pub queue_dropped: u64,
    /// Packets lost behind the bottleneck.
    pub lost: u64,
    /// Packets marked as having met congestion.
    pub marked: u64,
    /// Packets flagged as corrupt.
    pub corrupted: u64,
    /// Packets held back so that later ones may overtake.
    pub reordered: u64,
    /// Extra copies made.
    pub duplicated: u64,
    /// Packets handed out, copies included.
    pub delivered: u64,
    /// Bytes handed out, copies included.
    pub delivered_bytes: u64,
    /// Waiting times in the queue.
    pub queue_delay: QueueDelay,
}
