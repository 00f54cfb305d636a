//! A count with what is counted, in words for people: one is no plural.

/// So many of what is called `one`, such as "1 event" or "2 events".
pub fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_none_is() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "dead letter")), ["0 dead letters", "1 dead letter", "2 dead letters"]);
    }
}
