//! A report of the audit trail to read and to print: one document without scripts, pictures or anything from elsewhere.

use std::fmt::Write as _;

use quipu_api::audit::{ActAnswer, ReportAnswer};

const STYLE: &str = "body{font:10pt/1.4 system-ui,sans-serif;margin:2em}h1{font-size:16pt}dl{display:grid;grid-template-columns:\
    max-content 1fr;gap:.2em 1em}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}table{border-collapse:collapse;\
    width:100%}th,td{border-bottom:1px solid #bbb;padding:.3em .5em;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
    thead{display:table-header-group}tr{break-inside:avoid}.refused,.failed{background:#fdecea}@media print{body{margin:0}}";

/// What the page may load: nothing but the style that is in it.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// The document.
pub(crate) fn html(report: &ReportAnswer) -> String {
    let mut out = String::with_capacity(4_096 + report.acts.len() * 512);
    let title = format!("Audit trail of {}", report.tenant);
    _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title><style>{STYLE}</style></head><body>\
         <h1>{}</h1><dl>",
        Escaped(&title),
        Escaped(&title)
    );
    let everything = if report.question.is_empty() { "everything" } else { &report.question };
    let count = match report.complete {
        true => report.acts.len().to_string(),
        false => format!("{}, and there are more: ask for a shorter range of time", report.acts.len()),
    };
    for (term, text) in [
        ("Asked for", everything),
        ("Made", &report.made),
        ("Acts", &count),
        ("Head of the trail", &report.head),
        ("Check", "quipu audit verify, with this head"),
    ] {
        _ = write!(out, "<dt>{term}</dt><dd>{}</dd>", Escaped(text));
    }
    out.push_str(
        "</dl><table><thead><tr><th>Time</th><th>Who</th><th>From</th><th>What</th><th>To what</th><th>Outcome</th>",
    );
    out.push_str("<th>More</th></tr></thead><tbody>\n");
    report.acts.iter().for_each(|act| row(&mut out, act));
    out.push_str("</tbody></table></body></html>\n");
    out
}

fn row(out: &mut String, act: &ActAnswer) {
    let details = if act.details.is_null() { String::new() } else { act.details.to_string() };
    let correlation = act.correlation.as_ref().map(|id| format!("correlation {id}")).unwrap_or_default();
    let more = [act.code.as_deref(), act.detail.as_deref(), Some(&details), Some(&correlation)];
    let more: Vec<_> = more.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    _ = write!(out, "<tr class=\"{}\">", Escaped(&act.outcome));
    let address = act.address.as_deref().unwrap_or_default();
    for text in [&act.time, &act.who(), address, &act.operation, &act.subject, &act.ended(), &more.join("; ")] {
        _ = write!(out, "<td>{}</td>", Escaped(text));
    }
    out.push_str("</tr>\n");
}

/// A text in HTML, between tags or in a quoted attribute.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_stays_text() {
        let evil = r#"<script>alert("x")</script>'&"#;
        let act: ActAnswer = serde_json::from_value(serde_json::json!({
            "position":1,"time":evil,"act":evil,"operation":evil,"actor":{"id":evil,"name":evil},"address":evil,"subject":evil,
            "correlationid":evil,"outcome":evil,"code":evil,"detail":evil,"details":{"x":evil},"count":2
        }))
        .unwrap();
        let text = || evil.to_owned();
        let report = ReportAnswer {
            tenant: text(),
            made: text(),
            question: text(),
            head: text(),
            complete: false,
            acts: vec![act],
        };
        let page = html(&report);
        assert!(!page.contains("<script") && !page.contains("alert(\""), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 17);
    }
}
