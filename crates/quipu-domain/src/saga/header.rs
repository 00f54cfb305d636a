//! Which headers a declaration may give its calls: none that is made here or belongs to the connection, and none that is there to hold a
//! secret, since a declaration is seen by whoever may see sagas.

/// Most headers of a call.
pub(super) const HEADERS_MAX: usize = 16;
/// Longest name and value, bytes.
const NAME_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1_024;

/// What is made here, or belongs to the connection.
const OURS: [&str; 17] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// What is ours by its beginning.
const OUR_PREFIXES: [&str; 3] = ["quipu-", "webhook-", "proxy-"];
/// What is there to hold a secret.
const SECRET: [&str; 2] = ["authorization", "cookie"];

/// Why a declaration may not give this header.
pub(super) fn problem(name: &str, value: &str) -> Option<String> {
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_token) {
        return Some(format!("expected the name of a header, at most {NAME_BYTES_MAX} bytes, found another text"));
    }
    let lower = name.to_ascii_lowercase();
    if SECRET.contains(&lower.as_str()) {
        return Some(format!("expected no {lower}: whoever may see the saga would see it; sign the call instead"));
    }
    if OURS.contains(&lower.as_str()) || OUR_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Some(format!("expected a header that a call does not have already, found {lower}"));
    }
    if value.len() > VALUE_BYTES_MAX || !value.bytes().all(|c| c == b' ' || c.is_ascii_graphic()) {
        return Some(format!("expected a value of at most {VALUE_BYTES_MAX} visible ASCII characters, found another"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_gives_headers_that_are_neither_ours_nor_secret() {
        for (name, value) in [("X-Api-Version", "2024-01-01"), ("accept-language", "de, en;q=0.5"), ("prefer", "")] {
            assert_eq!(problem(name, value), None, "{name}");
        }
        for (name, value, part) in [
            ("Authorization", "Bearer hunter2", "expected no authorization"),
            ("COOKIE", "a=hunter2", "expected no cookie"),
            ("Idempotency-Key", "x", "found idempotency-key"),
            ("Content-Type", "text/plain", "found content-type"),
            ("host", "a.example", "found host"),
            ("Transfer-Encoding", "chunked", "found transfer-encoding"),
            ("Quipu-Anything", "x", "found quipu-anything"),
            ("webhook-signature", "x", "found webhook-signature"),
            ("proxy-authorization", "hunter2", "found proxy-authorization"),
            ("", "x", "name of a header"),
            ("a b", "x", "name of a header"),
            ("a\r\nb", "x", "name of a header"),
            ("x-a", "1\r\nx-b: hunter2", "visible ASCII"),
            ("x-a", "ü", "visible ASCII"),
        ] {
            let found = problem(name, value).expect(name);
            assert!(found.contains(part) && !found.contains("hunter2"), "{name}: {found}");
        }
        assert!(problem("x-a", &"x".repeat(1_025)).is_some() && problem(&"x".repeat(65), "").is_some());
    }
}
