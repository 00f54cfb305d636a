//! Which nodes of a graph lie on a circle (Tarjan's algorithm). It keeps its own stack: a chain of ten thousand
//! references would overflow the thread's.

/// The strongly connected components; one that others lead to comes before them.
pub(super) fn components(nodes: usize, next: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    let mut search = Search {
        number: vec![None; nodes],
        low: vec![0; nodes],
        is_open: vec![false; nodes],
        open: Vec::new(),
        found: Vec::new(),
        count: 0,
    };
    for start in 0..nodes {
        if search.number[start].is_none() {
            search.from(start, &next);
        }
    }
    search.found
}

struct Search {
    number: Vec<Option<usize>>,
    low: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<usize>,
    found: Vec<Vec<usize>>,
    count: usize,
}

impl Search {
    fn from(&mut self, start: usize, next: &impl Fn(usize) -> Vec<usize>) {
        let mut stack = vec![(start, self.enter(start, next))];
        while let Some((node, left)) = stack.last_mut() {
            let node = *node;
            match left.pop() {
                Some(to) => match self.number[to] {
                    None => {
                        let left = self.enter(to, next);
                        stack.push((to, left));
                    }
                    Some(number) if self.is_open[to] => self.low[node] = self.low[node].min(number),
                    Some(_) => {}
                },
                None => {
                    stack.pop();
                    if let Some((above, _)) = stack.last() {
                        self.low[*above] = self.low[*above].min(self.low[node]);
                    }
                    self.leave(node);
                }
            }
        }
    }

    fn enter(&mut self, node: usize, next: &impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
        self.number[node] = Some(self.count);
        self.low[node] = self.count;
        self.count += 1;
        self.is_open[node] = true;
        self.open.push(node);
        next(node)
    }

    fn leave(&mut self, node: usize) {
        if self.number[node] != Some(self.low[node]) {
            return;
        }
        let mut component = Vec::new();
        while let Some(member) = self.open.pop() {
            self.is_open[member] = false;
            component.push(member);
            if member == node {
                break;
            }
        }
        self.found.push(component);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_come_after_what_they_lead_to() {
        let edges = [vec![1], vec![2, 3], vec![1], vec![], vec![0, 4]];
        let mut found = components(edges.len(), |node| edges[node].clone());
        found.iter_mut().for_each(|component| component.sort_unstable());
        assert_eq!(found, [vec![3], vec![1, 2], vec![0], vec![4]]);
    }

    #[test]
    fn a_long_chain_needs_no_long_stack() {
        let last = 1_000_000;
        let found = components(last + 1, |node| if node < last { vec![node + 1] } else { Vec::new() });
        assert_eq!((found.len(), &found[0]), (last + 1, &vec![last]));
    }
}
