//! TorchRec's triples: `NAME_dense.npy` `[n, dense]`, `NAME_labels.npy` `[n, 1]`, and the ids:
//! `NAME_sparse.npy` `[n, tables]`, or `NAME_sparse_multi_hot.npz` with an array `[n, ids]` for
//! each table, `0.npy`, `1.npy` and so on.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::foreign::{Columns, Foreign, ForeignReader};
use super::id_rows::{IdRows, NumberFiles, block, columns, share, unsigned_hash, width};
use super::npz::check_counts;
use super::rules::{DenseValues, ForeignIds};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::numpy::Array;
use crate::packed::SourceFile;
use crate::text::{Source, ZipEntry, entries_of_zip, identity, stored_bytes};

/// What the names of the three files end with.
pub(super) const ENDINGS: [&str; 3] = ["labels", "dense", "sparse"];
/// What the name of an archive of ids ends with.
const MULTI_HOT: &str = "sparse_multi_hot.npz";
/// More tables are damage; each of them has a buffer of its own.
const MOST_TABLES: usize = 1 << 10;

pub(super) struct TorchRecFiles {
    columns: Columns,
    dense: DenseValues,
    ids: ForeignIds,
    /// Folder of temporary files.
    scratch: PathBuf,
}

impl TorchRecFiles {
    pub(super) fn open(
        paths: &[PathBuf],
        counts: Option<Vec<u64>>,
        (dense, ids): (DenseValues, ForeignIds),
        scratch: PathBuf,
    ) -> Result<Self> {
        for path in paths {
            for path in &triple(path) {
                stored_bytes(path)?;
            }
        }
        let [_, dense_path, ids_path] = triple(&paths[0]);
        let found = Ids::open(&ids_path)?;
        let tables = found.tables()?;
        check_counts(counts.as_deref(), tables, &ids_path)?;
        let dense_width = width(&open(&dense_path)?)?;
        let columns = Columns {
            multi_hot: matches!(found, Ids::MultiHot(_)),
            ..columns(dense_width, tables, counts.as_deref())
        };
        Ok(Self {
            columns,
            dense,
            ids,
            scratch,
        })
    }
}

/// The ids of a triple.
enum Ids {
    /// `[n, tables]`.
    OneHot(Array<Source>),
    /// `[n, ids]` for each table.
    MultiHot(Vec<Array<ZipEntry<File>>>),
}

impl Ids {
    fn open(path: &Path) -> Result<Self> {
        if !is_multi_hot(path) {
            return Ok(Self::OneHot(open(path)?));
        }
        let places = entries_of_zip(path)?;
        if places.is_empty() || places.len() > MOST_TABLES {
            return Err(Error::Exchange(ExchangeError::BadForeignFile {
                path: path.to_path_buf(),
                problem: format!(
                    "holds {} arrays; it needs 0.npy, 1.npy and so on, {MOST_TABLES} at most",
                    places.len()
                ),
            }));
        }
        let tables = 0..places.len();
        let arrays = tables.map(|table| Array::in_archive(path, &places, &table.to_string()));
        Ok(Self::MultiHot(arrays.collect::<Result<_>>()?))
    }

    fn tables(&self) -> Result<u64> {
        match self {
            Self::OneHot(array) => width(array),
            Self::MultiHot(arrays) => Ok(arrays.len() as u64),
        }
    }
}

fn is_multi_hot(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npz")
}

/// `NAME_<ending>` for a name, or for one of its three files.
fn member(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = ENDINGS.map(|ending| format!("_{ending}.npy"));
    let multi_hot = format!("_{MULTI_HOT}");
    let base = known
        .iter()
        .chain([&multi_hot])
        .find_map(|known| name.strip_suffix(known.as_str()));
    path.with_file_name(format!("{}_{ending}", base.unwrap_or(&name)))
}

/// Labels, dense values and ids.
fn triple(path: &Path) -> [PathBuf; 3] {
    let [labels, dense, ids] = ENDINGS.map(|ending| member(path, &format!("{ending}.npy")));
    let multi_hot = member(path, MULTI_HOT);
    let named = path.to_string_lossy().ends_with(MULTI_HOT);
    let ids = match named || !ids.exists() && multi_hot.exists() {
        true => multi_hot,
        false => ids,
    };
    [labels, dense, ids]
}

