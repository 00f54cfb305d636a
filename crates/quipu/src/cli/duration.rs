//! Lengths of time as flags take them and tables show them: one number and its unit, `500ms`, `30s`, `5m`, `12h`, `14d`.

/// Units and their milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The milliseconds of a flag's value. A number without a unit is refused: whoever writes 30 may mean seconds or
/// milliseconds.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text[..text.len() - unit.len()].parse::<u64>().ok();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let milliseconds = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    milliseconds.ok_or_else(|| "expected a number and its unit, such as 500ms, 30s, 5m, 12h or 14d".to_owned())
}

/// In the longest unit of which there are two, so that little is lost by rounding down.
pub fn show(milliseconds: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| milliseconds >= 2 * factor;
    let (name, factor) = UNITS.iter().find(fits).copied().unwrap_or(("ms", 1));
    format!("{}{name}", milliseconds / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        for (text, expected) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("14d", 1_209_600_000)] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in
            ["", "30", "s", "1.5s", "-1s", "+1s", "1 s", "1h30m", "1S", "99999999999999999999d", "999999999999999d"]
        {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_a_unit_that_says_enough() {
        for (given, shown) in
            [(0, "0ms"), (1_999, "1999ms"), (2_000, "2s"), (119_999, "119s"), (120_000, "2m"), (172_800_000, "2d")]
        {
            assert_eq!(show(given), shown);
        }
    }
}
