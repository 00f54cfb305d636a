//! The reference page of the HTTP interface, made from the catalogue: markdown, one section an operation.

use std::fmt::Write as _;

use crate::catalogue::{Needs, OPERATIONS, Operation};
use crate::parameter::Place;
use crate::{Code, Problem};

/// The reference page, markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# The HTTP interface\n\nThis page is generated from the catalogue of operations; `/openapi.json` says the same \
         to machines.\n\n| operation | route | |\n|---|---|---|\n",
    );
    for operation in OPERATIONS {
        let Operation { name, method, path, summary, .. } = operation;
        line(&mut page, format_args!("| [{name}](#{}) | `{} {path}` | {summary} |", anchor(name), method.as_str()));
    }
    for operation in OPERATIONS {
        section(&mut page, operation);
    }
    page.push_str("\n## Error codes\n\n| code | status | retryable | |\n|---|---|---|---|\n");
    for code in Code::ALL {
        let Problem { code: slug, status, retryable, title, .. } = Problem::new(*code, "");
        let again = if retryable { "yes" } else { "no" };
        line(&mut page, format_args!("| [{slug}](errors/{slug}.md) | {status} | {again} | {title} |"));
    }
    page
}

fn section(page: &mut String, operation: &Operation) {
    let Operation { name, summary, description, method, path, needs, .. } = operation;
    let permission = match needs {
        Needs::Nothing => "no credential needed".to_owned(),
        Needs::Credential => "any credential".to_owned(),
        Needs::Part(permission) => format!("permission `{permission}`"),
        Needs::Either(one, other) => format!("permission `{one}` or `{other}`, not narrowed"),
        Needs::Permission(permission) if path.contains("{name}") => format!("permission `{permission}` for it"),
        Needs::Permission(permission) => format!("permission `{permission}`, not narrowed"),
    };
    line(page, format_args!("\n## {name}\n\n{summary}. `{} {path}`; {permission}.", method.as_str()));
    line(page, format_args!("\n{description}"));
    if operation.parameters().next().is_some() {
        page.push_str("\n| parameter | | |\n|---|---|---|\n");
    }
    for parameter in operation.parameters() {
        let place = match parameter.place {
            Place::Path => "in the path",
            Place::Required => "required",
            Place::Optional => "",
            Place::Repeated => "may be repeated",
        };
        line(page, format_args!("| `{}` | {place} | {} |", parameter.name, parameter.description));
    }
    for (what, contents) in [("Body", operation.bodies), ("Answer", operation.answers)] {
        if !contents.is_empty() {
            line(page, format_args!("\n{what}:"));
        }
        for content in contents {
            line(page, format_args!("- `{}`: {}", content.media_type, content.description));
        }
    }
    let codes: Vec<_> = operation.refusals().map(|code| format!("[{0}](errors/{0}.md)", code.slug())).collect();
    if !codes.is_empty() {
        line(page, format_args!("\nRefusals: {}.", codes.join(", ")));
    }
    if let Some(command) = operation.command {
        line(page, format_args!("\nCommand: `quipu {command}`."));
    }
    example(page, operation);
}

fn example(page: &mut String, operation: &Operation) {
    let example = &operation.example;
    line(page, format_args!("\n```http\n{} {}", operation.method.as_str(), example.target));
    if let Some((media_type, body)) = example.body {
        line(page, format_args!("content-type: {media_type}\n\n{body}"));
    }
    line(page, format_args!("```\n```\n{}\n```", example.answer.trim_end()));
}

/// The anchor that markdown renderers give to a heading: lower case, without dots.
fn anchor(name: &str) -> String {
    name.replace('.', "")
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a String takes any text");
}
