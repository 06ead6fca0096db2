//! On an NVIDIA device, where there is one: a training step gives the engine's numbers up to rounding, and the same bits again. Elsewhere
//! the tests say that they are skipped.
#![cfg(feature = "cuda")]

use candle_core::{Device, Tensor};
use dlrm::{DlrmConfig, Interaction};
use tbsm::{DevicePass, Inner, Mechanism, Pass, SequenceLayer, Tbsm, TbsmConfig};
use testing::{Rounding, values};

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn device() -> Option<Device> {
    match Device::new_cuda_with_stream(0) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("skipped: no NVIDIA device: {error}");
            None
        }
    }
}

fn tsl(heads: usize, inner: Inner, mechanism: Mechanism, sequential: bool) -> SequenceLayer {
    SequenceLayer::Tsl {
        heads,
        inner,
        mechanism,
        mlp: vec![4, 3],
        sequential,
    }
}

/// A model with a width of its own for everything that has one.
fn small(sequence: SequenceLayer, normalise: bool) -> TbsmConfig {
    TbsmConfig {
        tower: DlrmConfig {
            tables: 3,
            dim: 6,
            bottom: vec![2, 8, 6],
            top: vec![9, 5],
            interaction: Interaction::Dot { with_self: true },
            ..TbsmConfig::default().tower
        },
        history: 7,
        normalise,
        sequence,
        head: vec![10, 1],
    }
}

/// What a step takes.
struct Batch {
    size: usize,
    dense: Vec<f32>,
    rows: Vec<f32>,
    logits_grad: Vec<f32>,
}

impl Batch {
    fn new(config: &TbsmConfig, size: usize) -> Self {
        let (positions, tower) = (config.positions(), &config.tower);
        Self {
            size,
            dense: values(size * positions * tower.dense_features(), 1),
            rows: values(size * positions * tower.tables * tower.dim, 2),
            logits_grad: values(size, size as u64 + 3),
        }
    }
}

/// Logits, the gradient of the rows, and that of the parameters.
type Numbers = [Vec<f32>; 3];

fn on_engine(model: &Tbsm, batch: &Batch) -> TestResult<Numbers> {
    let parameters = model.parameters().as_tensor().to_device(&Device::Cpu)?;
    let parameters = parameters.to_vec1::<f32>()?;
    let (network, mut pass) = (model.network(), Pass::default());
    let (mut logits, mut rows_grad) = (vec![0.0; batch.size], vec![0.0; batch.rows.len()]);
    let (dense, rows) = (&batch.dense, &batch.rows);
    network.forward(&parameters, dense, rows, &mut pass, &mut logits)?;
    network.backward(
        &parameters,
        dense,
        rows,
        &batch.logits_grad,
        &mut pass,
        &mut rows_grad,
        None,
    )?;
    let mut gradients = vec![0.0; parameters.len()];
    for slice in pass.gradients() {
        for (sum, value) in gradients.iter_mut().zip(slice) {
            *sum += value;
        }
    }
    Ok([logits, rows_grad, gradients])
}

fn on_device(model: &Tbsm, pass: &mut DevicePass, batch: &Batch) -> TestResult<Option<Numbers>> {
    let parameters = model.parameters().as_tensor();
    let (config, device) = (model.config(), parameters.device());
    let (size, positions, tower) = (batch.size, config.positions(), &config.tower);
    let dense = (size, positions, tower.dense_features());
    let dense = Tensor::from_slice(&batch.dense, dense, device)?;
    let rows = (size, positions, tower.tables, tower.dim);
    let rows = Tensor::from_slice(&batch.rows, rows, device)?;
    let rows_grad = Tensor::full(f32::NAN, rows.shape(), device)?;
    let slope = Tensor::from_slice(&batch.logits_grad, size, device)?;
    let mut logits = Vec::new();
    let loss = |found: &Tensor| -> candle_core::Result<Tensor> {
        assert_eq!(found.dims(), [size]);
        logits = found.to_vec1()?;
        Ok(slope.clone())
    };
    let network = model.network();
    let gradient = network.step_on_device(parameters, &dense, &rows, &rows_grad, pass, loss)?;
    let Some(gradient) = gradient else {
        return Ok(None);
    };
    assert_eq!(
        slope.to_vec1::<f32>()?,
        batch.logits_grad,
        "not ours to write"
    );
    let rows_grad = rows_grad.flatten_all()?.to_vec1()?;
    Ok(Some([logits, rows_grad, gradient.to_vec1()?]))
}

