//! A count with what is counted, in words for people: one is no plural.

/// So many of what is called `one`, such as "1 event" or "2 events".
pub fn counted(count: u64, one: &str) -> String {
    // A key, keys; a delivery, deliveries.
    match one.strip_suffix('y').filter(|stem| !stem.ends_with('e')) {
        _ if count == 1 => format!("1 {one}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {one}s"),
    }
}

/// The same with what they do, as one does it and as several do it.
pub fn doing(count: u64, one: &str, [does, do_]: [&str; 2]) -> String {
    format!("{} {}", counted(count, one), if count == 1 { does } else { do_ })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_none_is() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "dead letter")), ["0 dead letters", "1 dead letter", "2 dead letters"]);
        assert_eq!([1, 2].map(|n| counted(n, "delivery")), ["1 delivery", "2 deliveries"]);
        assert_eq!([1, 2].map(|n| doing(n, "event", ["comes", "come"])), ["1 event comes", "2 events come"]);
    }
}
