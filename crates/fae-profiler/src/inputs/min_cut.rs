//! Minimum cuts by the push-relabel method: highest label first, global relabelling, gaps (Goldberg and Tarjan 1988;
//! Cherkassky and Goldberg 1997). Only the cut is wanted, so flow that cannot reach the sink is never sent back.
//!
//! Inner arcs have no limit; source and sink are not nodes but numbers beside every node: what the source sends, and what
//! the sink still takes.

/// Stands for no node in lists.
const NONE: u32 = u32::MAX;

/// A network whose inner arcs are unlimited.
#[derive(Debug)]
pub(super) struct MinCut {
    /// Where each node's arcs begin, the forward (unlimited) ones first; `[nodes + 1]`.
    first: Vec<u32>,
    /// Where each node's backward arcs begin, `[nodes]`.
    backward: Vec<u32>,
    /// The other end of every arc.
    to: Vec<u32>,
    /// The same arc in the other direction.
    reverse: Vec<u32>,
    /// Flow of every arc, at both of its ends.
    flow: Vec<i64>,
    /// What the sink still takes from each node.
    sink: Vec<i64>,
    excess: Vec<i64>,
    height: Vec<u32>,
    current: Vec<u32>,
    /// Active nodes of every height, and the next one of each node.
    active: Vec<u32>,
    next_active: Vec<u32>,
    /// All nodes of every height, doubly linked.
    level: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    highest_active: usize,
    highest: usize,
    /// Height of nodes that cannot reach the sink: more than any distance to it.
    unreachable: u32,
    queue: Vec<u32>,
}

