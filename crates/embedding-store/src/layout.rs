//! From tables to the parts that hold their rows.

use crate::encoding::{Combine, Encoding, TableSpec};
use crate::error::{Error, Result};
use crate::rule::RowOptimizer;

/// A matrix that the store keeps, under the name that the reference's checkpoints use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// `emb_l.3.weight`, `emb_l.3.weight_q`, `emb_l.3.weight_r`, `emb_l.3.embs.weight` or
    /// `emb_l.3.proj.weight`.
    pub name: String,
    /// The table it belongs to.
    pub table: usize,
    /// Rows.
    pub rows: u64,
    /// Floats a row.
    pub dim: usize,
    /// Floats of optimizer state a row.
    pub state_width: usize,
}

impl Part {
    /// Describes a matrix of `rows` rows of `dim` floats, with that many floats of optimizer state
    /// a row.
    pub fn new(
        name: impl Into<String>,
        table: usize,
        rows: u64,
        dim: usize,
        state_width: usize,
    ) -> Self {
        Self {
            name: name.into(),
            table,
            rows,
            dim,
            state_width,
        }
    }

    /// The matrices of some tables, as the stores of this crate keep them: with the names that
    /// checkpoints and files of weights use, table by table.
    ///
    /// # Errors
    /// No tables, a dimension of 0, or a table or optimizer with impossible settings.
    pub fn of_tables(
        tables: &[TableSpec],
        dim: usize,
        optimizer: &RowOptimizer,
    ) -> Result<Vec<Self>> {
        Ok(Layout::new(tables.to_vec(), dim, optimizer)?.1)
    }
}

/// Which row of a part an id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOf {
    Id,
    Quotient(u32),
    Remainder(u32),
}

impl RowOf {
    #[inline(always)]
    pub(crate) fn row(self, id: u32) -> u32 {
        match self {
            Self::Id => id,
            Self::Quotient(collisions) => id / collisions,
            Self::Remainder(collisions) => id % collisions,
        }
    }
}

/// What a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// Rows that lookups read.
    Rows(RowOf),
    /// The dense projection of a mixed-dimension table. It is stored transposed, `[dim_i, dim]`.
    Projection,
}

/// Where the gradient of a part's rows is found, per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GradientOf {
    /// In the gradient of the looked-up rows, from this column of the sample's `[tables, dim]`.
    Rows(usize),
    /// In the store's workspace, from this column of the sample's `[workspace_width]`.
    Workspace(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartLayout {
    pub(crate) table: usize,
    pub(crate) kind: PartKind,
    /// Floats of a stored row: the part's own width, but the store's for a projection, which is
    /// stored transposed.
    pub(crate) width: usize,
    /// Rows as they are stored: the part's own, but the narrow width for a projection.
    pub(crate) rows: u64,
    pub(crate) gradient: GradientOf,
}

/// How a table's parts become a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Composition {
    /// The part's row itself.
    Plain,
    /// Part `first` and part `first + 1`, combined.
    QuotientRemainder(Combine),
    /// Part `first`, projected by part `first + 1`. The workspace holds the pooled narrow row from
    /// this column.
    Projected { pooled: usize },
}

/// Parts with rows of one width and one factor on the learning rate, which lie together where rows
/// of many parts are moved together.
#[derive(Debug, PartialEq)]
pub(crate) struct Class {
    pub(crate) width: usize,
    pub(crate) factor: f32,
    pub(crate) parts: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableLayout {
    pub(crate) first: usize,
    pub(crate) composition: Composition,
}

/// Tables, their parts, and where intermediate gradients lie. Shared by the store and its planners.
#[derive(Debug, PartialEq)]
pub(crate) struct Layout {
    /// Floats of a looked-up row.
    pub(crate) dim: usize,
    pub(crate) specs: Vec<TableSpec>,
    pub(crate) tables: Vec<TableLayout>,
    pub(crate) parts: Vec<PartLayout>,
    /// All parts that lookups read, by width, then by their tables' factors in the order in which
    /// these come first, then by number.
    pub(crate) classes: Vec<Class>,
    /// Which tables do not move.
    pub(crate) frozen: Vec<bool>,
    /// Floats of workspace a sample needs in an update.
    pub(crate) workspace_width: usize,
}

impl Layout {
    /// Whether every table is one matrix of rows as wide as looked-up ones.
    pub(crate) fn all_plain(&self) -> bool {
        let mut tables = self.tables.iter();
        tables.all(|table| table.composition == Composition::Plain)
    }

