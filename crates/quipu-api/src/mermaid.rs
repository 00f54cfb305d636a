//! The catalog as a flowchart of Mermaid: sources, types and those who read them. What reads and publishes - sagas, rules and expectations -
//! is one box, so that a process is seen from its first event to its last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::catalog::CatalogLine;

/// A flowchart of these types, which are sorted by their names. A dotted line was declared and not observed.
pub fn flowchart(types: &[CatalogLine]) -> String {
    let mut out = "flowchart LR\n".to_owned();
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    let mut consumers: BTreeMap<&str, usize> = BTreeMap::new();
    for line in types {
        line.consumers.iter().for_each(|consumer| _ = consumers.insert(&consumer.name, 0));
    }
    let publishers = types.iter().flat_map(|line| &line.publishers).map(|publisher| publisher.name.as_str());
    sources.extend(publishers.filter(|name| !consumers.contains_key(reader(name))).map(|name| (name, 0)));
    for (letter, [open, close], names) in [('s', ["([", "])"], &mut sources), ('c', ["[[", "]]"], &mut consumers)] {
        for (number, (name, place)) in names.iter_mut().enumerate() {
            *place = number;
            _ = writeln!(out, "    {letter}{number}{open}\"{}\"{close}", escaped(name));
        }
    }
    for (number, line) in types.iter().enumerate() {
        _ = writeln!(out, "    t{number}[\"{}\"]", escaped(&line.kind));
        for publisher in &line.publishers {
            let arrow = if publisher.events > 0 { "-->" } else { "-.->" };
            let name = publisher.name.as_str();
            let (letter, place) = match consumers.get(reader(name)) {
                Some(place) => ('c', place),
                None => ('s', &sources[name]),
            };
            _ = writeln!(out, "    {letter}{place} {arrow} t{number}");
        }
        for consumer in &line.consumers {
            let arrow = if consumer.takes.is_some() { "-->" } else { "-.->" };
            _ = writeln!(out, "    t{number} {arrow} c{}", consumers[consumer.name.as_str()]);
        }
        if line.more_consumers > 0 {
            _ = writeln!(out, "    t{number} --> m{number}[[\"{} more\"]]", line.more_consumers);
        }
    }
    out
}

/// What a source is called as a reader, if it is a saga, a rule or an expectation. No subscription has such a name.
fn reader(source: &str) -> &str {
    source.strip_prefix("/quipu/").filter(|name| name.contains('/')).unwrap_or("")
}

/// A text between quotation marks: whatever could end it, begin a tag or be read as Markdown is a number.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_alphanumeric() || " ./:-_@+=".contains(c) {
            true => out.push(c),
            false => _ = write!(out, "#{};", u32::from(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, publishers: &str, consumers: &str) -> CatalogLine {
        let text = format!(
            r#"{{"type":{},"declared":false,"versions":[],"publishers":[{publishers}],"consumers":[{consumers}],
                "events":0,"lasthour":0,"lastday":0,"marked":0,"refused":0}}"#,
            serde_json::Value::from(kind)
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn sources_types_and_readers_are_joined_and_what_is_only_declared_is_dotted() {
        let types = [
            line("a.b", r#"{"name":"/s","declared":false,"events":1}"#, r#"{"name":"x","declared":true}"#),
            line("a.c", r#"{"name":"/s","declared":true,"events":0}"#, r#"{"name":"y","declared":true,"takes":"all"}"#),
        ];
        let expected = "flowchart LR\n    s0([\"/s\"])\n    c0[[\"x\"]]\n    c1[[\"y\"]]\n    t0[\"a.b\"]\n    s0 --> t0\n    \
                        t0 -.-> c0\n    t1[\"a.c\"]\n    s0 -.-> t1\n    t1 --> c1\n";
        assert_eq!(flowchart(&types), expected);
    }

    #[test]
    fn what_reads_and_publishes_is_one_box() {
        let types = [
            line(
                "a",
                r#"{"name":"/s","declared":false,"events":1}"#,
                r#"{"name":"rules/r","declared":true,"takes":"all"}"#,
            ),
            line("b", r#"{"name":"/quipu/rules/r","declared":false,"events":1}"#, ""),
            line("c", r#"{"name":"/quipu/schedules/s","declared":false,"events":1}"#, ""),
        ];
        let expected = "flowchart LR\n    s0([\"/quipu/schedules/s\"])\n    s1([\"/s\"])\n    c0[[\"rules/r\"]]\n    t0[\"a\"]\n    s1 --> t0\n    \
                        t0 --> c0\n    t1[\"b\"]\n    c0 --> t1\n    t2[\"c\"]\n    s0 --> t2\n";
        assert_eq!(flowchart(&types), expected);
    }

    #[test]
    fn consumers_that_are_not_listed_are_counted() {
        let mut crowded = line("a.b", "", r#"{"name":"x","declared":true}"#);
        crowded.more_consumers = 7;
        assert!(flowchart(&[crowded]).ends_with("    t0 -.-> c0\n    t0 --> m0[[\"7 more\"]]\n"));
    }

    #[test]
    fn a_hostile_name_stays_a_name() {
        let hostile = "x\"];click t0 href \"javascript:alert(1)\"\n<b>`%%{init}%%`#quot;";
        let chart = flowchart(&[line(hostile, "", "")]);
        assert_eq!(chart.lines().count(), 2);
        let inside = chart.lines().last().unwrap().strip_prefix("    t0[\"").unwrap().strip_suffix("\"]").unwrap();
        assert!(!inside.contains(['"', '<', '`', '%', '(', '[', '{']), "{inside}");
    }
}
