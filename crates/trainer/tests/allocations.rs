//! After the first steps, a training step on the CPU allocates nothing that grows with the batch.
//!
//! What remains: a few hundred bytes of candle's bookkeeping a step, and the buffers that the
//! matrix product library packs into and frees again, which grow with the slice, not with the
//! batch. [`Trainer::predict`] also makes the logits that it returns: one value a sample as a
//! tensor, and one in the vector.

use std::error::Error;

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, SliceSize};
use embedding_store::{CpuStore, Optimizer, Plan, StoreOptions, TableSpec};
use recsys_data::{Batch, SparseIds};
use tbsm::{FusedTbsm, Tbsm, TbsmConfig};
use testing::Counting;
use trainer::{BinaryLoss, Model, Trainer};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROWS: u64 = 50;

/// What the third step on a batch, and the third prediction, allocate, in all and at once.
fn third<M: Model>(
    model: M,
    (tables, dim): (usize, usize),
    (dense, positions): (usize, usize),
    samples: usize,
) -> Result<[(usize, usize); 2], Box<dyn Error>> {
    let options = StoreOptions {
        dim,
        optimizer: Optimizer::adagrad().into(),
        ..StoreOptions::default()
    };
    let store = CpuStore::new(vec![TableSpec::full(ROWS); tables], options)?;
    let mut trainer = Trainer::new(model, store, Device::Cpu);
    let values = |count: usize| (0..count).map(|k| (k * 7 % 11) as f32 / 11.0).collect();
    let batch = Batch {
        label: (0..samples).map(|k| (k % 2) as f32).collect(),
        dense: values(samples * positions * dense),
        sparse: SparseIds {
            ids: (0..samples * positions * tables)
                .map(|k| (k * k % 31) as u32)
                .collect(),
            offsets: Vec::new(),
        },
    };
    // Slices run where allocations are counted.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| -> Result<_, trainer::Error> {
        let mut plan = Plan::default();
        let mut counts = [(0, 0); 2];
        for _ in 0..3 {
            let (step, allocated) = Counting::on_thread(|| {
                trainer.plan(&batch, &mut plan)?;
                trainer.step(&batch, &plan, &BinaryLoss::bce(), 0.01)
            });
            step?;
            counts[0] = (allocated.bytes, allocated.peak);
            let (logits, allocated) = Counting::on_thread(|| {
                trainer.plan(&batch, &mut plan)?;
                trainer.predict(&batch, &plan)
            });
            logits?;
            counts[1] = (allocated.bytes, allocated.peak);
        }
        Ok(counts)
    })
    .map_err(Into::into)
}

/// Samples of the batches that are compared: both are cut into as many lanes.
const SAMPLES: [usize; 2] = [128, 512];

fn assert_flat(counts: [[(usize, usize); 2]; 2]) {
    let [[step, predict], [large_step, large_predict]] = counts;
    assert_eq!(step, large_step, "a step's bytes, in all and at once");
    // Two values a sample, and the vector's room.
    let more = SAMPLES[1] * 2 * size_of::<f32>();
    assert!(
        large_predict.0 <= predict.0 + more,
        "{predict:?} {large_predict:?}"
    );
    assert!(step.0 < 16 << 10, "{step:?}");
}

#[test]
fn a_dlrm_step_allocates_nothing_that_grows_with_the_batch() -> Result<(), Box<dyn Error>> {
    // Layers of width 1 need no matrix product, whose library packs into buffers of its own.
    let config = DlrmConfig {
        tables: 5,
        dim: 1,
        bottom: vec![3, 1, 1],
        top: vec![1, 1],
        slice: SliceSize::Fixed(4),
        ..DlrmConfig::default()
    };
    let counts = |samples| {
        let model = FusedDlrm::new(Dlrm::new(config.clone(), 0, &Device::Cpu)?);
        third(model, (5, 1), (3, 1), samples)
    };
    assert_flat([counts(SAMPLES[0])?, counts(SAMPLES[1])?]);
    Ok(())
}

#[test]
fn the_matrix_products_buffers_do_not_grow_with_the_batch() -> Result<(), Box<dyn Error>> {
    let config = DlrmConfig {
        slice: SliceSize::Fixed(8),
        ..DlrmConfig::default()
    };
    let counts = |samples| {
        let model = FusedDlrm::new(Dlrm::new(config.clone(), 0, &Device::Cpu)?);
        third(model, (26, 16), (13, 1), samples)
    };
    let [[(_, small), _], [(_, large), _]] = [counts(SAMPLES[0])?, counts(SAMPLES[1])?];
    assert_eq!(small, large, "bytes at once");
    Ok(())
}

#[test]
fn a_tbsm_step_allocates_nothing_that_grows_with_the_batch() -> Result<(), Box<dyn Error>> {
    let mut config = TbsmConfig::default();
    config.tower.slice = SliceSize::Fixed(4);
    let positions = config.positions();
    let counts = |samples| {
        let model = FusedTbsm::new(Tbsm::new(config.clone(), 0, &Device::Cpu)?);
        third(model, (3, 16), (1, positions), samples)
    };
    assert_flat([counts(SAMPLES[0])?, counts(SAMPLES[1])?]);
    Ok(())
}