    /// Whether, besides, all rows move at one rate: then they are one class, whose pooled rows are
    /// what lookups give.
    pub(crate) fn is_one_class(&self) -> bool {
        self.classes.len() == 1 && self.all_plain()
    }

    /// Whether plans for the one are plans for the other: factors on the learning rate change none.
    pub(crate) fn has_tables_of(&self, other: &Self) -> bool {
        self.specs == other.specs && self.dim == other.dim
    }

    /// Checks the tables and lays them out.
    pub(crate) fn new(
        specs: Vec<TableSpec>,
        dim: usize,
        optimizer: &RowOptimizer,
    ) -> Result<(Self, Vec<Part>)> {
        if specs.is_empty() {
            return Err(Error::NoTables);
        }
        if dim == 0 {
            return Err(Error::ZeroDim);
        }
        // Whatever is as wide as the looked-up rows of a sample, twice, can be counted from here
        // on.
        let widest = isize::MAX as usize / (2 * size_of::<f32>());
        if specs
            .len()
            .checked_mul(dim)
            .is_none_or(|width| width > widest)
        {
            return Err(Error::SizeOverflow {
                name: "the looked-up rows of a sample".into(),
                rows: specs.len() as u64,
                dim,
            });
        }
        optimizer.validate(specs.len())?;
        let mut layout = Self {
            dim,
            specs: Vec::new(),
            tables: Vec::new(),
            parts: Vec::new(),
            classes: Vec::new(),
            frozen: Vec::new(),
            workspace_width: 0,
        };
        let mut parts = Vec::new();
        for (table, spec) in specs.iter().enumerate() {
            check(table, spec, dim)?;
            layout.add(table, spec, dim, &mut |suffix, rows, width, dense| {
                let state_width = match dense {
                    false => optimizer.state_width(width),
                    true if optimizer.dense().has_dense_state() => width,
                    true => 0,
                };
                parts.push(Part {
                    name: format!("emb_l.{table}.{suffix}"),
                    table,
                    rows,
                    dim: width,
                    state_width,
                });
            });
        }
        let tables = 0..specs.len();
        layout.frozen = tables.map(|table| optimizer.factor(table) == 0.0).collect();
        layout.specs = specs;
        layout.classes = classes(&layout.parts, optimizer);
        Ok((layout, parts))
    }

