//! Where a subscription begins or goes on, as a flag says it.

use quipu_domain::{StartAt, Timestamp};

/// `beginning`, `now`, a position or a time.
pub fn start_at(text: &str) -> Result<StartAt, String> {
    match (text, text.parse::<u64>()) {
        ("beginning", _) => Ok(StartAt::Beginning),
        ("now", _) => Ok(StartAt::Now),
        (_, Ok(position)) if !text.starts_with('+') => Ok(StartAt::Position(position)),
        _ if Timestamp::parse(text).is_some() => Ok(StartAt::Time(text.to_owned())),
        _ => Err("expected beginning, now, a position, or a time such as 2026-01-31T09:30:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_a_position_or_a_time() {
        let time = "2026-01-31T09:30:00Z";
        for (text, expected) in [
            ("beginning", StartAt::Beginning),
            ("now", StartAt::Now),
            ("17", StartAt::Position(17)),
            (time, StartAt::Time(time.into())),
        ] {
            assert_eq!(start_at(text), Ok(expected));
        }
        for text in ["", "soon", "-1", "+1", "2026-01-31", "Now"] {
            assert!(start_at(text).is_err(), "{text}");
        }
    }
}