/// Sums in another order, through a dozen layers.
const ROUNDING: Rounding = Rounding {
    share: 2e-5,
    least: 1e-3,
};

fn close(found: &Numbers, expected: &Numbers, what: &str) -> TestResult {
    let parts = ["logits", "rows' gradient", "parameters' gradient"];
    for ((found, expected), part) in found.iter().zip(expected).zip(parts) {
        testing::close(found, expected, ROUNDING, &format!("{what}: {part}"))?;
    }
    Ok(())
}

/// Steps of batches that grow and shrink, in memory that is kept.
fn compare(config: TbsmConfig, sizes: &[usize], device: &Device) -> TestResult {
    let model = Tbsm::new(config.clone(), 7, device)?;
    let mut pass = DevicePass::default();
    let mut numbers = Vec::new();
    for &size in sizes {
        let (batch, what) = (Batch::new(&config, size), format!("{config:?}, {size}"));
        let before = pass.memory_for(size);
        let found = on_device(&model, &mut pass, &batch)?.ok_or("no step")?;
        let after = pass.memory_for(size);
        // A number says what a recorded step may be repeated in: none comes back when memory is made anew.
        match before {
            Some(_) => assert_eq!(before, after),
            None => assert!(after.is_some() && !numbers.contains(&after)),
        }
        close(&found, &on_engine(&model, &batch)?, &what)?;
        // What the last batch has left in the memory is no part of this one.
        let again = on_device(&model, &mut pass, &batch)?.ok_or("no step")?;
        assert!(found == again, "{what}: another result");
        numbers.push(after);
    }
    let largest = sizes.iter().max().ok_or("no batch")?;
    assert_eq!(pass.memory_for(largest + 1), None);
    Ok(())
}

#[test]
fn a_step_is_the_engines_in_every_variant() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    for inner in [Inner::Dot, Inner::Ind, Inner::Def] {
        for mechanism in [Mechanism::Mlp, Mechanism::Mul] {
            for (heads, sequential) in [(1, false), (3, true)] {
                for normalise in [false, true] {
                    let layer = tsl(heads, inner, mechanism, sequential);
                    compare(small(layer, normalise), &[5], &device)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn batches_of_every_size_share_the_memory() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    let layer = tsl(2, Inner::Def, Mechanism::Mlp, true);
    compare(small(layer, true), &[3, 40, 1, 70, 33, 71], &device)?;
    compare(TbsmConfig::default(), &[48, 17], &device)
}

#[test]
fn other_layers_have_no_such_step() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    let layer = || tsl(1, Inner::Def, Mechanism::Mlp, false);
    let mut concatenating = small(layer(), true);
    concatenating.tower.interaction = Interaction::Cat;
    for config in [
        small(SequenceLayer::Mha { heads: 2 }, true),
        small(SequenceLayer::Rnn { layers: 1 }, true),
        concatenating,
    ] {
        let batch = Batch::new(&config, 4);
        let model = Tbsm::new(config, 7, &device)?;
        let mut pass = DevicePass::default();
        assert!(on_device(&model, &mut pass, &batch)?.is_none());
        assert_eq!(pass.memory_for(1), None);
    }
    Ok(())
}

#[test]
fn inputs_of_other_shapes_are_refused() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    let config = small(tsl(1, Inner::Dot, Mechanism::Mul, false), true);
    let model = Tbsm::new(config.clone(), 7, &device)?;
    let mut pass = DevicePass::default();
    let changes: [fn(&mut TbsmConfig); 3] = [
        |other| other.history -= 1,
        |other| other.tower.bottom[0] += 1,
        |other| other.tower.tables -= 1,
    ];
    for change in changes {
        let (size, mut other) = (3, config.clone());
        change(&mut other);
        let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &device);
        let (tower, positions) = (&other.tower, other.positions());
        let dense = zeros(&[size, positions, tower.dense_features()])?;
        let rows = zeros(&[size, positions, tower.tables, tower.dim])?;
        let parameters = model.parameters().as_tensor();
        let loss = |_: &Tensor| -> candle_core::Result<Tensor> { candle_core::bail!("a loss") };
        let network = model.network();
        let step = network.step_on_device(parameters, &dense, &rows, &rows, &mut pass, loss);
        let error = step.err().ok_or("no error")?.to_string();
        assert!(error.contains("but the network takes"), "{error}");
    }
    Ok(())
}
