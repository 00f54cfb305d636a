//! SQL in pieces: what stands in quotes and comments is told from what does not. As PostgreSQL and SQLite read it, where they differ in
//! what neither of them would take from the other.

use std::ops::Range;

use super::InvalidStatement;

/// A piece of SQL; comments and spaces are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, a name or a number.
    Word(&'a str),
    /// A name in quotes, as it stands between them.
    Name(&'a str),
    /// A text, as it stands between its quotes.
    Text(&'a str),
    /// The name of a parameter, without its colon.
    Parameter(&'a str),
    /// Anything else, byte by byte.
    Sign(u8),
}

/// The pieces of a text, each with where it stands.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Those of this text.
    ///
    /// ```
    /// use quipu_domain::projection::{Token, Tokens};
    /// let tokens: Vec<_> = Tokens::of("f(:id, 'a:b')::int -- :c").map(|token| token.unwrap().1).collect();
    /// assert_eq!(tokens[..4], [Token::Word("f"), Token::Sign(b'('), Token::Parameter("id"), Token::Sign(b',')]);
    /// assert_eq!(tokens[4], Token::Text("a:b"));
    /// ```
    pub fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn read(&mut self) -> Result<Option<(Range<usize>, Token<'a>)>, InvalidStatement> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            let (at, next) = (self.at, bytes.get(self.at + 1).copied());
            let (end, token) = match (byte, next) {
                (b'\'', _) => quoted(self.text, at, false, Token::Text)?,
                (b'"' | b'`', _) => quoted(self.text, at, false, Token::Name)?,
                (b'-', Some(b'-')) => {
                    self.at = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end);
                    continue;
                }
                (b'/', Some(b'*')) => {
                    self.at = end_of_comment(bytes, at)?;
                    continue;
                }
                // A cast of PostgreSQL.
                (b':', Some(b':')) => (at + 2, Token::Sign(b':')),
                (b':', Some(next)) if next.is_ascii_alphabetic() || next == b'_' => {
                    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
                    let end = at + 1 + bytes[at + 1..].iter().take_while(|byte| is_name(byte)).count();
                    (end, Token::Parameter(&self.text[at + 1..end]))
                }
                (b'?', _) => return Err(InvalidStatement::Placeholder { found: '?' }),
                // Also before what is not ASCII: PostgreSQL takes that for the name of a quote.
                (b'@' | b'$', Some(next))
                    if next.is_ascii_alphanumeric() || next == b'$' || next == b'_' || !next.is_ascii() =>
                {
                    return Err(InvalidStatement::Placeholder { found: char::from(*byte) });
                }
                // With a backslash before a quote, the quote is a character of the text.
                (b'e' | b'E', Some(b'\'')) => quoted(self.text, at + 1, true, Token::Text)?,
                // What belongs to a name is passed over whole: `a$1` is no placeholder.
                (byte, _) if byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii() => {
                    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_$".contains(byte) || !byte.is_ascii();
                    let end = at + bytes[at..].iter().take_while(|byte| is_word(byte)).count();
                    let word = &self.text[at..end];
                    // A number ends before it, and a placeholder or a quote begins.
                    if byte.is_ascii_digit() && word.contains('$') {
                        return Err(InvalidStatement::Placeholder { found: '$' });
                    }
                    (end, Token::Word(word))
                }
                (byte, _) => (at + 1, Token::Sign(*byte)),
            };
            self.at = end;
            if !matches!(token, Token::Sign(sign) if sign.is_ascii_whitespace()) {
                return Ok(Some((at..end, token)));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<(Range<usize>, Token<'a>), InvalidStatement>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// What begins with the quote at `quote`, and its end; a doubled quote is a character of it.
fn quoted<'a>(
    text: &'a str,
    quote: usize,
    has_backslashes: bool,
    token: fn(&'a str) -> Token<'a>,
) -> Result<(usize, Token<'a>), InvalidStatement> {
    let bytes = text.as_bytes();
    let sign = bytes[quote];
    let mut end = quote + 1;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'\\' if has_backslashes => end += 2,
            byte if *byte != sign => end += 1,
            _ if bytes.get(end + 1) == Some(&sign) => end += 2,
            _ => return Ok((end + 1, token(&text[quote + 1..end]))),
        }
    }
    Err(InvalidStatement::Unclosed { what: "a quote" })
}

/// Behind a comment; there may be others in it.
fn end_of_comment(bytes: &[u8], at: usize) -> Result<usize, InvalidStatement> {
    let (mut end, mut depth) = (at + 2, 1);
    while depth > 0 {
        let sign =
            memchr::memchr2(b'*', b'/', &bytes[end..]).ok_or(InvalidStatement::Unclosed { what: "a comment" })?;
        end += sign;
        match (bytes[end], bytes.get(end + 1)) {
            (b'*', Some(b'/')) => (end, depth) = (end + 2, depth - 1),
            (b'/', Some(b'*')) => (end, depth) = (end + 2, depth + 1),
            _ => end += 1,
        }
    }
    Ok(end)
}
