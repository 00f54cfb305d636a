//! Internet addresses as values: a plain string that is an address is equal to every spelling of it, and a network
//! takes the addresses of its own family that begin with its bits.

use std::net::IpAddr;

/// Longest spelling: `0000:0000:0000:0000:0000:ffff:255.255.255.255`.
const TEXT_BYTES_MAX: usize = 45;

/// The address that a text spells (RFC 4291, 2.2; four decimal numbers without leading zeros for IPv4).
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    let fits = (2..=TEXT_BYTES_MAX).contains(&text.len())
        && text.iter().all(|c| c.is_ascii_hexdigit() || matches!(c, b'.' | b':'));
    if !fits {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

/// An address as its family and a number.
pub(crate) fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (false, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (true, v6.to_bits()),
    }
}

/// The first `bits` of an address, the others zero.
pub(crate) fn masked(address: IpAddr, bits: u8) -> (bool, u128) {
    let (six, number) = number(address);
    let width: u32 = if six { 128 } else { 32 };
    let cleared = width - u32::from(bits).min(width);
    (six, number.checked_shr(cleared).map_or(0, |head| head << cleared))
}

impl Network {
    /// Reads `address/bits`. What was expected, where the text is none.
    pub(crate) fn parse(text: &str) -> Result<Network, &'static str> {
        const SHAPE: &str = "an address and its bits such as 10.0.0.0/8 or 2001:db8::/32";
        let (head, bits) = text.split_once('/').ok_or(SHAPE)?;
        let address = address(head.as_bytes()).ok_or(SHAPE)?;
        let (max, expected) = match address {
            IpAddr::V4(_) => (31, "0 to 31 bits of an IPv4 address"),
            IpAddr::V6(_) => (127, "0 to 127 bits of an IPv6 address"),
        };
        if bits.is_empty() || !bits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(expected);
        }
        match bits.parse() {
            Ok(bits) if bits <= max => Ok(Network { address, bits }),
            _ => Err(expected),
        }
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        masked(self.address, self.bits) == masked(address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_one_address() {
        assert_eq!(address(b"::1"), address(b"0:0:0:0:0:0:0:1"));
        assert_eq!(address(b"2001:DB8::A"), address(b"2001:db8:0:0::a"));
        assert_eq!(address(b"::ffff:1.2.3.4"), address(b"::ffff:102:304"));
        for text in ["", ":", "08:23", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "::1%eth0", "dead", "1.2.3.4 "] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_ne!(address(b"1.2.3.4"), address(b"::ffff:1.2.3.4"));
    }

    #[test]
    fn a_network_takes_the_addresses_that_begin_with_its_bits() {
        for (network, text, takes) in [
            ("10.0.0.0/22", "10.0.3.255", true),
            ("10.0.0.0/22", "10.0.4.0", false),
            ("10.9.9.9/8", "10.0.0.1", true),
            ("1.2.3.4/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::/127", "2001:db8::1", true),
            ("2001:db8::/127", "2001:db8::2", false),
        ] {
            let contains = Network::parse(network).unwrap().contains(address(text.as_bytes()).unwrap());
            assert_eq!(contains, takes, "{network} {text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["10.0.0.0", "10.0.0.0/32", "::/128", "10.0.0.0/+8", "10.0.0.0/", "x/8", "10.0.0.0/8/8", "/8", "1.1.1.1/-1"]
        {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
