//! `quipu event trace`: causes and effects, drawn as a tree in plain ASCII so that it survives any terminal and log.

use quipu_api::{TraceAnswer, TraceLine};

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Which;

pub fn run(which: Which, client: &Client, out: &mut Out) -> Outcome {
    let asked = (which.position, which.source.clone(), which.id.clone());
    let (path, query) = which.route("/trace");
    let trace: TraceAnswer = client.parsed(&path, &query)?;
    match out.format {
        Format::Json => out.document(&trace)?,
        Format::Ndjson => trace.nodes.iter().try_for_each(|node| out.document(node))?,
        Format::Table => {
            let is_asked = |node: &TraceLine| {
                asked.0 == Some(node.position)
                    || (asked.1.as_ref() == Some(&node.source) && asked.2.as_ref() == Some(&node.id))
            };
            for line in draw(&trace.nodes, is_asked) {
                out.line(&line)?;
            }
            if trace.cut {
                eprintln!("the tree is larger than {} events and was cut", trace.nodes.len());
            }
        }
    }
    Ok(Exit::Ok)
}

/// One line an event. The one that was asked for has a star.
fn draw(nodes: &[TraceLine], is_asked: impl Fn(&TraceLine) -> bool) -> Vec<String> {
    // has_more[d]: whether another event at depth d follows below the same parent, for the vertical lines.
    let mut has_more: Vec<bool> = Vec::new();
    let mut lines = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        has_more.truncate(node.depth);
        let next = nodes[at + 1..].iter().find(|later| later.depth <= node.depth);
        has_more.push(next.is_some_and(|next| next.depth == node.depth));
        let mut line = String::new();
        if node.depth > 0 {
            for more in &has_more[1..node.depth] {
                line.push_str(if *more { "|   " } else { "    " });
            }
            line.push_str(if has_more[node.depth] { "|-- " } else { "`-- " });
        }
        line.push_str(&node.kind);
        if let Some(subject) = &node.subject {
            line.push_str(&format!("  {}", subject.escape_debug()));
        }
        line.push_str(&format!("  #{}", node.position));
        if let Some(saga) = &node.saga_id {
            line.push_str(&format!("  {}", saga.escape_debug()));
        }
        if let Some(time) = &node.time {
            line.push_str(&format!("  {time}"));
        }
        if is_asked(node) {
            line.push_str("  *");
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_hang_below_their_cause() {
        let node = |depth, position, kind: &str| TraceLine {
            depth,
            position,
            id: position.to_string(),
            source: "/s".into(),
            kind: kind.into(),
            subject: None,
            time: None,
            causation_id: None,
            saga_id: (kind == "d").then(|| "order/7".to_owned()),
        };
        let nodes =
            [node(0, 1, "a"), node(1, 2, "b"), node(2, 3, "c"), node(1, 4, "d"), node(2, 5, "e"), node(0, 6, "f")];
        let drawn = draw(&nodes, |node| node.position == 4);
        assert_eq!(drawn, ["a  #1", "|-- b  #2", "|   `-- c  #3", "`-- d  #4  order/7  *", "    `-- e  #5", "f  #6"]);
    }
}
