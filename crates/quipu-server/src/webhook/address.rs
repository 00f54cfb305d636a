//! Which addresses may be called. A webhook's URL comes from whoever makes a subscription, and the server stands where
//! its owner put it: without this, a subscription could reach the metadata service of a cloud, a database, the router.
//!
//! Only addresses that the whole internet can reach are allowed, and those that configuration names. Names are no
//! business of this file: what is checked is the very address that is connected to.
//!
//! Sources: the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and its updates).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Block;

/// What may be called: public addresses, and those that configuration allows.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    allowed: Vec<Block>,
}

/// An address that may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAddress {
    address: IpAddr,
    kind: &'static str,
}

impl fmt::Display for RefusedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, kind } = self;
        write!(f, "expected a public address or one that configuration allows, found {address} ({kind})")
    }
}

impl std::error::Error for RefusedAddress {}

impl Addresses {
    /// Public addresses, and those of these blocks.
    pub fn new(allowed: Vec<Block>) -> Self {
        Self { allowed }
    }

    /// Whether the address may be called.
    ///
    /// # Errors
    /// It is special, and configuration does not allow it.
    pub fn check(&self, address: IpAddr) -> Result<(), RefusedAddress> {
        if self.allowed.iter().any(|block| block.contains(address)) {
            return Ok(());
        }
        let reach = match address.to_canonical() {
            IpAddr::V4(address) => reach_v4(address),
            IpAddr::V6(address) => reach_v6(address),
        };
        match reach {
            Reach::Public => Ok(()),
            Reach::Special(kind) => Err(RefusedAddress { address, kind }),
            // A gateway sends on to the address inside.
            Reach::Carries(inside) => {
                self.check(inside.into()).map_err(|refused| RefusedAddress { address, kind: refused.kind })
            }
        }
    }
}

