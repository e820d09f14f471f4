//! Whether the namespace emulator does what its settings say: measured by the kernel's own TCP and UDP
//! at both ends, not by the emulator's counters.
//!
//! A new check is: one function, one line in [`ALL`].

use std::{
    io,
    net::UdpSocket,
    time::{Duration, Instant},
};

use rp_protocol::units::Bandwidth;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::{
    carrier::be_punctual,
    link::LinkConfig,
    loss::Loss,
    netns::join,
    queue::QueueLimit,
    tcp,
    tun::{FAR, NEAR, TunLab, TunReport},
};

/// Something measured, and whether it is as it must be.
#[derive(Debug)]
pub struct Finding {
    /// Within the bound that stands in the text.
    pub is_good: bool,
    /// Figures for people.
    pub text: String,
}

/// A named check.
#[derive(Debug)]
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// Measures.
    pub run: fn() -> io::Result<Finding>,
}

/// All checks, in the order in which they mean something.
pub const ALL: &[Check] = &[
    Check {
        name: "round trip of 100 ms",
        run: round_trip,
    },
    Check {
        name: "UDP loss of 1 %",
        run: || loss(0.01),
    },
    Check {
        name: "UDP loss of 5 %",
        run: || loss(0.05),
    },
    Check {
        name: "TCP at 100 Mbit/s, 50 ms, no loss",
        run: || tcp_fills(100, Duration::from_millis(50)),
    },
    Check {
        name: "TCP at 500 Mbit/s, 20 ms, no loss",
        run: || tcp_fills(500, Duration::from_millis(20)),
    },
];

/// Jitter an idle or busy emulator may add.
const MAX_JITTER: Duration = Duration::from_micros(200);

/// Share of its true value by which measured loss may be off.
const MAX_LOSS_ERROR: f64 = 0.002;

/// Share of the link's rate that TCP must deliver as payload where nothing is lost.
const LEAST_TCP_SHARE: f64 = 0.93;

fn mbit(rate: u64) -> Bandwidth {
    Bandwidth::from_bits_per_second(rate * 1_000_000)
}

fn bind(address: std::net::Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 7))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    // What the link delivered must not be lost behind it.
    set_socket_recv_buffer_size_force(&socket, 64 << 20)?;
    Ok(socket)
}

fn round_trip() -> io::Result<Finding> {
    let rtt = Duration::from_millis(100);
    let link = LinkConfig::new(mbit(100), rtt / 2);
    let lab = TunLab::start(link.clone(), link, 1)?;
    const PINGS: usize = 100;
    let near = lab.near().run(|| bind(NEAR))?;
    let far = lab.far().run(|| bind(FAR))?;
    let echo = std::thread::spawn(move || -> io::Result<()> {
        be_punctual();
        let mut buffer = [0; 64];
        for _ in 0..PINGS {
            let (len, from) = far.recv_from(&mut buffer)?;
            far.send_to(&buffer[..len], from)?;
        }
        Ok(())
    });
    let ping = std::thread::spawn(move || -> io::Result<Vec<Duration>> {
        be_punctual();
        let mut extra = Vec::with_capacity(PINGS);
        let mut buffer = [0; 64];
        for _ in 0..PINGS {
            let began = Instant::now();
            near.send_to(&[0; 56], (FAR, 7))?;
            near.recv_from(&mut buffer)?;
            extra.push(began.elapsed().saturating_sub(rtt));
        }
        Ok(extra)
    });
    let mut extra = join(ping)?;
    join(echo)?;
    extra.sort_unstable();
    let (median, p95) = (extra[PINGS / 2], extra[PINGS * 95 / 100]);
    let overrun = lab.overrun()?;
    Ok(Finding {
        // Two crossings, each with its serialisation and its jitter.
        is_good: p95 <= 2 * MAX_JITTER,
        text: format!(
            "median +{median:?}, p95 +{p95:?} (bound 400us); {}",
            punctuality(&lab.stop()?, overrun)
        ),
    })
}

fn loss(p: f64) -> io::Result<Finding> {
    const PACKETS: u32 = 100_000;
    // No limit to the queue: a sender that was held up catches up faster than the link.
    let link = LinkConfig::new(mbit(500), Duration::from_millis(5))
        .queue(QueueLimit::Unlimited)
        .loss(Loss::bernoulli(p));
    let lab = TunLab::start(link.clone(), link, 1)?;
    let near = lab.near().run(|| bind(NEAR))?;
    let far = lab.far().run(|| bind(FAR))?;
    let receiver = std::thread::spawn(move || -> io::Result<u32> {
        let mut buffer = [0; 2048];
        let mut arrived = 0;
        loop {
            match far.recv(&mut buffer) {
                Ok(_) => arrived += 1,
                // Silence for longer than the link can hold anything: that was all.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(arrived),
                Err(error) => return Err(error),
            }
        }
    });
    // 200 Mbit/s in bursts of 1 ms, so that nothing but the link's chance loses packets.
    let began = Instant::now();
    for i in 0..PACKETS {
        if i % 20 == 0 {
            let due = began + Duration::from_micros(960) * (i / 20);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        near.send_to(&[0; 1172], (FAR, 7))?;
    }
    let arrived = join(receiver)?;
    let measured = 1.0 - f64::from(arrived) / f64::from(PACKETS);
    let overrun = lab.overrun()?;
    Ok(Finding {
        is_good: (measured - p).abs() <= MAX_LOSS_ERROR,
        text: format!(
            "measured {:.2} % (bound 0.2 points); {}",
            measured * 100.0,
            punctuality(&lab.stop()?, overrun)
        ),
    })
}

fn tcp_fills(rate: u64, rtt: Duration) -> io::Result<Finding> {
    let link = LinkConfig::new(mbit(rate), rtt / 2);
    let lab = TunLab::start(link.clone(), link, 1)?;
    tcp::enlarge_windows(&lab)?;
    // Ten seconds' worth, so that the start does not hide the rest.
    let bytes = rate * 1_000_000 / 8 * 10;
    let transfer = tcp::transfer(&lab, "cubic", bytes, Duration::from_secs(30))?;
    let share = transfer.goodput_bits() / (rate as f64 * 1e6);
    let overrun = lab.overrun()?;
    let report = lab.stop()?;
    Ok(Finding {
        is_good: share >= LEAST_TCP_SHARE && report.late_p99 <= MAX_JITTER,
        text: format!(
            "{:.1} Mbit/s, {:.1} % (bound 93 %); {}",
            transfer.goodput_bits() / 1e6,
            share * 100.0,
            punctuality(&report, overrun)
        ),
    })
}

/// Whether the machine let the emulator do its work.
fn punctuality(report: &TunReport, overrun: u64) -> String {
    format!(
        "emulator late by {:?} on average, {:?} at p99 (bound 200us), {overrun} packets dropped before it",
        report.late_mean, report.late_p99
    )
}