impl MinCut {
    /// A network of `nodes` nodes with arcs (from, to).
    pub(super) fn new(nodes: usize, arcs: &[(u32, u32)]) -> Self {
        let mut first = vec![0u32; nodes + 1];
        let mut forward = vec![0u32; nodes];
        for &(from, to) in arcs {
            first[from as usize + 1] += 1;
            forward[from as usize] += 1;
            first[to as usize + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let backward: Vec<u32> = first.iter().zip(&forward).map(|(a, b)| a + b).collect();
        let (mut next_forward, mut next_backward) = (first.clone(), backward.clone());
        let mut to_of = vec![0; 2 * arcs.len()];
        let mut reverse = vec![0; 2 * arcs.len()];
        for &(from, to) in arcs {
            let out = next_forward[from as usize];
            let back = next_backward[to as usize];
            next_forward[from as usize] += 1;
            next_backward[to as usize] += 1;
            to_of[out as usize] = to;
            to_of[back as usize] = from;
            reverse[out as usize] = back;
            reverse[back as usize] = out;
        }
        Self {
            first,
            backward,
            to: to_of,
            reverse,
            flow: vec![0; 2 * arcs.len()],
            sink: vec![0; nodes],
            excess: vec![0; nodes],
            height: vec![0; nodes],
            current: vec![0; nodes],
            active: vec![NONE; nodes + 2],
            next_active: vec![NONE; nodes],
            level: vec![NONE; nodes + 2],
            next: vec![NONE; nodes],
            previous: vec![NONE; nodes],
            highest_active: 0,
            highest: 0,
            unreachable: nodes as u32 + 1,
            queue: Vec::new(),
        }
    }

    /// Finds the largest source side of a minimum cut: for each node whether it is on the source's side. `source` and `sink`
    /// are the capacities of the arcs from the source and to the sink.
    pub(super) fn solve(&mut self, source: &[i64], sink: &[i64]) -> Vec<bool> {
        let nodes = self.height.len();
        self.flow.fill(0);
        self.sink.copy_from_slice(sink);
        self.excess.copy_from_slice(source);
        self.relabel_all();
        let patience = 6 * nodes + self.to.len() / 2;
        let mut work = 0;
        while let Some(node) = self.pop_active() {
            work += self.discharge(node as usize);
            if work > patience {
                work = 0;
                self.relabel_all();
            }
        }
        self.relabel_all();
        self.height
            .iter()
            .map(|&height| height == self.unreachable)
            .collect()
    }

    fn pop_active(&mut self) -> Option<u32> {
        loop {
            let node = self.active[self.highest_active];
            if node != NONE {
                self.active[self.highest_active] = self.next_active[node as usize];
                return Some(node);
            }
            self.highest_active = self.highest_active.checked_sub(1)?;
        }
    }

    fn push_active(&mut self, node: usize) {
        let height = self.height[node] as usize;
        if self.height[node] < self.unreachable {
            self.next_active[node] = self.active[height];
            self.active[height] = node as u32;
            self.highest_active = self.highest_active.max(height);
        }
    }

    fn insert(&mut self, node: usize) {
        let height = self.height[node] as usize;
        let after = self.level[height];
        self.next[node] = after;
        self.previous[node] = NONE;
        if after != NONE {
            self.previous[after as usize] = node as u32;
        }
        self.level[height] = node as u32;
        self.highest = self.highest.max(height);
    }

    fn remove(&mut self, node: usize) {
        let (previous, next) = (self.previous[node], self.next[node]);
        if previous == NONE {
            self.level[self.height[node] as usize] = next;
        } else {
            self.next[previous as usize] = next;
        }
        if next != NONE {
            self.previous[next as usize] = previous;
        }
    }

    /// Sets every height to the distance from the sink; nodes that cannot reach it get the number of nodes.
    fn relabel_all(&mut self) {
        let nodes = self.height.len();
        self.height.fill(self.unreachable);
        self.active.fill(NONE);
        self.level.fill(NONE);
        (self.highest_active, self.highest) = (0, 0);
        self.queue.clear();
        for node in 0..nodes {
            if self.sink[node] > 0 {
                self.height[node] = 1;
                self.queue.push(node as u32);
            }
        }
        let mut at = 0;
        while let Some(&node) = self.queue.get(at) {
            at += 1;
            let node = node as usize;
            let height = self.height[node] + 1;
            // Whoever has an arc to this node, and whoever this node could send flow back from.
            for arc in self.first[node] as usize..self.first[node + 1] as usize {
                let open = arc >= self.backward[node] as usize || self.flow[arc] > 0;
                let other = self.to[arc] as usize;
                if open && self.height[other] == self.unreachable {
                    self.height[other] = height;
                    self.queue.push(other as u32);
                }
            }
        }
        for node in 0..nodes {
            self.current[node] = self.first[node];
            if self.height[node] < self.unreachable {
                self.insert(node);
                if self.excess[node] > 0 {
                    self.push_active(node);
                }
            }
        }
    }

    /// Pushes a node's excess towards the sink, raising the node as needed. Returns the arcs looked at while raising.
    fn discharge(&mut self, node: usize) -> usize {
        let mut work = 0;
        while self.height[node] < self.unreachable {
            if self.sink[node] > 0 && self.height[node] == 1 {
                let amount = self.excess[node].min(self.sink[node]);
                self.sink[node] -= amount;
                self.excess[node] -= amount;
                if self.excess[node] == 0 {
                    return work;
                }
            }
            let end = self.first[node + 1];
            while self.current[node] < end {
                let arc = self.current[node] as usize;
                let to = self.to[arc] as usize;
                let unlimited = (arc as u32) < self.backward[node];
                if self.height[node] == self.height[to] + 1 && (unlimited || self.flow[arc] > 0) {
                    let amount = if unlimited {
                        self.excess[node]
                    } else {
                        self.excess[node].min(self.flow[arc])
                    };
                    let change = if unlimited { amount } else { -amount };
                    self.flow[arc] += change;
                    self.flow[self.reverse[arc] as usize] += change;
                    self.excess[node] -= amount;
                    let was_idle = self.excess[to] == 0;
                    self.excess[to] += amount;
                    if was_idle {
                        self.push_active(to);
                    }
                    if self.excess[node] == 0 {
                        return work;
                    }
                }
                self.current[node] += 1;
            }
            work += self.raise(node);
        }
        work
    }

    /// Gives a node the smallest height that lets it push again.
    fn raise(&mut self, node: usize) -> usize {
        let old = self.height[node] as usize;
        self.remove(node);
        if self.level[old] == NONE {
            // Nothing above the gap reaches the sink.
            for height in old + 1..=self.highest {
                let mut above = self.level[height];
                while above != NONE {
                    self.height[above as usize] = self.unreachable;
                    above = self.next[above as usize];
                }
                self.level[height] = NONE;
                self.active[height] = NONE;
            }
            self.height[node] = self.unreachable;
            self.highest = old.saturating_sub(1);
            self.highest_active = self.highest_active.min(self.highest);
            return 1;
        }
        let arcs = self.first[node] as usize..self.first[node + 1] as usize;
        let mut lowest = if self.sink[node] > 0 {
            0
        } else {
            self.unreachable
        };
        for arc in arcs.clone() {
            if arc < self.backward[node] as usize || self.flow[arc] > 0 {
                lowest = lowest.min(self.height[self.to[arc] as usize]);
            }
        }
        self.height[node] = (lowest + 1).min(self.unreachable);
        self.current[node] = self.first[node];
        if self.height[node] < self.unreachable {
            self.insert(node);
        }
        arcs.len() + 12
    }
}