/// How far an address reaches.
enum Reach {
    Public,
    Special(&'static str),
    /// It is translated or tunnelled to an IPv4 address.
    Carries(Ipv4Addr),
}

/// IPv4 blocks that are not public: network, prefix, what they are.
const SPECIAL_V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    // Azure's platform services: public by its number, reachable only from inside a machine.
    ([168, 63, 129, 16], 32, "cloud platform"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

fn reach_v4(address: Ipv4Addr) -> Reach {
    let special = SPECIAL_V4.iter().find(|(network, prefix, _)| {
        let difference = Ipv4Addr::from(*network).to_bits() ^ address.to_bits();
        difference >> (32 - prefix) == 0
    });
    special.map_or(Reach::Public, |(_, _, kind)| Reach::Special(kind))
}

/// IPv6 is the other way round: 2000::/3 is what has been given out as public, and everything outside of it is refused,
/// known or not.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let carried = |high: u16, low: u16| Reach::Carries(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match [a, b, c, d, e, f] {
        // NAT64 (RFC 6052): how a network without IPv4 reaches it.
        [0x64, 0xff9b, 0, 0, 0, 0] => carried(g, h),
        // 6to4 (RFC 3056).
        [0x2002, ..] => carried(b, c),
        // The translation of RFC 2765.
        [0, 0, 0, 0, 0xffff, 0] => carried(g, h),
        // Teredo (RFC 4380) carries two addresses, of which one is obscured; nobody serves over it.
        [0x2001, 0, ..] => Reach::Special("Teredo"),
        [0x2001, 2, 0, ..] => Reach::Special("benchmarking"),
        [0x2001, 0..0x200, ..] => Reach::Special("protocol assignments"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => Reach::Special("documentation"),
        // ISATAP (RFC 5214), under a public prefix.
        [0x2000..0x4000, _, _, _, 0 | 0x200, 0x5efe] => carried(g, h),
        [0x2000..0x4000, ..] => Reach::Public,
        [0xfc00..0xfe00, ..] => Reach::Special("unique-local"),
        [0xfe80..0xfec0, ..] => Reach::Special("link-local"),
        [0xfec0..0xff00, ..] => Reach::Special("site-local"),
        [0xff00..=0xffff, ..] => Reach::Special("multicast"),
        [0x64, 0xff9b, 1, ..] => Reach::Special("local translation"),
        [0, 0, 0, 0, 0, 0] if g == 0 && h == 0 => Reach::Special("unspecified"),
        [0, 0, 0, 0, 0, 0] if g == 0 && h == 1 => Reach::Special("loopback"),
        [0, 0, 0, 0, 0, 0] => Reach::Special("IPv4-compatible"),
        _ => Reach::Special("not public"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(allowed: &[&str], address: &str) -> Option<&'static str> {
        let addresses = Addresses::new(allowed.iter().map(|block| block.parse().unwrap()).collect());
        addresses.check(address.parse().unwrap()).err().map(|refused| refused.kind)
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:200::1",
            "2001:4860::8888",
            "3ffe::1",
            "3fff:1000::",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::",
            "2620:4f:8000::1",
            "2a00:1450::5efe:1.1.1.1",
        ] {
            assert_eq!(kind(&[], address), None, "{address}");
        }
    }

    #[test]
    fn every_special_address_is_refused_by_its_kind() {
        for (expected, addresses) in [
            ("this network", &["0.0.0.0", "0.255.255.255", "::ffff:0.0.0.0"][..]),
            ("private", &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0"]),
            ("private", &["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1", "::ffff:0:10.0.0.1"]),
            ("private", &["2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:10.0.0.1"]),
            ("carrier-grade NAT", &["100.64.0.0", "100.127.255.255", "100.100.100.200", "64:ff9b::100.64.0.1"]),
            (
                "loopback",
                &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
            ),
            ("link-local", &["169.254.0.0", "169.254.169.254", "fe80::1", "febf::1", "2002:a9fe:a9fe::1"]),
            ("link-local", &["fe80::5efe:1.1.1.1"]),
            ("cloud platform", &["168.63.129.16"]),
            (
                "protocol assignments",
                &["192.0.0.0", "192.0.0.192", "192.0.0.255", "2001:1::1", "2001:1ff::1", "2001:20::1"],
            ),
            ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff::1"]),
            ("benchmarking", &["198.18.0.0", "198.19.255.255", "::ffff:198.18.0.1", "2001:2::1"]),
            ("6to4 relay", &["192.88.99.1"]),
            ("multicast", &["224.0.0.1", "239.255.255.255", "::ffff:224.0.0.1", "ff02::1", "ff0e::1", "ffff::"]),
            ("reserved", &["240.0.0.0", "255.255.255.254", "64:ff9b::240.0.0.1", "2002:f000:1::"]),
            ("broadcast", &["255.255.255.255", "::ffff:255.255.255.255", "64:ff9b::ffff:ffff"]),
            ("unique-local", &["fc00::1", "fd00:ec2::254", "fdff::1"]),
            ("site-local", &["fec0::1", "feff::1"]),
            ("Teredo", &["2001::1", "2001:0:102:304::1"]),
            ("local translation", &["64:ff9b:1::1"]),
            ("unspecified", &["::", "0:0:0:0:0:0:0:0"]),
            ("IPv4-compatible", &["::2", "::10.0.0.1", "::127.0.0.1", "::1.1.1.1"]),
            ("not public", &["100::1", "1fff::1", "4000::1", "5f00::1", "64:ff9b::1:0:0", "64:ff9b:2::1"]),
        ] {
            for address in addresses {
                assert_eq!(kind(&[], address), Some(expected), "{address}");
            }
        }
    }

    #[test]
    fn configuration_allows_what_it_names_and_nothing_else() {
        let allowed = ["10.1.0.0/16", "fd00::/8", "127.0.0.1"];
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "fd12::1", "127.0.0.1"] {
            assert_eq!(kind(&allowed, address), None, "{address}");
        }
        for address in ["10.2.0.0", "64:ff9b::10.2.0.1", "fc00::1", "127.0.0.2", "::1"] {
            assert!(kind(&allowed, address).is_some(), "{address}");
        }
    }

    #[test]
    fn a_refusal_names_the_address_and_its_kind() {
        let refused = Addresses::default().check("64:ff9b::10.0.0.1".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("64:ff9b::a00:1 (private)"), "{refused}");
    }
}
