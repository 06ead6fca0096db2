//! The store, written naively: maps and loops in f32, every sum in the order that the store
//! promises.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use embedding_store::{
    Combine, CpuStore, EmbeddingStore, Encoding, Ids, Optimizer, Rows, TableSpec,
};

/// Weights and state of every part, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Oracle {
    pub(crate) dim: usize,
    pub(crate) optimizer: Optimizer,
    pub(crate) tables: Vec<TableSpec>,
    pub(crate) parts: Vec<Rows>,
}

/// Eight partial sums, added pairwise.
fn sum(terms: impl Iterator<Item = f32>) -> f32 {
    let mut l = [0f32; 8];
    for (i, x) in terms.enumerate() {
        l[i % 8] += x;
    }
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

fn add(into: &mut [f32], x: &[f32]) {
    for (into, x) in into.iter_mut().zip(x) {
        *into += x;
    }
}

/// Vectors that are added one after the other, in pieces whose sums are added: so are the gradients
/// of a row.
#[derive(Default)]
struct Pieces {
    whole: Option<Vec<f32>>,
    piece: Vec<f32>,
    count: usize,
}

impl Pieces {
    fn add(&mut self, x: &[f32]) {
        if self.count == 128 {
            self.close();
        }
        match self.count {
            0 => self.piece = x.to_vec(),
            _ => add(&mut self.piece, x),
        }
        self.count += 1;
    }

    fn close(&mut self) {
        match &mut self.whole {
            None => self.whole = Some(std::mem::take(&mut self.piece)),
            Some(whole) => add(whole, &self.piece),
        }
        self.count = 0;
    }

    fn sum(mut self) -> Vec<f32> {
        self.close();
        self.whole.unwrap_or_default()
    }
}

pub(crate) fn bag<'a>(ids: &Ids<'a>, bag: usize) -> &'a [u32] {
    if ids.offsets.is_empty() {
        &ids.ids[bag..=bag]
    } else {
        &ids.ids[ids.offsets[bag] as usize..ids.offsets[bag + 1] as usize]
    }
}

impl Oracle {
    pub(crate) fn of(store: &CpuStore) -> Self {
        let parts = (0..store.parts().len())
            .map(|part| store.export(part, 0..store.parts()[part].rows).unwrap());
        Self {
            dim: store.dim(),
            optimizer: store.optimizer().dense(),
            tables: store.tables().to_vec(),
            parts: parts.collect(),
        }
    }

    fn first_part(&self, table: usize) -> usize {
        self.tables[..table]
            .iter()
            .map(|spec| match spec.encoding {
                Encoding::Full => 1,
                Encoding::MixedDimension { dim } if dim == self.dim => 1,
                _ => 2,
            })
            .sum()
    }

    fn pool(&self, part: usize, rows: impl Iterator<Item = u32>) -> Vec<f32> {
        let part = &self.parts[part];
        let mut pooled: Option<Vec<f32>> = None;
        for row in rows {
            let row = &part.weights[row as usize * part.dim..][..part.dim];
            match &mut pooled {
                None => pooled = Some(row.to_vec()),
                Some(pooled) => add(pooled, row),
            }
        }
        pooled.unwrap_or_else(|| vec![0.0; part.dim])
    }

    pub(crate) fn lookup(&self, ids: Ids<'_>) -> Vec<f32> {
        let tables = self.tables.len();
        let mut out = Vec::new();
        for index in 0..ids.batch * tables {
            let (spec, first) = (self.tables[index % tables], self.first_part(index % tables));
            let bag = bag(&ids, index).iter().copied();
            match spec.encoding {
                Encoding::Full => out.extend(self.pool(first, bag)),
                Encoding::MixedDimension { dim } if dim == self.dim => {
                    out.extend(self.pool(first, bag))
                }
                Encoding::MixedDimension { dim: narrow } => {
                    let x = self.pool(first, bag);
                    for d in 0..self.dim {
                        let row = &self.parts[first + 1].weights[d * narrow..][..narrow];
                        out.push(row.iter().zip(&x).fold(0.0, |sum, (w, x)| sum + x * w));
                    }
                }
                Encoding::QuotientRemainder {
                    collisions,
                    combine,
                } => {
                    let c = collisions as u32;
                    let q = self.pool(first, bag.clone().map(|id| id / c));
                    let r = self.pool(first + 1, bag.map(|id| id % c));
                    match combine {
                        Combine::Multiply => out.extend(q.iter().zip(&r).map(|(q, r)| q * r)),
                        Combine::Add => out.extend(q.iter().zip(&r).map(|(q, r)| q + r)),
                        Combine::Concatenate => out.extend(q.iter().chain(&r)),
                    }
                }
            }
        }
        out
    }

