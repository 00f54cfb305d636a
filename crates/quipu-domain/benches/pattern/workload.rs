//! What the benchmark matches: events as a shop has them and GitHub's webhooks, and the n-th pattern of each kind. Made
//! from numbers that are the same in every run. A unit test holds the sets made of them to the naive matcher.

use std::fs;
use std::path::Path;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// The kinds of patterns for small events; `mixed` has some of each.
pub const SMALL_KINDS: [&str; 12] = [
    "exact",
    "prefix",
    "suffix",
    "wildcard",
    "anything-but",
    "numeric",
    "arrays",
    "shared",
    "cidr",
    "or",
    "ignore-case",
    "mixed",
];
/// The kinds of patterns for GitHub's events.
pub const GITHUB_KINDS: [&str; 9] =
    ["exact", "prefix", "suffix", "wildcard", "anything-but", "numeric", "arrays", "shared", "mixed"];

const COUNTRIES: [&str; 8] = ["DE", "FR", "US", "JP", "BR", "IN", "GB", "SE"];
const STATES: [&str; 5] = ["open", "paid", "packed", "shipped", "cancelled"];
const TYPES: [&str; 6] =
    ["order.placed", "order.paid", "order.shipped", "order.cancelled", "stock.reserved", "stock.released"];

/// CloudEvents of 300 to 900 bytes, as a shop has them.
pub fn small_events() -> Vec<String> {
    let mut dice = Dice(7);
    let event = |n: u64| {
        let items: Vec<String> = (0..=dice.below(3))
            .map(|_| {
                let (sku, count) = (dice.below(200_000), dice.below(9) + 1);
                format!("{{\"sku\":\"sku-{sku:06}\",\"quantity\":{count},\"price\":{}.99}}", dice.below(500))
            })
            .collect();
        let customer = dice.below(200_000);
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"0190b3c4-{n:08}\",\"source\":\"/shop/{}\",\"type\":\"{}\",\
             \"subject\":\"order/{:010}\",\"time\":\"2026-01-01T00:00:00.000Z\",\"datacontenttype\":\"application/json\",\
             \"data\":{{\"state\":\"{}\",\"customer\":{{\"id\":\"c-{customer:06}\",\"ip\":\"10.{}.{}.7\"}},\
             \"total\":{}.5,\"file\":\"/invoices/{:06}/page-{:06}.pdf\",\"items\":[{}],\"tags\":[\"gift\",\"t{}\"],\
             \"note\":\"{}\"}}}}",
            dice.one_of(&COUNTRIES),
            dice.one_of(&TYPES),
            dice.below(1_000_000),
            dice.one_of(&STATES),
            dice.below(256),
            dice.below(256),
            dice.below(1_000_000),
            dice.below(200_000),
            dice.below(200_000),
            items.join(","),
            dice.below(50),
            "handle with care ".repeat(dice.below(16) as usize).trim_end(),
        )
    };
    (0..2_000).map(event).collect()
}

/// Webhooks as GitHub documents them.
pub fn github_events() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/github/events.ndjson");
    fs::read_to_string(path).expect("the example is part of the repository").lines().map(str::to_owned).collect()
}

