//! A plan as a Mermaid flowchart (<https://mermaid.js.org/syntax/flowchart.html>): how it goes on, and dotted, what undoes it.

use std::fmt::Write;

use super::plan::{Action, Doing, NodeId, Plan, Question};

/// Where lines leave a drawn step: from which box, and what is written on the line.
type Exits = Vec<(String, &'static str)>;

/// Longest label, characters: diagrams are looked at.
const LABEL_CHARS_MAX: usize = 80;

impl Plan {
    /// The text of a flowchart.
    pub fn mermaid(&self) -> String {
        let mut drawing = Drawing { plan: self, text: "flowchart TD\n".to_owned() };
        let starts: Vec<&str> = self.start.named_types();
        let start = if starts.is_empty() { self.start.text().to_owned() } else { starts.join(", ") };
        drawing.boxed("start", ("([", "])"), &start);
        let exits = drawing.draw(0, vec![("start".to_owned(), "")]);
        let end = self.completes.as_ref().map_or("completed", |message| &message.kind);
        drawing.boxed("completed", ("([", "])"), end);
        drawing.lines(&exits, "completed");
        if let Some(message) = &self.fails {
            drawing.boxed("failed", ("([", "])"), &message.kind);
            drawing.text.push_str("    start -.->|fails| failed\n");
        }
        drawing.text
    }
}

struct Drawing<'a> {
    plan: &'a Plan,
    text: String,
}

impl Drawing<'_> {
    fn boxed(&mut self, id: &str, (open, close): (&str, &str), label: &str) {
        let _ = writeln!(self.text, "    {id}{open}\"{}\"{close}", escaped(label));
    }

    fn lines(&mut self, from: &Exits, to: &str) {
        for (from, label) in from {
            let _ = match label.is_empty() {
                true => writeln!(self.text, "    {from} --> {to}"),
                false => writeln!(self.text, "    {from} -->|{label}| {to}"),
            };
        }
    }

    /// Draws a step that is reached from there, and says where it is left.
    fn draw(&mut self, node: NodeId, from: Exits) -> Exits {
        let (id, name) = (format!("n{node}"), self.plan.step_name(node).to_owned());
        match &self.plan.node(node).doing {
            Doing::Sequence(of) => of.iter().fold(from, |from, step| self.draw(*step, from)),
            Doing::Parallel { of, need } => {
                let label = match usize::from(*need) {
                    all if all == of.len() => format!("{name}: all of {all}"),
                    need => format!("{name}: {need} of {}", of.len()),
                };
                self.boxed(&id, ("[[", "]]"), &label);
                self.lines(&from, &id);
                of.iter().flat_map(|branch| self.draw(*branch, vec![(id.clone(), "")])).collect()
            }
            Doing::If { when, then, otherwise } => {
                self.boxed(&id, ("{{", "}}"), &format!("{name}: {}", asked(when)));
                self.lines(&from, &id);
                let mut exits = self.draw(*then, vec![(id.clone(), "yes")]);
                match otherwise {
                    Some(otherwise) => exits.extend(self.draw(*otherwise, vec![(id, "no")])),
                    None => exits.push((id, "no")),
                }
                exits
            }
            Doing::Loop { body, until, max } => {
                let until = until.as_ref().map_or(String::new(), |until| format!(" until {}", asked(until)));
                self.boxed(&id, ("{{", "}}"), &format!("{name}: at most {max} times{until}"));
                self.lines(&from, &id);
                let back = self.draw(*body, vec![(id.clone(), "again")]);
                self.lines(&back, &id);
                vec![(id, "")]
            }
            Doing::Complete | Doing::Fail => {
                let is_complete = matches!(self.plan.node(node).doing, Doing::Complete);
                self.boxed(&id, ("[", "]"), &format!("{name}: end"));
                self.lines(&from, &id);
                if is_complete || self.plan.fails.is_some() {
                    self.lines(&vec![(id, "")], if is_complete { "completed" } else { "failed" });
                }
                Vec::new()
            }
            Doing::Written => {
                let hears = self.plan.listens.iter().skip(1).flat_map(|listen| listen.pattern.named_types());
                let hears: Vec<&str> = hears.collect();
                let label = match hears.is_empty() {
                    true => format!("{name}: written in Rust"),
                    false => format!("{name}: written in Rust, hears {}", hears.join(", ")),
                };
                self.boxed(&id, ("[[", "]]"), &label);
                self.lines(&from, &id);
                vec![(id, "")]
            }
            Doing::Task(task) => {
                self.boxed(&id, ("[", "]"), &format!("{name}: {}", done(&task.action)));
                self.lines(&from, &id);
                if let Some(undo) = &task.undo {
                    self.boxed(&format!("u{node}"), ("[/", "/]"), done(&undo.action));
                    let _ = writeln!(self.text, "    {id} -.-> u{node}");
                }
                vec![(id, "")]
            }
        }
    }
}

fn done(action: &Action) -> &str {
    match action {
        Action::Send(message) => &message.kind,
        Action::Call(call) => &call.http.url,
        Action::Begin(child) => &child.saga,
        Action::Undo => "undo it",
        Action::Wait => "wait",
        Action::Sleep => "sleep",
    }
}

fn asked(question: &Question) -> &str {
    match question {
        Question::Jq(text) | Question::Variables(text) => text,
        Question::Pattern { pattern, .. } => pattern.text(),
    }
}

/// As the label of a box: entities for what would end it, and one line.
fn escaped(label: &str) -> String {
    let mut out = String::new();
    for (at, c) in label.chars().enumerate() {
        match c {
            _ if at == LABEL_CHARS_MAX => {
                out.push('…');
                break;
            }
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '`' => out.push_str("#96;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
