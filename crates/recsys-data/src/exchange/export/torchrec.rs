//! TorchRec's npy triples.

use super::output::{Output, UnfinishedFile, bytes_of};
use super::samples::{Part, with_progress};
use crate::error::Result;
use crate::exchange::torchrec::ENDINGS;
use crate::numpy::{Element, npy_header};
use crate::packed::PackedDataset;
use crate::progress::Progress;

pub(super) fn write(
    data: &PackedDataset,
    parts: &[Part],
    output: &mut Output,
    progress: &dyn Progress,
) -> Result<()> {
    let schema = data.schema();
    with_progress(data, 1, progress, || {
        for part in parts {
            let shapes = [
                (Element::I4, 1),
                (Element::F4, schema.dense.len() as u64),
                (Element::I4, schema.tables.len() as u64),
            ];
            let create = |ending: &str, (element, width)| -> Result<UnfinishedFile> {
                let mut file = output.create(format!("{}_{ending}.npy", part.name))?;
                file.write(&npy_header(element, &[part.len(), width]))?;
                Ok(file)
            };
            let [labels, dense, sparse] = ENDINGS;
            let mut labels = create(labels, shapes[0])?;
            let mut dense = create(dense, shapes[1])?;
            let mut sparse = create(sparse, shapes[2])?;
            part.for_each(progress, |block, batch| {
                labels.write(&bytes_of(&block.labels(batch)?, |n| n.to_le_bytes()))?;
                dense.write(&bytes_of(&batch.dense, |n| n.to_le_bytes()))?;
                sparse.write(&bytes_of(&batch.sparse.ids, |n| n.to_le_bytes()))
            })?;
            for file in [labels, dense, sparse] {
                output.close(file)?;
            }
        }
        Ok(())
    })
}
