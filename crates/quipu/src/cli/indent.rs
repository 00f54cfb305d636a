//! JSON laid out for people. It works on the text and not on values: a number of a stranger's data with more digits
//! than a float has is shown as it was sent, and members keep their order.

/// The text of one JSON value, which must be valid, over several lines.
pub fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_changes() {
        let json = r#"{"b":12345678901234567890.10,"a":["x, {\"y\"}:[",{ },[ ],{"c" : null}]}"#;
        let indented = indent(json);
        let expected = "{\n  \"b\": 12345678901234567890.10,\n  \"a\": [\n    \"x, {\\\"y\\\"}:[\",\n    {},\n    [],\n    {\n      \"c\": null\n    }\n  ]\n}";
        assert_eq!(indented, expected);
    }
}
