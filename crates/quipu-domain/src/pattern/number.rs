//! When two number literals are the same number. A literal is the same as another of the same text, and as any
//! literal of the same double *if its decimal is what that double reads as*, i.e. the shortest decimal that reads back
//! as that double: 300 = 300.0 = 3.0e2, 0.1 = 0.10, 0 = -0.0, but 9007199254740993, which no double holds, and 1e400
//! are the same as themselves only. This is what the reference does; comparing doubles alone would take
//! 9007199254740993 for 9007199254740992.

/// The double that a JSON number literal is, if it is exactly one. Never NaN, infinite or -0.
pub(crate) fn exact(literal: &[u8]) -> Option<f64> {
    if let Some(integer) = short_integer(literal) {
        return Some(integer);
    }
    let double: f64 = std::str::from_utf8(literal).ok()?.parse().ok()?;
    if !double.is_finite() {
        return None;
    }
    let wanted = Decimal::read(literal)?;
    // Up to 15 digits survive the way into a normal double and back (IEEE 754, DBL_DIG).
    let survives = wanted.digits.len() <= 15 && wanted.exponent.abs() < 300;
    if survives || wanted == Decimal::read(format!("{double:e}").as_bytes())? {
        return Some(double + 0.0);
    }
    None
}

/// Integers of up to 15 digits, the usual case.
fn short_integer(literal: &[u8]) -> Option<f64> {
    let (negative, digits) = match literal {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value } as f64)
}

/// A decimal in its one normal form: 0.digits × 10^exponent without zeros at either end; zero has no digits.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn read(literal: &[u8]) -> Option<Decimal> {
        let (negative, rest) = match literal {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (mantissa, power) = match rest.iter().position(|c| matches!(c, b'e' | b'E')) {
            Some(at) => (&rest[..at], power_of_ten(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let point = mantissa.iter().position(|&c| c == b'.').unwrap_or(mantissa.len());
        let all: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
        let zeros = all.iter().take_while(|&&digit| digit == b'0').count();
        let end = all.len() - all.iter().rev().take_while(|&&digit| digit == b'0').count();
        if zeros >= end {
            return Some(Decimal { negative: false, digits: Vec::new(), exponent: 0 });
        }
        let exponent = power.checked_add(point as i64)?.checked_sub(zeros as i64)?;
        Some(Decimal { negative, digits: all[zeros..end].to_vec(), exponent })
    }
}

fn power_of_ten(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Maps doubles to integers in the same order, so that "greater than x" is "at least the next integer".
pub(crate) fn ordered(double: f64) -> u64 {
    let bits = (double + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_of_one_exact_decimal_are_one_number() {
        for (a, b) in [
            ("300", "300.0"),
            ("300", "3.0e2"),
            ("300", "3E+2"),
            ("300", "30000e-2"),
            ("0", "-0.0"),
            ("0", "0e999"),
            ("0.1", "0.10"),
            ("0.1", "1e-1"),
            ("123456789012345680000", "1.2345678901234568e20"),
            ("9007199254740992", "9007199254740992.0"),
            ("27.807807921694092", "27.8078079216940920"),
            ("-5", "-5.000"),
        ] {
            assert_eq!(exact(a.as_bytes()), exact(b.as_bytes()), "{a} {b}");
            assert!(exact(a.as_bytes()).is_some(), "{a}");
        }
        assert_eq!(exact(b"-0").map(f64::to_bits), Some(0));
    }

    #[test]
    fn what_no_double_reads_as_is_no_exact_number() {
        for literal in
            ["9007199254740993", "1e400", "-1e400", "1e-325", "0.1000000000000000055511151231257827", "2.0e422"]
        {
            assert_eq!(exact(literal.as_bytes()), None, "{literal}");
        }
        assert_ne!(exact(b"27.807807921694092"), exact(b"27.80780792169409"));
        for broken in ["", "-", "x", "1e", "1e99999999999999999999", "-e", "\u{7f}", "1.2.3", "nan", "inf"] {
            exact(broken.as_bytes());
        }
        assert_eq!(exact(b"1e99999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn every_double_is_what_it_prints_as(double in any::<f64>().prop_filter("finite", |d| d.is_finite())) {
            prop_assert_eq!(exact(format!("{double:?}").as_bytes()), Some(double + 0.0));
            prop_assert_eq!(exact(format!("{double:e}").as_bytes()), Some(double + 0.0));
        }

        #[test]
        fn order_is_kept(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(ordered(a).cmp(&ordered(b)), a.partial_cmp(&b).unwrap());
        }
    }
}
