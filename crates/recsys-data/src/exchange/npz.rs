//! `.npz` archives of the original: `X_int` `[n, dense]`, `X_cat` `[n, tables]`, or `X_cat_t`
//! `[tables, n]` in the days before they were processed, `y` `[n]` and perhaps `counts` `[tables]`.
//!
//! `<base>_processed.npz` and `terabyte_processed.npz` hold integers, `day_<i>_reordered.npz` the same integers as float64; which
//! it is does not matter here.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::foreign::{Columns, Foreign, ForeignReader};
use super::id_rows::{IdRows, NumberFiles, block, columns, share, unsigned_hash, width};
use super::rules::{DenseValues, ForeignIds};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::numpy::Array;
use crate::packed::SourceFile;
use crate::text::{ZipEntry, ZipPlace, entries_of_zip, identity, stored_bytes};

type Member = Array<ZipEntry<File>>;

pub(super) struct NpzFiles {
    columns: Columns,
    dense: DenseValues,
    ids: ForeignIds,
    /// Folder of temporary files.
    scratch: PathBuf,
}

impl NpzFiles {
    /// Looks at the shapes in the first file and the counts of all; `counts` replace those.
    pub(super) fn open(
        paths: &[PathBuf],
        counts: Option<Vec<u64>>,
        (dense, ids): (DenseValues, ForeignIds),
        scratch: PathBuf,
    ) -> Result<Self> {
        let (mut shape, mut known) = (None, counts.clone());
        for path in paths {
            stored_bytes(path)?;
            let places = places(path)?;
            if shape.is_none() {
                let open = |name| Array::in_archive(path, &places, name);
                shape = Some((width(&open("X_int")?)?, width(&ids_in(path, &places)?)?));
            }
            if counts.is_none() && has(&places, "counts") {
                let found = counts_in(path, &places)?;
                if known.as_ref().is_some_and(|known| *known != found) {
                    let problem = "has other counts than the files before it: give those of all \
                                   files with `counts`";
                    return Err(Error::Exchange(ExchangeError::BadForeignFile {
                        path: path.clone(),
                        problem: problem.to_owned(),
                    }));
                }
                known = Some(found);
            }
        }
        let (dense_width, tables) = shape.unwrap_or_default();
        check_counts(known.as_deref(), tables, &paths[0])?;
        Ok(Self {
            columns: columns(dense_width, tables, known.as_deref()),
            dense,
            ids,
            scratch,
        })
    }
}

/// # Errors
/// Counts for another number of tables.
pub(super) fn check_counts(counts: Option<&[u64]>, tables: u64, path: &Path) -> Result<()> {
    match counts {
        Some(counts) if counts.len() as u64 != tables => {
            Err(Error::Exchange(ExchangeError::BadForeignFile {
                path: path.to_path_buf(),
                problem: format!(
                    "has {tables} categorical columns and the counts are those of {}: give the counts of these files",
                    counts.len()
                ),
            }))
        }
        _ => Ok(()),
    }
}

fn has(places: &[ZipPlace], name: &str) -> bool {
    places
        .iter()
        .any(|place| place.name == format!("{name}.npy"))
}

/// Whether the ids of an archive are those of a day that was not processed: hashes as signed
/// numbers, table by table.
fn is_raw(places: &[ZipPlace]) -> bool {
    has(places, "X_cat_t") && !has(places, "X_cat")
}

/// The ids of an archive, `[n, tables]`.
fn ids_in(path: &Path, places: &[ZipPlace]) -> Result<Member> {
    if is_raw(places) {
        return Ok(Array::in_archive(path, places, "X_cat_t")?.transposed());
    }
    Array::in_archive(path, places, "X_cat")
}

/// The members of an archive; one of TorchRec's is refused by name.
fn places(path: &Path) -> Result<Vec<ZipPlace>> {
    let places = entries_of_zip(path)?;
    if has(&places, "0") && !has(&places, "X_cat") {
        let problem = "looks like a multi-hot archive of TorchRec (0.npy, 1.npy …): read it \
        beside its dense values and labels, \
                       with `ImportFormat::TorchRec`";
        return Err(Error::Exchange(ExchangeError::BadForeignFile {
            path: path.to_path_buf(),
            problem: problem.to_owned(),
        }));
    }
    Ok(places)
}

/// The array `counts` of an archive.
pub(super) fn read_counts(path: &Path) -> Result<Vec<u64>> {
    stored_bytes(path)?;
    counts_in(path, &entries_of_zip(path)?)
}

fn counts_in(path: &Path, places: &[ZipPlace]) -> Result<Vec<u64>> {
    /// More tables are damage.
    const MOST: u64 = 1 << 16;
    let mut array = Array::in_archive(path, places, "counts")?;
    let &[tables] = array.shape.as_slice() else {
        return Err(array.damaged(format!("has shape {:?} instead of [tables]", array.shape)));
    };
    if tables > MOST {
        return Err(array.damaged(format!("has {tables} elements, more than there are tables")));
    }
    let values: Vec<f64> = array.read(tables as usize)?.collect();
    let most = f64::from(u32::MAX) + 1.0;
    if let Some(value) = values
        .iter()
        .find(|value| !(value.fract() == 0.0 && (0.0..=most).contains(*value)))
    {
        return Err(array.damaged(format!("holds {value}, which is no number of categories")));
    }
    array.finish()?;
    Ok(values.into_iter().map(|value| value as u64).collect())
}

impl ForeignReader for NpzFiles {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(
        &self,
        path: &Path,
        consume: &mut dyn FnMut(Foreign) -> Result<()>,
    ) -> Result<Vec<SourceFile>> {
        let source = identity(path)?;
        let places = places(path)?;
        let open = |name| -> Result<Member> { Array::in_archive(path, &places, name) };
        let (mut labels, dense) = (open("y")?, open("X_int")?);
        let ids = ids_in(path, &places)?;
        let samples = match *labels.shape.as_slice() {
            [samples] | [samples, 1] => samples,
            _ => {
                return Err(
                    labels.damaged(format!("has shape {:?} instead of [samples]", labels.shape))
                );
            }
        };
        let (width, tables) = (self.columns.dense.len(), self.columns.tables.len());
        dense.expect_shape(&[samples, width as u64])?;
        ids.expect_shape(&[samples, tables as u64])?;
        let hashes = is_raw(&places) && self.ids == ForeignIds::Rank;
        let id = |value| if hashes { unsigned_hash(value) } else { value };
        let mut dense = dense.by_rows(&self.scratch)?;
        let mut ids = ids.by_rows(&self.scratch)?;
        let block = block(width + tables);
        for number in (0..samples).step_by(block) {
            let count = (samples - number).min(block as u64) as usize;
            let rows = IdRows {
                files: NumberFiles::one(path),
                first: number,
                columns: &self.columns,
                rule: self.dense,
            };
            let mut foreign = rows.dense(labels.read(count)?, dense.read(count * width)?)?;
            foreign.tables = rows.ids(ids.read(count * tables)?.map(id))?;
            foreign.stored_bytes = share(source.bytes, number, samples, count);
            consume(foreign)?;
        }
        labels.finish()?;
        dense.finish()?;
        ids.finish()?;
        Ok(vec![source])
    }
}
