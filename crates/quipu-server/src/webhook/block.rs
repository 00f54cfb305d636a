//! A block of addresses as configuration names it: `10.0.0.0/8`, `fd00::/8`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBlock {
    found: String,
}

impl fmt::Display for InvalidBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a block of addresses such as 10.0.0.0/8 or fd00::/8, found {}", self.found)
    }
}

impl std::error::Error for InvalidBlock {}

impl Block {
    /// Whether the address is one of the block. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) counts as what it
    /// stands for.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, address, bits) = match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => (first.to_bits().into(), address.to_bits().into(), 32),
            (IpAddr::V6(first), IpAddr::V6(address)) => (first.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let beyond = bits - u32::from(self.prefix);
        // A shift by the whole width is none: a prefix of 0 holds everything.
        (first ^ address).checked_shr(beyond).unwrap_or(0) == 0
    }

    fn read(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let first: IpAddr = address.parse().ok()?;
        let bits = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        match first.to_canonical() {
            // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
            IpAddr::V4(mapped) if first.is_ipv6() && (96..=128).contains(&prefix) => {
                Some(Self { first: mapped.into(), prefix: prefix - 96 })
            }
            _ => (prefix <= bits).then_some(Self { first, prefix }),
        }
    }
}

impl FromStr for Block {
    type Err = InvalidBlock;

    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        Self::read(text).ok_or_else(|| InvalidBlock { found: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_contains_what_shares_its_first_bits() {
        for (block, address, is_inside) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("0.0.0.0/1", "128.0.0.0", false),
            ("::/0", "fe80::1", true),
            ("::/0", "10.0.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fc00::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
        ] {
            let parsed: Block = block.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), is_inside, "{block} {address}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in ["", "10", "10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "a.b/8"]
        {
            let error = text.parse::<Block>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("found {text}")), "{error}");
        }
    }
}
