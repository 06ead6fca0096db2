//! Hot and cold inputs as two packed data sets, for sequential reading.

use std::path::Path;

use recsys_data::packed::{Manifest, PackedDataset, PackedWriter, Provenance, WriterOptions};
use recsys_data::{Batch, Dataset, Split, SplitRows};
use serde_json::json;

use crate::{HotSet, Partition, Result};

/// Samples copied at a time.
const BATCH: usize = 8192;

impl HotSet {
    /// Writes the training split as two packed data sets in `out`: `hot`, the inputs whose rows are all hot, and `cold`, the
    /// others, each in the order of the source. Ids are the same as in the source, whose vocabularies go on to hold.
    /// `progress` is told the number of samples written so far.
    ///
    /// # Errors
    /// A data set that the hot set does not fit, an output folder that holds files (with `force`: other files than a packed
    /// data set's), or failing reads and writes.
    pub fn materialise(
        &self,
        data: &PackedDataset,
        out: &Path,
        force: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<[Manifest; 2]> {
        let train = data.split(Split::Train);
        let partition = Partition::classify(&train, self.hot_rows())?;
        let mut done = 0;
        let mut write =
            |kind: &str, len: u64, numbers: &mut dyn Iterator<Item = u64>| -> Result<Manifest> {
                let rows = SplitRows {
                    train: len,
                    ..SplitRows::default()
                };
                let options = WriterOptions {
                    force,
                    ..WriterOptions::default()
                };
                let schema = data.schema().clone();
                let mut writer = PackedWriter::create(&out.join(kind), schema, rows, options)?;
                let (mut samples, mut batch) = (Vec::with_capacity(BATCH), Batch::default());
                loop {
                    samples.clear();
                    samples.extend((&mut *numbers).take(BATCH));
                    if samples.is_empty() {
                        break;
                    }
                    train.read(&samples, &mut batch)?;
                    writer.append(Split::Train, &batch)?;
                    done += samples.len() as u64;
                    progress(done);
                }
                Ok(writer.finish(self.provenance(data, kind))?)
            };
        let hot = write("hot", partition.hot_len(), &mut partition.iter_hot())?;
        let cold = write("cold", partition.cold_len(), &mut partition.iter_cold())?;
        Ok([hot, cold])
    }

    fn provenance(&self, data: &PackedDataset, kind: &str) -> Provenance {
        let source = &data.manifest().provenance;
        Provenance {
            dataset: format!("{}-{kind}", source.dataset),
            sources: source.sources.clone(),
            options: json!({
                "part": kind,
                "of": self.dataset(),
                "strategy": self.strategy(),
                "budget": self.budget(),
                "hot_rows": self.hot_rows(),
            }),
            report: serde_json::Value::Null,
        }
    }
}