fn open(path: &Path) -> Result<Array<Source>> {
    Array::new(path, "of the file", Source::open(path)?)
}

impl ForeignReader for TorchRecFiles {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn files(&self, path: &Path) -> Vec<PathBuf> {
        triple(path).into()
    }

    fn read(
        &self,
        path: &Path,
        consume: &mut dyn FnMut(Foreign) -> Result<()>,
    ) -> Result<Vec<SourceFile>> {
        let [labels_path, dense_path, ids_path] = triple(path);
        let (mut labels, dense) = (open(&labels_path)?, open(&dense_path)?);
        let ids = Ids::open(&ids_path)?;
        let samples = match *labels.shape.as_slice() {
            [samples] | [samples, 1] => samples,
            _ => {
                return Err(labels.damaged(format!(
                    "has shape {:?} instead of [samples, 1]",
                    labels.shape
                )));
            }
        };
        let (width, tables) = (self.columns.dense.len(), self.columns.tables.len());
        dense.expect_shape(&[samples, width as u64])?;
        let mut dense = dense.by_rows(&self.scratch)?;
        let mut ids = match ids {
            Ids::OneHot(ids) => {
                ids.expect_shape(&[samples, tables as u64])?;
                Ids::OneHot(ids.by_rows(&self.scratch)?)
            }
            Ids::MultiHot(arrays) => {
                let arrays = arrays.into_iter().map(|ids| {
                    ids.expect_shape(&[samples, super::id_rows::width(&ids)?])?;
                    ids.by_rows(&self.scratch)
                });
                Ids::MultiHot(arrays.collect::<Result<_>>()?)
            }
        };
        let multi_hot = matches!(ids, Ids::MultiHot(_));
        if ids.tables()? != tables as u64 || multi_hot != self.columns.multi_hot {
            return Err(Error::Exchange(ExchangeError::BadForeignFile {
                path: ids_path,
                problem: format!(
                    "is of another form than the ids of the first name: those have {tables} \
                     tables, multi-hot: {}",
                    self.columns.multi_hot
                ),
            }));
        }
        let sizes: Result<Vec<u64>> = triple(path).iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        let hashes = self.ids == ForeignIds::Rank;
        let id = |value| if hashes { unsigned_hash(value) } else { value };
        let ids_width = match &ids {
            Ids::OneHot(_) => tables,
            Ids::MultiHot(arrays) => arrays.iter().map(|array| array.shape[1] as usize).sum(),
        };
        let block = block(width + ids_width);
        for number in (0..samples).step_by(block) {
            let count = (samples - number).min(block as u64) as usize;
            let rows = IdRows {
                files: NumberFiles {
                    labels: &labels_path,
                    dense: &dense_path,
                    ids: &ids_path,
                },
                first: number,
                columns: &self.columns,
                rule: self.dense,
            };
            let mut foreign = rows.dense(labels.read(count)?, dense.read(count * width)?)?;
            foreign.tables = match &mut ids {
                Ids::OneHot(ids) => rows.ids(ids.read(count * tables)?.map(id))?,
                Ids::MultiHot(arrays) => {
                    let arrays = arrays.iter_mut().zip(&self.columns.tables);
                    let bags = arrays.map(|(array, table)| {
                        let width = array.shape[1] as usize;
                        rows.bags(table, width, array.read(count * width)?.map(id))
                    });
                    bags.collect::<Result<_>>()?
                }
            };
            foreign.stored_bytes = share(bytes, number, samples, count);
            consume(foreign)?;
        }
        let mut sources = vec![labels.finish()?.identity(), dense.finish()?.identity()];
        sources.push(match ids {
            Ids::OneHot(ids) => ids.finish()?.identity(),
            Ids::MultiHot(arrays) => {
                for array in arrays {
                    array.finish()?;
                }
                identity(&ids_path)?
            }
        });
        Ok(sources)
    }
}
