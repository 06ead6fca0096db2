//! Weights for PyTorch, under the names of the programs that load them.

use std::path::Path;

use crate::tensor_file::{Entry, FLOATS_AT_ONCE};
use crate::tensor_source::{Dtype, TensorSource};
use crate::torch_file::{Frame, TorchWriter};
use crate::weight_names::plain;
use crate::weights::open;
use crate::{Error, Result};

/// Which names weights get, and what stands beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsForm {
    /// What the original programs save: the state dictionary under `state_dict` beside what
    /// `dlrm_s_pytorch.py --load-model --inference-only` wants, that of TBSM under
    /// `model_state_dict`.
    Reference,
    /// The state dictionary of the original's model alone.
    StateDict,
    /// The state dictionary of TorchRec's `DLRM`, whose interaction takes pairs of features in
    /// another order: the first layer above it is written in that order. Tables are those of
    /// features `cat_0` and up.
    TorchRec,
}

/// What the original DLRM wants to find.
const DLRM: Frame = Frame {
    key: "state_dict",
    integers: &["nepochs", "nbatches", "nbatches_test", "iter", "epoch"],
    floats: &["train_loss", "total_loss", "test_acc", "test_auc"],
};
const TBSM: Frame = Frame {
    key: "model_state_dict",
    integers: &[],
    floats: &[],
};
const ALONE: Frame = Frame {
    key: "",
    integers: &[],
    floats: &[],
};

/// A weight on its way to another file.
struct Weight {
    from: String,
    to: String,
    shape: Vec<u64>,
    /// Which column of the weight each column of the file is.
    columns: Option<Vec<usize>>,
}

/// Writes the weights of a file ([`load_weights`](crate::load_weights) says which files) as a file
/// that PyTorch loads, in f32. Weights are streamed, so memory stays small; the file appears under
/// its name only when it is complete. Returns the names and shapes that were written.
///
/// # Errors
/// A file without weights, weights that the form has no place for, or a file that cannot be
/// written.
pub fn export_weights(
    weights: &Path,
    out: &Path,
    form: WeightsForm,
) -> Result<Vec<(String, Vec<u64>)>> {
    let mut file = open(weights)?;
    let mut found = list(&*file);
    if found.is_empty() {
        return Err(refused(&*file, "holds no floats".to_owned()));
    }
    let is_tbsm = found.iter().any(|weight| weight.to.starts_with("dlrm."));
    if form == WeightsForm::TorchRec {
        torchrec(&*file, &mut found)?;
    }
    let frame = match form {
        WeightsForm::Reference if is_tbsm => TBSM,
        WeightsForm::Reference => DLRM,
        _ => ALONE,
    };
    let entries = found
        .iter()
        .map(|weight| (weight.to.clone(), weight.shape.clone()));
    let entries: Vec<Entry> = entries.collect();
    let mut writer = TorchWriter::create(out, &entries, frame)?;
    for weight in &found {
        let count: u64 = weight.shape.iter().product();
        match &weight.columns {
            Some(columns) => {
                let values = file.read(&weight.from, 0, count as usize)?;
                let rows = values.chunks_exact(columns.len());
                let values: Vec<f32> = rows
                    .flat_map(|row| columns.iter().map(|&column| row[column]))
                    .collect();
                writer.write(&values)?;
            }
            None => {
                for first in (0..count).step_by(FLOATS_AT_ONCE) {
                    let piece = (count - first).min(FLOATS_AT_ONCE as u64) as usize;
                    writer.write(&file.read(&weight.from, first, piece)?)?;
                }
            }
        }
    }
    writer.finish()?;
    Ok(entries)
}

/// The weights of a file under their names without wrappers.
fn list(file: &dyn TensorSource) -> Vec<Weight> {
    let names = file.names().into_iter();
    let weights = names.filter_map(|name| {
        let stored = file.find(&name)?;
        matches!(stored.dtype, Dtype::Float(_)).then(|| Weight {
            to: plain(&name),
            from: name,
            shape: stored.shape,
            columns: None,
        })
    });
    weights.collect()
}

fn refused(file: &dyn TensorSource, problem: String) -> Error {
    Error::NotPickledWeights {
        path: file.path().into(),
        problem,
    }
}

/// The number in `name` between `before` and `.after`, which is `weight` or `bias`.
fn number<'a>(name: &'a str, before: &str) -> Option<(u64, &'a str)> {
    let (number, after) = name.strip_prefix(before)?.split_once('.')?;
    matches!(after, "weight" | "bias").then_some(())?;
    Some((number.parse().ok()?, after))
}

/// Gives weights the names and the order of columns of TorchRec's DLRM.
fn torchrec(file: &dyn TensorSource, weights: &mut [Weight]) -> Result<()> {
    let layers = weights
        .iter()
        .filter_map(|weight| number(&weight.to, "top_l."));
    let last = layers.map(|(layer, _)| layer).max();
    let tables = |weight: &&Weight| number(&weight.to, "emb_l.").is_some();
    let count = weights.iter().filter(tables).count();
    let dim = weights
        .iter()
        .find(tables)
        .and_then(|weight| weight.shape.get(1).copied());
    let dim = dim.unwrap_or(0);
    for weight in weights {
        let name = weight.to.clone();
        weight.to = if let Some((table, after)) = number(&name, "emb_l.") {
            format!("sparse_arch.embedding_bag_collection.embedding_bags.t_cat_{table}.{after}")
        } else if let Some((layer, after)) = number(&name, "bot_l.") {
            format!("dense_arch.model._mlp.{}._linear.{after}", layer / 2)
        } else if let Some((layer, after)) = number(&name, "top_l.") {
            if layer == 0 && after == "weight" {
                weight.columns =
                    Some(pairs(dim as usize, count, &weight.shape).ok_or_else(|| {
                        refused(
                            file,
                            format!(
                                "has no model of TorchRec: `{name}` is {:?}, and above the dot \
                             interaction of {count} tables of dimension {dim} it has other \
                             columns",
                                weight.shape
                            ),
                        )
                    })?);
            }
            match Some(layer) == last {
                true => format!("over_arch.model.1.{after}"),
                false => format!("over_arch.model.0._mlp.{}._linear.{after}", layer / 2),
            }
        } else {
            let problem = format!("has `{name}`, which has no place in TorchRec's DLRM");
            return Err(refused(file, problem));
        };
    }
    Ok(())
}

/// Which column of the original's interaction each column of TorchRec's is: both begin with the
/// dense features. Pairs follow, of a feature and an earlier one in the original, feature by
/// feature, and of a feature and a later one in TorchRec.
fn pairs(dim: usize, tables: usize, shape: &[u64]) -> Option<Vec<usize>> {
    let features = tables + 1;
    let width = dim + features * (features - 1) / 2;
    let &[_, found] = shape else {
        return None;
    };
    let later = |feature: usize| (feature + 1..features).map(move |later| (feature, later));
    let pairs = (0..features).flat_map(later);
    let pairs = pairs.map(|(feature, later)| dim + later * (later - 1) / 2 + feature);
    (found == width as u64).then(|| (0..dim).chain(pairs).collect())
}
