//! JSON pointers (RFC 6901): how they are put together, and how one is written into the fragment of a reference.

/// The pointer of a member.
pub(super) fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The pointer of an element.
pub(super) fn element(pointer: &str, index: usize) -> String {
    format!("{pointer}/{index}")
}

/// The names in a pointer.
pub(super) fn names(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"))
}

/// A pointer as the fragment of a reference, with the number sign. Of what RFC 3986 allows there, all but the
/// characters that nobody has in a name stays as it is.
pub(super) fn fragment(pointer: &str) -> String {
    let mut out = String::from("#");
    for byte in pointer.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~$*+@!".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A fragment as it was before it was written into a URI; nothing where it cannot have been one.
pub(super) fn decode(fragment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(fragment.len());
    let mut bytes = fragment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_read_as_it_was_written() {
        for name in ["plain", "a/b", "a~b", "50 %", "über", "a#b", "\"", "^x-", ""] {
            let pointer = member("", name);
            let written = fragment(&pointer);
            assert_eq!(decode(&written[1..]).as_deref(), Some(pointer.as_str()), "{written}");
            assert_eq!(names(&pointer).collect::<Vec<_>>(), [name]);
        }
        for none in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(none), None, "{none}");
        }
    }
}