    /// The gradient of every touched row, per part; projections have all rows.
    fn gradients(&self, ids: Ids<'_>, grad: &[f32]) -> Vec<BTreeMap<u32, Vec<f32>>> {
        let (tables, dim) = (self.tables.len(), self.dim);
        let mut sums: Vec<BTreeMap<u32, Pieces>> = Vec::new();
        sums.resize_with(self.parts.len(), BTreeMap::new);
        let mut touch = |part: usize, row: u32, g: &[f32]| {
            sums[part].entry(row).or_default().add(g);
        };
        let mut projections = vec![BTreeMap::new(); self.parts.len()];
        let mut project = |part: usize, row: u32, g: &[f32]| {
            projections[part]
                .entry(row)
                .and_modify(|sum: &mut Vec<f32>| add(sum, g))
                .or_insert_with(|| g.to_vec());
        };
        for index in 0..ids.batch * tables {
            let (spec, first) = (self.tables[index % tables], self.first_part(index % tables));
            let g = &grad[index * dim..][..dim];
            let bag = bag(&ids, index);
            match spec.encoding {
                Encoding::Full => bag.iter().for_each(|&id| touch(first, id, g)),
                Encoding::MixedDimension { dim: narrow } if narrow == dim => {
                    bag.iter().for_each(|&id| touch(first, id, g));
                }
                Encoding::MixedDimension { dim: narrow } => {
                    let x = self.pool(first, bag.iter().copied());
                    let p = &self.parts[first + 1].weights;
                    let gx: Vec<f32> = (0..narrow)
                        .map(|j| sum(g.iter().enumerate().map(|(d, g)| g * p[d * narrow + j])))
                        .collect();
                    bag.iter().for_each(|&id| touch(first, id, &gx));
                    for (d, g) in g.iter().enumerate() {
                        let row: Vec<f32> = x.iter().map(|x| x * g).collect();
                        project(first + 1, d as u32, &row);
                    }
                }
                Encoding::QuotientRemainder {
                    collisions,
                    combine,
                } => {
                    let c = collisions as u32;
                    let q = self.pool(first, bag.iter().map(|id| id / c));
                    let r = self.pool(first + 1, bag.iter().map(|id| id % c));
                    let times = |x: &[f32]| x.iter().zip(g).map(|(x, g)| x * g).collect::<Vec<_>>();
                    let (gq, gr) = match combine {
                        Combine::Multiply => (times(&r), times(&q)),
                        Combine::Add => (g.to_vec(), g.to_vec()),
                        Combine::Concatenate => (g[..dim / 2].to_vec(), g[dim / 2..].to_vec()),
                    };
                    for &id in bag {
                        touch(first, id / c, &gq);
                        touch(first + 1, id % c, &gr);
                    }
                }
            }
        }
        for (sums, into) in sums.into_iter().zip(&mut projections) {
            into.extend(sums.into_iter().map(|(row, sum)| (row, sum.sum())));
        }
        projections
    }

    pub(crate) fn update(&mut self, ids: Ids<'_>, grad: &[f32], learning_rate: f64) {
        let gradients = self.gradients(ids, grad);
        let rate = learning_rate as f32;
        for (index, gradients) in gradients.into_iter().enumerate() {
            let dense = self.is_projection(index);
            let part = &mut self.parts[index];
            for (row, g) in gradients {
                let row = row as usize;
                let weights = &mut part.weights[row * part.dim..][..part.dim];
                match self.optimizer {
                    Optimizer::RowwiseAdagrad { epsilon, .. } if !dense => {
                        let state = &mut part.state[row];
                        *state += sum(g.iter().map(|g| g * g)) / g.len() as f32;
                        for (weight, g) in weights.iter_mut().zip(&g) {
                            *weight -= rate * (g / (state.sqrt() + epsilon as f32));
                        }
                    }
                    Optimizer::Adagrad { epsilon, .. }
                    | Optimizer::RowwiseAdagrad { epsilon, .. } => {
                        let state = &mut part.state[row * part.dim..][..part.dim];
                        for ((weight, state), g) in weights.iter_mut().zip(state).zip(&g) {
                            *state += g * g;
                            *weight -= rate * (g / (state.sqrt() + epsilon as f32));
                        }
                    }
                    Optimizer::Sgd => weights
                        .iter_mut()
                        .zip(&g)
                        .for_each(|(weight, g)| *weight -= rate * g),
                    other => panic!("the oracle does not know {other}"),
                }
            }
        }
    }

    fn is_projection(&self, part: usize) -> bool {
        (0..self.tables.len()).any(|table| {
            let narrow = matches!(self.tables[table].encoding, Encoding::MixedDimension { dim } if dim != self.dim);
            narrow && self.first_part(table) + 1 == part
        })
    }
}