/// The pattern with this number of a kind, for small events. Few of them match one event.
pub fn small_pattern(kind: &str, n: u64) -> String {
    let mut dice = Dice(n.wrapping_mul(0x9E37_79B9));
    let (country, state, ty) = (dice.one_of(&COUNTRIES), dice.one_of(&STATES), dice.one_of(&TYPES));
    match kind {
        "exact" => format!(r#"{{"type":["{ty}"],"data":{{"state":["{state}"],"customer":{{"id":["c-{n:06}"]}}}}}}"#),
        "prefix" => format!(r#"{{"data":{{"file":[{{"prefix":"/invoices/{n:06}/"}}]}}}}"#),
        "suffix" => format!(r#"{{"data":{{"file":[{{"suffix":"-{n:06}.pdf"}}]}}}}"#),
        "wildcard" => format!(r#"{{"data":{{"file":[{{"wildcard":"*/*{n:06}/page-*.pdf"}}]}}}}"#),
        "anything-but" => format!(
            r#"{{"data":{{"customer":{{"id":["c-{n:06}"]}},"state":[{{"anything-but":["{state}","lost"]}}]}}}}"#
        ),
        "numeric" => format!(r#"{{"data":{{"total":[{{"numeric":[">=",{},"<",{}]}}]}}}}"#, n * 10, n * 10 + 10),
        "arrays" => {
            format!(r#"{{"data":{{"items":{{"sku":["sku-{n:06}"],"quantity":[{{"numeric":[">",{}]}}]}}}}}}"#, n % 8)
        }
        "shared" => format!(
            r#"{{"specversion":["1.0"],"datacontenttype":["application/json"],"time":[{{"prefix":"2026"}}],"subject":["order/{n:010}"]}}"#
        ),
        "cidr" => format!(r#"{{"data":{{"customer":{{"ip":[{{"cidr":"10.{}.{}.0/24"}}]}}}}}}"#, n / 256 % 256, n % 256),
        "or" => format!(
            r#"{{"source":["/shop/{country}"],"data":{{"$or":[{{"customer":{{"id":["c-{n:06}"]}}}},{{"state":["{state}"],"total":[{}.5]}}]}}}}"#,
            n * 3
        ),
        "ignore-case" => {
            format!(r#"{{"source":["/shop/{country}"],"subject":[{{"equals-ignore-case":"ORDER/{n:010}"}}]}}"#)
        }
        _ => {
            let kinds = [
                "exact",
                "prefix",
                "suffix",
                "wildcard",
                "anything-but",
                "numeric",
                "arrays",
                "shared",
                "or",
                "ignore-case",
            ];
            // Each kind with numbers of its own, from all over what events say.
            small_pattern(kinds[n as usize % kinds.len()], n / 10 + dice.below(19) * 10_000)
        }
    }
}

/// The pattern with this number of a kind, for GitHub's events. Nearly all are about repositories that those do not name;
/// one in 19,997 is about one that most of them do.
pub fn github_pattern(kind: &str, n: u64) -> String {
    let mut dice = Dice(n.wrapping_mul(0x9E37_79B9));
    let action = dice.one_of(&["opened", "closed", "created", "deleted", "edited", "completed"]);
    let (owner, name, commit) = match n % 19_997 {
        7 => ("Codertocat".to_owned(), "Hello-World".to_owned(), "6113728f27ae82c7b1a177c8d03f9e96e0adf246".to_owned()),
        _ => (format!("octo-{n}"), format!("repo-{n}"), format!("{n:040x}")),
    };
    match kind {
        "exact" => format!(r#"{{"data":{{"action":["{action}"],"repository":{{"full_name":["{owner}/{name}"]}}}}}}"#),
        "prefix" => {
            format!(r#"{{"data":{{"repository":{{"html_url":[{{"prefix":"https://github.com/{owner}/"}}]}}}}}}"#)
        }
        "suffix" => format!(r#"{{"source":[{{"suffix":"/{name}"}}]}}"#),
        "wildcard" => format!(r#"{{"data":{{"repository":{{"url":[{{"wildcard":"https://*/repos/{owner}/*"}}]}}}}}}"#),
        "anything-but" => {
            format!(r#"{{"data":{{"sender":{{"login":["{owner}"],"type":[{{"anything-but":"Bot"}}]}}}}}}"#)
        }
        "numeric" => format!(
            r#"{{"data":{{"repository":{{"id":[{{"numeric":[">=",{},"<",{}]}}]}}}}}}"#,
            186_000_000 + n * 10,
            186_000_000 + n * 10 + 10
        ),
        "arrays" => {
            format!(r#"{{"data":{{"commits":{{"id":["{commit}"],"distinct":[true]}},"action":[{{"exists":false}}]}}}}"#)
        }
        "shared" => format!(
            r#"{{"specversion":["1.0"],"time":[{{"prefix":"2026"}}],"datacontenttype":["application/json"],"subject":["issues/{n}"]}}"#
        ),
        _ => {
            let kinds = ["exact", "prefix", "suffix", "wildcard", "anything-but", "numeric", "arrays", "shared"];
            github_pattern(kinds[n as usize % kinds.len()], n)
        }
    }
}
