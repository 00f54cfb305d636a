//! Patterns and transformations, which anybody may give a subscription, and the events that they meet.

use quipu_domain::{Explanation, Pattern, PatternSet, Scratch, Transform, parse_event};
use quipu_engine::transform::{Format, Transformer};
use serde::de::IgnoredAny;

/// Patterns, one a line, then an empty line and an event: a set says of each what it says alone, also after others left.
pub fn pattern(bytes: &[u8]) -> bool {
    let Some((definitions, event)) = parts(bytes) else { return false };
    let patterns: Vec<Pattern> = definitions.lines().take(8).filter_map(|line| Pattern::parse(line).ok()).collect();
    let mut set = PatternSet::new();
    patterns.iter().enumerate().for_each(|(number, pattern)| set.insert(number, pattern.clone()));
    holds_as_alone(&set, &patterns, event);
    (0..patterns.len()).step_by(2).for_each(|number| _ = set.remove(&number));
    holds_as_alone(&set, &patterns, event);
    !patterns.is_empty()
}

fn holds_as_alone(set: &PatternSet<usize>, patterns: &[Pattern], event: &str) {
    let (snapshot, mut scratch) = (set.snapshot(), Scratch::default());
    let matched: Vec<usize> = snapshot.matches(event.as_bytes(), &mut scratch).copied().collect();
    let envelope = parse_event(event.as_bytes()).ok().map(|incoming| incoming.event);
    for (number, pattern) in patterns.iter().enumerate().filter(|(number, _)| set.contains(number)) {
        let Ok(alone) = pattern.matches(event.as_bytes()) else { continue };
        assert_eq!(matched.contains(&number), alone, "{pattern}");
        let explained = pattern.explain(event.as_bytes()).expect("an event that can be matched can be explained");
        assert_eq!(explained == Explanation::Match, alone, "{pattern}");
        let Some(envelope) = &envelope else { continue };
        let as_event = pattern.matches_event(envelope, None);
        assert_eq!(pattern.matches(&super::write(envelope)), Ok(as_event), "{pattern}");
        assert!(snapshot.matches_event(envelope, None, &mut scratch).any(|n| *n == number) == as_event, "{pattern}");
    }
}

/// A transformation as JSON, an empty line and an event: the same outcome each time, and of the format that was promised.
pub fn transform(bytes: &[u8]) -> bool {
    let Some((definition, event)) = parts(bytes) else { return false };
    let Ok(transform) = serde_json::from_str::<Transform>(definition) else { return false };
    let Ok(transformer) = Transformer::compile(&transform, "a-subscription") else { return false };
    let outcome = transformer.apply(event.as_bytes());
    assert_eq!(transformer.apply(event.as_bytes()), outcome);
    let Ok(outcome) = outcome else { return false };
    assert!(std::str::from_utf8(&outcome).is_ok());
    let is_json = serde_json::from_slice::<IgnoredAny>(&outcome).is_ok();
    assert!(is_json || transformer.format() == Format::Text);
    true
}

fn parts(bytes: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(bytes).ok()?.split_once("\n\n")
}
