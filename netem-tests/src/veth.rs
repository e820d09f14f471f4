//! No emulator at all: the ends on one machine, over loopback or a pair of virtual Ethernet devices, to see
//! what the programs and the kernel themselves can do. What is measured over them is in `micro`.

use std::io;

use rp_protocol::units::Bandwidth;

use crate::{
    implementation::{Figures, Wire},
    link::LinkConfig,
    netns::{self, Namespace},
    scenario::Scenario,
    tun::{FAR, NEAR},
};

/// The devices' name on either side, as in `tun`.
const DEVICE: &str = "link0";

/// What buffers and windows are sized for; nothing holds anybody to it.
const NOMINAL_BITS: u64 = 10_000_000_000;

/// A way between two ends on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// One namespace's own device.
    Loopback,
    /// Two namespaces, joined by virtual Ethernet of this MTU.
    Veth(u16),
}

impl Medium {
    /// All that are measured.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Veth(1500), Self::Veth(9000)];

    /// Stands in records and tables.
    pub fn name(self) -> String {
        match self {
            Self::Loopback => "loopback".to_owned(),
            Self::Veth(mtu) => format!("veth-{mtu}"),
        }
    }

    /// As a link without emulation; the MTU tells which.
    pub fn scenario(self) -> Scenario {
        let rate = Bandwidth::from_bits_per_second(NOMINAL_BITS);
        let link = LinkConfig::new(rate, std::time::Duration::ZERO);
        let link = match self {
            Self::Loopback => link,
            Self::Veth(mtu) => link.mtu(mtu.into()),
        };
        Scenario {
            name: self.name(),
            about: "both ends on one machine, nothing emulated".to_owned(),
            forward: link.clone(),
            back: link,
            cross: Vec::new(),
            budget: None,
        }
    }

    fn of(scenario: &Scenario) -> Self {
        u16::try_from(scenario.forward.mtu).map_or(Self::Loopback, Self::Veth)
    }
}

/// The two ends, which last as long as this value.
#[derive(Debug)]
pub struct VethLab {
    near: Namespace,
    /// Absent where both ends are in one.
    far: Option<Namespace>,
}

impl VethLab {
    /// Makes namespaces and devices.
    ///
    /// # Errors
    /// No root, no `ip`, or the kernel has no virtual Ethernet.
    pub fn make(medium: Medium) -> io::Result<Self> {
        if let Some(reason) = netns::no_namespaces() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        netns::clean()?;
        let serial = netns::next_serial();
        let near = Namespace::create(&format!("{serial}-near"))?;
        let (own, peer) = (format!("{NEAR}/24"), format!("{FAR}/24"));
        let Medium::Veth(mtu) = medium else {
            near.ip(&["addr", "add", &own, "dev", "lo"])?;
            near.ip(&["addr", "add", &peer, "dev", "lo"])?;
            return Ok(Self { near, far: None });
        };
        let far = Namespace::create(&format!("{serial}-far"))?;
        let mtu = mtu.to_string();
        near.ip(&[
            "link",
            "add",
            DEVICE,
            "mtu",
            &mtu,
            "type",
            "veth",
            "peer",
            "name",
            DEVICE,
            "mtu",
            &mtu,
            "netns",
            far.name(),
        ])?;
        for (namespace, address) in [(&near, &own), (&far, &peer)] {
            // No router solicitations: only what is measured goes over the link.
            namespace.ip(&["link", "set", DEVICE, "addrgenmode", "none"])?;
            namespace.ip(&["addr", "add", address, "dev", DEVICE])?;
            namespace.ip(&["link", "set", DEVICE, "up"])?;
        }
        let far = Some(far);
        Ok(Self { near, far })
    }
}

impl Wire for VethLab {
    fn start(scenario: &Scenario, _seed: u64) -> io::Result<Self> {
        Self::make(Medium::of(scenario))
    }

    fn near(&self) -> &Namespace {
        &self.near
    }

    fn far(&self) -> &Namespace {
        self.far.as_ref().unwrap_or(&self.near)
    }

    /// Nothing stands between the ends that could have seen anything.
    fn end(self, _figures: &mut Figures) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_tells_its_medium() {
        for medium in Medium::ALL {
            assert_eq!(Medium::of(&medium.scenario()), medium);
        }
    }
}
