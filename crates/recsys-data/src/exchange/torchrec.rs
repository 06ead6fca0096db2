//! TorchRec's triples: `NAME_dense.npy` `[n, dense]`, `NAME_sparse.npy` `[n, tables]`, `NAME_labels.npy` `[n, 1]`.

use std::path::{Path, PathBuf};

use super::foreign::{Columns, Foreign, ForeignReader, Place};
use super::id_rows::{IdRows, SAMPLES, columns, share, width};
use super::npz::check_counts;
use super::rules::{DenseValues, ForeignIds};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::numpy::Array;
use crate::packed::SourceFile;
use crate::text::{Source, stored_bytes};

/// What the names of the three files end with.
pub(super) const ENDINGS: [&str; 3] = ["labels", "dense", "sparse"];

pub(super) struct TorchRecFiles {
    columns: Columns,
    dense: DenseValues,
    ids: ForeignIds,
}

impl TorchRecFiles {
    pub(super) fn open(
        paths: &[PathBuf],
        counts: Option<Vec<u64>>,
        dense: DenseValues,
        ids: ForeignIds,
    ) -> Result<Self> {
        for path in paths {
            let triple = triple(path);
            let multi_hot = member(path, "sparse_multi_hot.npz");
            if !triple[2].exists() && multi_hot.exists() {
                let problem = "is multi-hot, which is not read: map its columns in a Parquet \
                               file instead, with `ImportFormat::Table`";
                return Err(Error::Exchange(ExchangeError::BadForeignFile {
                    path: multi_hot,
                    problem: problem.to_owned(),
                }));
            }
            for path in &triple {
                stored_bytes(path)?;
            }
        }
        let [_, dense_path, sparse_path] = triple(&paths[0]);
        let (dense_width, tables) = (width(&open(&dense_path)?)?, width(&open(&sparse_path)?)?);
        check_counts(counts.as_deref(), tables, &sparse_path)?;
        let columns = columns(dense_width, tables, counts.as_deref());
        Ok(Self {
            columns,
            dense,
            ids,
        })
    }
}

/// `NAME_<ending>` for a name, or for one of its three files.
fn member(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = ENDINGS.map(|ending| format!("_{ending}.npy"));
    let base = known
        .iter()
        .find_map(|known| name.strip_suffix(known.as_str()));
    path.with_file_name(format!("{}_{ending}", base.unwrap_or(&name)))
}

fn triple(path: &Path) -> [PathBuf; 3] {
    ENDINGS.map(|ending| member(path, &format!("{ending}.npy")))
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
        let [labels_path, dense_path, sparse_path] = triple(path);
        let (mut labels, mut dense) = (open(&labels_path)?, open(&dense_path)?);
        let mut sparse = open(&sparse_path)?;
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
        sparse.expect_shape(&[samples, tables as u64])?;
        let sizes: Result<Vec<u64>> = triple(path).iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        // Raw hashes of 32 bits lie in these files as signed numbers.
        let id = |value: f64| match value as i32 {
            hash if self.ids == ForeignIds::Rank && f64::from(hash) == value => {
                f64::from(hash as u32)
            }
            _ => value,
        };
        for number in (0..samples).step_by(SAMPLES) {
            let count = (samples - number).min(SAMPLES as u64) as usize;
            let rows = IdRows {
                labels: labels.read(count)?,
                dense: dense.read(count * width)?,
                ids: sparse.read(count * tables)?.map(id),
            };
            let place = Place {
                path: &sparse_path,
                unit: "sample",
                number,
            };
            let mut foreign = rows.check(place, &self.columns, self.dense)?;
            foreign.stored_bytes = share(bytes, number, samples, count);
            consume(foreign)?;
        }
        let sources = [labels.finish()?, dense.finish()?, sparse.finish()?];
        Ok(sources.iter().map(Source::identity).collect())
    }
}
