//! The functions that an expression may call: those of jaq that look at nothing but their input, and a few of our own
//! in jq itself. Each is named here, so that a newer jaq brings none unnoticed.

use std::collections::BTreeSet;

use jaq_core::load::parse::Def;

use super::natives;

/// Definitions in jq, in the order in which each finds those it needs.
pub(super) struct Library {
    pub definitions: Vec<Def<&'static str>>,
    known: BTreeSet<(&'static str, usize)>,
}

/// What is taken from jaq's own definitions, with any number of arguments.
const OF_JAQ: &str = "
    empty error true false not select tostring range repeat recurse while until
    paths getpath setpath delpaths map map_values walk del first last nth combinations
    to_entries from_entries with_entries isempty all any null isboolean isnumber isstring isarray isobject
    isinfinite isfinite isnormal abs type values nulls booleans numbers finites normals strings arrays objects
    iterables scalars add min_by max_by min max unique_by unique pick keys flatten
    capture_of_match test match capture split splits sub gsub scan
    todate fromdate @sh @text @html @uri @urid @base64 @base64d
";

/// What jaq has in Rust for its own values, or differently from jq.
const OURS: &str = r#"
    def totype(p; e): if p then . else fromjson | if p then . else e end end;
    def tonumber : totype(isnumber ; error("cannot be parsed as a number"));
    def toboolean: totype(isboolean; error("cannot be parsed as a boolean"));
    def toarray: if isarray then . else [.] end;
    def transpose: [range([.[] | length] | max // 0) as $i | [.[][$i]]];
    def in(xs)    : . as $x | xs | has     ($x);
    def inside(xs): . as $x | xs | contains($x);
    def  index($i): indices($i)[ 0];
    def rindex($i): indices($i)[-1];
    def ascii: [.] | implode;
    def @json: tojson;
    def @csv: [.[] |
      if isstring then "\"" + (split("\"") | join("\"\"")) + "\""
      elif . == null then ""
      elif isarray or isobject then error("an array or object cannot be a field of CSV")
      else tojson end] | join(",");
"#;

/// `scan` of jaq takes a group that did not take part for none.
const BEFORE_JAQ: &str =
    "def scan_(re; flags): matches(re; flags)[] | [.[].string] | if length > 1 then .[1:] else .[0] end;";

/// Why a function of jq is not there. All others are misspelt.
const NOT_THERE: [(&str, &[&str]); 4] = [
    (
        ": an expression sees nothing but its event",
        &["input", "inputs", "env", "input_filename", "input_line_number", "get_search_list", "modulemeta", "builtins"],
    ),
    (
        ": the same event has the same outcome at any time and place",
        &[
            "now",
            "localtime",
            "gmtime",
            "mktime",
            "strftime",
            "strflocaltime",
            "strptime",
            "date",
            "dateadd",
            "datesub",
            "dateadd",
        ],
    ),
    (": an expression has no effects", &["debug", "stderr", "input_line_number", "halt", "halt_error"]),
    (
        ": of mathematics there are + - * / %, floor, ceil, round, trunc, fabs, abs, sqrt, pow, exp and log",
        &["sin", "cos", "tan", "asin", "acos", "atan", "cbrt", "significand", "logb", "gamma", "lgamma", "frexp"],
    ),
];

impl Library {
    pub fn new() -> Self {
        let wanted: BTreeSet<&str> = OF_JAQ.split_whitespace().collect();
        let of_jaq = jaq_core::defs().chain(jaq_std::defs()).filter(|def| wanted.contains(def.name));
        // jaq's first need `length` and the like, which are natives; ours need jaq's.
        let definitions: Vec<_> = own(BEFORE_JAQ).into_iter().chain(of_jaq).chain(own(OURS)).collect();
        let known = definitions.iter().map(|def| (def.name, def.args.len()));
        let known = known.chain(natives::all().map(|(name, arguments, _)| (name, arguments.len())));
        let known = known.filter(|(name, _)| !name.starts_with('!')).collect();
        Self { definitions, known }
    }

    pub fn knows(&self, name: &str, arguments: usize) -> bool {
        self.known.iter().any(|known| known.0 == name && known.1 == arguments)
    }

    /// Why a function of jq is missing, or with how many arguments it is there.
    pub fn why_not(&self, name: &str) -> Option<String> {
        if let Some((why, _)) = NOT_THERE.iter().find(|(_, names)| names.contains(&name)) {
            return Some((*why).to_owned());
        }
        let counts = self.known.iter().filter(|(known, _)| *known == name).map(|(_, count)| count.to_string());
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then(|| format!(", only with {}", counts.join(" or ")))
    }
}

fn own(text: &'static str) -> Vec<Def<&'static str>> {
    jaq_core::load::parse(text, |parser| parser.defs()).expect("the library is jq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_that_is_named_exists() {
        let library = Library::new();
        for name in OF_JAQ.split_whitespace() {
            assert!(library.definitions.iter().any(|def| def.name == name), "{name}");
        }
    }

    #[test]
    fn nothing_that_is_said_not_to_be_there_is_there() {
        let library = Library::new();
        for name in NOT_THERE.iter().flat_map(|(_, names)| *names) {
            assert!(!library.known.iter().any(|(known, _)| known == name), "{name}");
        }
    }
}
