//! Strings of a length, of a known format, and of simple patterns.

use serde_json::Value;

use super::random::Random;
use crate::schema::compatibility::work::Work;

/// Letters that a schema may ask for.
const LENGTH_MAX: u64 = 5000;
/// What is made of one pattern, and how deep its groups are followed.
const PATTERN_LENGTH_MAX: usize = 400;
const GROUPS_MAX: usize = 16;
/// Atoms that are read to make one string, and what that takes, in units of [`Work`].
const ATOMS_MAX: usize = 2_000;
const READ: usize = 400;

/// Values of the known formats.
pub(crate) const FORMATS: [(&str, &str); 17] = [
    ("date-time", "2026-01-31T12:00:00Z"),
    ("date", "2026-01-31"),
    ("time", "12:00:00Z"),
    ("duration", "P1DT2H"),
    ("email", "ada@example.com"),
    ("idn-email", "ada@example.com"),
    ("hostname", "example.com"),
    ("idn-hostname", "example.com"),
    ("ipv4", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("uri", "https://example.com/a"),
    ("uri-reference", "/a"),
    ("iri", "https://example.com/a"),
    ("iri-reference", "/a"),
    ("uuid", "0190163d-8694-739b-aea5-966c26f8ad91"),
    ("json-pointer", "/a"),
    ("regex", "^a"),
];

/// A string for schemas that all hold.
pub(crate) fn text(random: &mut Random, holds: &[&Value], work: &Work) -> Option<String> {
    work.take(4 * holds.len());
    let counts = |keyword: &str| holds.iter().filter_map(|schema| schema.get(keyword)?.as_u64()).collect::<Vec<_>>();
    let low = counts("minLength").into_iter().max().unwrap_or(0);
    let high = counts("maxLength").into_iter().min().unwrap_or(low + 6);
    if low > LENGTH_MAX || !work.take(low as usize / 8) {
        return None;
    }
    if let Some(format) = holds.iter().find_map(|schema| schema.get("format")?.as_str())
        && let Some((_, sample)) = FORMATS.iter().find(|(name, _)| *name == format)
    {
        return Some((*sample).to_owned());
    }
    let length = match random.below(4) {
        0 => low,
        1 => high.min(low + 60),
        _ => low + random.below((high.saturating_sub(low).min(12) + 1) as usize) as u64,
    };
    if let Some(pattern) = holds.iter().find_map(|schema| schema.get("pattern")?.as_str()) {
        let mut made = of_pattern(random, pattern, work)?;
        // A pattern that is open at its ends takes more letters there.
        let letter = made.chars().last().unwrap_or('a');
        if !pattern.ends_with('$') {
            let missing = low.saturating_sub(made.chars().count() as u64);
            made.extend(std::iter::repeat_n(letter, missing as usize));
        }
        return Some(made);
    }
    Some((0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect())
}

/// A string that matches a simple pattern: letters, classes, groups, alternatives, counts. Nothing for others.
pub(crate) fn of_pattern(random: &mut Random, pattern: &str, work: &Work) -> Option<String> {
    if !work.take(READ + pattern.len() / 4) {
        return None;
    }
    let letters: Vec<char> = pattern.chars().collect();
    let mut reader = Reader { letters: &letters, at: 0, left: ATOMS_MAX, random };
    let made = reader.alternatives(0)?;
    (reader.at == letters.len()).then_some(made)
}

struct Reader<'p, 'r> {
    letters: &'p [char],
    at: usize,
    /// Atoms that may still be read: `((){400}){400}` makes nothing, as often as one likes.
    left: usize,
    random: &'r mut Random,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn take(&mut self, letter: char) -> bool {
        let taken = self.peek() == Some(letter);
        self.at += usize::from(taken);
        taken
    }

    fn alternatives(&mut self, depth: usize) -> Option<String> {
        if depth > GROUPS_MAX {
            return None;
        }
        let mut all = vec![self.sequence(depth)?];
        while self.take('|') {
            all.push(self.sequence(depth)?);
        }
        let chosen = self.random.below(all.len());
        all.into_iter().nth(chosen)
    }

    fn sequence(&mut self, depth: usize) -> Option<String> {
        let mut made = String::new();
        while let Some(letter) = self.peek() {
            if letter == '|' || letter == ')' {
                break;
            }
            let start = self.at;
            let first = self.atom(depth)?;
            let end = self.at;
            let (low, high) = self.count()?;
            let after = self.at;
            let times = low + self.random.below(high - low + 1);
            for time in 0..times {
                if time == 0 {
                    made.push_str(&first);
                } else {
                    self.at = start;
                    made.push_str(&self.atom(depth)?);
                    debug_assert_eq!(self.at, end);
                }
                if made.len() > PATTERN_LENGTH_MAX {
                    return None;
                }
            }
            self.at = after;
        }
        Some(made)
    }

    fn count(&mut self) -> Option<(usize, usize)> {
        let counted = if self.take('?') {
            (0, 1)
        } else if self.take('*') {
            (0, 3)
        } else if self.take('+') {
            (1, 4)
        } else if self.take('{') {
            let low = self.digits()?;
            let high = if self.take(',') { self.digits().unwrap_or(low + 3) } else { low };
            if !self.take('}') || high < low || high > PATTERN_LENGTH_MAX {
                return None;
            }
            (low, high)
        } else {
            return Some((1, 1));
        };
        self.take('?');
        Some(counted)
    }

    fn digits(&mut self) -> Option<usize> {
        let start = self.at;
        while self.peek().is_some_and(|letter| letter.is_ascii_digit()) {
            self.at += 1;
        }
        self.letters[start..self.at].iter().collect::<String>().parse().ok()
    }

    fn atom(&mut self, depth: usize) -> Option<String> {
        let letter = self.peek()?;
        self.left = self.left.checked_sub(1)?;
        self.at += 1;
        match letter {
            '^' | '$' => Some(String::new()),
            '.' => Some("a".to_owned()),
            '(' => {
                if self.take('?') && !self.take(':') {
                    return None;
                }
                let made = self.alternatives(depth + 1)?;
                self.take(')').then_some(made)
            }
            '[' => self.class(),
            '\\' => self.escape().map(|set| self.one_of(&set)),
            '*' | '+' | '?' | '{' => None,
            letter => Some(letter.to_string()),
        }
    }

    fn one_of(&mut self, set: &[char]) -> String {
        set.get(self.random.below(set.len())).map(char::to_string).unwrap_or_default()
    }

    fn escape(&mut self) -> Option<Vec<char>> {
        let letter = self.peek()?;
        self.at += 1;
        match letter {
            'd' => Some(('0'..='9').collect()),
            'w' => Some(('a'..='z').chain('0'..='9').chain(['_']).collect()),
            's' => Some(vec![' ']),
            'S' | 'D' => Some(vec!['a']),
            letter if letter.is_ascii_alphanumeric() => None,
            letter => Some(vec![letter]),
        }
    }

    fn class(&mut self) -> Option<String> {
        let negated = self.take('^');
        let mut set: Vec<char> = Vec::new();
        while !self.take(']') {
            let letter = self.peek()?;
            self.at += 1;
            if letter == '\\' {
                set.extend(self.escape()?);
            } else if self.peek() == Some('-') && self.letters.get(self.at + 1).is_some_and(|next| *next != ']') {
                self.at += 1;
                let last = self.peek()?;
                self.at += 1;
                set.extend((letter..=last).take(128));
            } else {
                set.push(letter);
            }
        }
        if negated {
            set = (' '..='~').filter(|letter| !set.contains(letter)).collect();
        }
        (!set.is_empty()).then(|| self.one_of(&set))
    }
}