    fn add(
        &mut self,
        table: usize,
        spec: &TableSpec,
        dim: usize,
        part: &mut dyn FnMut(&'static str, u64, usize, bool),
    ) {
        let first = self.parts.len();
        let column = table * dim;
        let rows_part = |row_of, width, rows, gradient| PartLayout {
            table,
            kind: PartKind::Rows(row_of),
            width,
            rows,
            gradient,
        };
        let composition = match spec.encoding {
            Encoding::Full => {
                part("weight", spec.rows, dim, false);
                self.parts.push(rows_part(
                    RowOf::Id,
                    dim,
                    spec.rows,
                    GradientOf::Rows(column),
                ));
                Composition::Plain
            }
            Encoding::MixedDimension { dim: width } if width == dim => {
                part("embs.weight", spec.rows, dim, false);
                self.parts.push(rows_part(
                    RowOf::Id,
                    dim,
                    spec.rows,
                    GradientOf::Rows(column),
                ));
                Composition::Plain
            }
            Encoding::MixedDimension { dim: width } => {
                part("embs.weight", spec.rows, width, false);
                part("proj.weight", dim as u64, width, true);
                let pooled = self.workspace_width;
                self.workspace_width += 2 * width;
                self.parts.push(rows_part(
                    RowOf::Id,
                    width,
                    spec.rows,
                    GradientOf::Workspace(pooled + width),
                ));
                self.parts.push(PartLayout {
                    table,
                    kind: PartKind::Projection,
                    width: dim,
                    rows: width as u64,
                    gradient: GradientOf::Rows(column),
                });
                Composition::Projected { pooled }
            }
            Encoding::QuotientRemainder {
                collisions,
                combine,
            } => {
                let width = if combine == Combine::Concatenate {
                    dim / 2
                } else {
                    dim
                };
                part("weight_q", spec.rows.div_ceil(collisions), width, false);
                part("weight_r", collisions, width, false);
                let (quotient, remainder) = match combine {
                    Combine::Multiply => {
                        let at = self.workspace_width;
                        self.workspace_width += 2 * dim;
                        (GradientOf::Workspace(at), GradientOf::Workspace(at + dim))
                    }
                    Combine::Add => (GradientOf::Rows(column), GradientOf::Rows(column)),
                    Combine::Concatenate => {
                        (GradientOf::Rows(column), GradientOf::Rows(column + width))
                    }
                };
                // `check` has made sure that this fits.
                let (rows, divisor) = (spec.rows.div_ceil(collisions), collisions as u32);
                self.parts
                    .push(rows_part(RowOf::Quotient(divisor), width, rows, quotient));
                self.parts.push(rows_part(
                    RowOf::Remainder(divisor),
                    width,
                    collisions,
                    remainder,
                ));
                Composition::QuotientRemainder(combine)
            }
        };
        self.tables.push(TableLayout { first, composition });
    }
}

fn classes(parts: &[PartLayout], optimizer: &RowOptimizer) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if part.kind == PartKind::Projection {
            continue;
        }
        let (width, factor) = (part.width, optimizer.factor(part.table));
        let same = |class: &&mut Class| class.width == width && class.factor == factor;
        match classes.iter_mut().find(same) {
            Some(class) => class.parts.push(index),
            None => classes.push(Class {
                width,
                factor,
                parts: vec![index],
            }),
        }
    }
    classes.sort_by_key(|class| class.width);
    classes
}

fn check(table: usize, spec: &TableSpec, dim: usize) -> Result<()> {
    let invalid = |problem: String| {
        Err(Error::InvalidTable {
            table,
            rows: spec.rows,
            problem,
        })
    };
    if spec.rows == 0 {
        return invalid("a table needs at least one row".into());
    }
    if spec.rows > u64::from(u32::MAX) {
        return invalid(format!(
            "ids are 32 bits wide, so a table has at most {} rows",
            u32::MAX
        ));
    }
    match spec.encoding {
        Encoding::Full => Ok(()),
        Encoding::QuotientRemainder { collisions, .. }
            if collisions == 0 || collisions > u64::from(u32::MAX) =>
        {
            invalid(format!(
                "{collisions} collisions are impossible; choose 1 or more, far fewer than rows"
            ))
        }
        Encoding::QuotientRemainder {
            combine: Combine::Concatenate,
            ..
        } if dim % 2 == 1 => invalid(format!(
            "dimension {dim} is odd, so it cannot be the two halves of a concatenation"
        )),
        Encoding::QuotientRemainder { .. } => Ok(()),
        Encoding::MixedDimension { dim: width } if width == 0 || width > dim => invalid(format!(
            "rows of mixed dimension {width} do not fit the store's dimension {dim}; choose 1 to {dim}"
        )),
        Encoding::MixedDimension { .. } => Ok(()),
    }
}
