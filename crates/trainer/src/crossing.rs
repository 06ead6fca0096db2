//! What crosses between host and device in a training step, beside rows: inputs to it, the loss
//! from it.

use std::collections::VecDeque;
use std::ops::Range;

use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::driver::{CudaGraph, sys};
use candle_core::{DType, Device, Tensor};
use embedding_store::DenseStep;
use recsys_data::Batch;
use recsys_device::launch::{address, copy, grid};
use recsys_device::transfer::{CudaQueues, Downloads, Uploaded, Uploads};
use recsys_device::{Mirror, copy_between};

use crate::{BinaryLoss, Result};

pub(crate) use recsys_device::transfer::Downloading as Asked;

/// What crosses in the steps of one trainer, where its device is NVIDIA's.
#[derive(Default)]
pub(crate) struct Crossing {
    rings: Option<Rings>,
    /// Pieces of the running step whose losses a device takes.
    pieces: usize,
}

/// Pinned buffers on both ways.
struct Rings {
    inputs: Uploads<f32, CudaQueues>,
    losses: Downloads<f32, CudaQueues>,
    /// Derivatives of the loss with respect to the logits.
    slopes: Tensor,
    /// The shares that pieces of the batch have in its loss.
    shares: Tensor,
    /// For the logits of replicas on other devices.
    elsewhere: Vec<Elsewhere>,
}

/// What the loss of a share of the batch needs on another device.
struct Elsewhere {
    labels: Mirror,
    slopes: Mirror,
    /// Of the batch's loss, and which piece of it that is.
    share: Tensor,
    piece: Option<usize>,
}

/// Pieces of a batch whose losses are taken one by one: devices that share it.
const MOST_SHARES: usize = 256;

/// A batch's inputs on the device.
pub(crate) struct Sent {
    /// As the model takes them.
    pub(crate) dense: Tensor,
    labels: Tensor,
    uploaded: Uploaded,
}

impl Sent {
    pub(crate) fn dense(&self) -> &Tensor {
        &self.dense
    }
}

impl Crossing {
    /// Asks for the copy of a batch's dense features, in the shape of a tensor, and labels, to its
    /// device; `None` where that is another one than NVIDIA's.
    pub(crate) fn send(&mut self, batch: &Batch, dense: &Tensor) -> Result<Option<Sent>> {
        if !dense.device().is_cuda() {
            return Ok(None);
        }
        self.pieces = 0;
        let rings = match &mut self.rings {
            Some(rings) => rings,
            none => none.insert(Rings::new(dense.device())?),
        };
        rings.send(batch, dense.dims()).map(Some)
    }

    /// All work on a batch has been asked for.
    pub(crate) fn release(&mut self, sent: Option<Sent>) -> Result<()> {
        match (&mut self.rings, sent) {
            (Some(rings), Some(sent)) => Ok(rings.inputs.release(sent.uploaded)?),
            _ => Ok(()),
        }
    }

    /// The derivatives of the mean loss of a batch of `batch` samples with respect to the logits of
    /// some of them; `None` where these are not on an NVIDIA device, or the loss has no kernel.
    pub(crate) fn loss(
        &mut self,
        loss: Option<&BinaryLoss>,
        logits: &Tensor,
        sent: Option<&Sent>,
        samples: Range<usize>,
        batch: usize,
    ) -> Result<Option<Tensor>> {
        let loss = loss.filter(|_| logits.device().is_cuda());
        match (&mut self.rings, sent, loss) {
            (Some(rings), Some(sent), Some(loss)) => {
                let piece = self.pieces;
                self.pieces += 1;
                rings
                    .loss(loss, logits, sent, samples, batch, piece)
                    .map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Asks for the way of the step's losses to the host, if a device has taken them; a recorded
    /// step is of one piece.
    pub(crate) fn ask(&mut self, recorded: bool) -> Result<Option<Asked>> {
        let pieces = if recorded { 1 } else { self.pieces };
        match &mut self.rings {
            Some(rings) if pieces > 0 => rings.ask(pieces).map(Some),
            _ => Ok(None),
        }
    }

    /// Waits for losses and adds them up.
    pub(crate) fn sum(&mut self, asked: Option<Asked>) -> Result<f64> {
        let sum = |shares: &[f32]| shares.iter().map(|&share| f64::from(share)).sum();
        match (&mut self.rings, asked) {
            (Some(rings), Some(asked)) => Ok(rings.losses.take(asked, sum)?),
            _ => Ok(0.0),
        }
    }

    /// What decides a step's work, where it can be recorded; `memory` is what
    /// [`Model::step_memory`](crate::Model::step_memory) says.
    pub(crate) fn key(
        &self,
        sent: Option<&Sent>,
        rows: [&Tensor; 2],
        memory: Option<u64>,
        batch: usize,
        loss: Option<&BinaryLoss>,
        learning_rate: f64,
    ) -> Result<Option<StepKey>> {
        match (&self.rings, sent, memory.zip(loss)) {
            (Some(rings), Some(sent), Some((memory, loss))) => {
                StepKey::new(rings, sent, rows, memory, batch, loss, learning_rate).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Rings {
    fn new(device: &Device) -> Result<Self> {
        let queues = CudaQueues::new(device)?;
        Ok(Self {
            inputs: Uploads::new(queues.clone()),
            losses: Downloads::new(queues),
            slopes: Tensor::zeros(1, DType::F32, device)?,
            shares: Tensor::zeros(MOST_SHARES, DType::F32, device)?,
            elsewhere: Vec::new(),
        })
    }

    fn send(&mut self, batch: &Batch, shape: &[usize]) -> Result<Sent> {
        let (dense, labels) = (batch.dense.len(), batch.label.len());
        // Labels start where kernels may read four at once.
        let start = dense.next_multiple_of(4);
        let uploaded = self.inputs.upload((start + labels).max(1), |into| {
            into[..dense].copy_from_slice(&batch.dense);
            into[start..start + labels].copy_from_slice(&batch.label);
        })?;
        let buffer = self.inputs.read(&uploaded)?;
        Ok(Sent {
            dense: buffer.narrow(0, 0, dense)?.reshape(shape)?,
            labels: buffer.narrow(0, start, labels)?,
            uploaded,
        })
    }

    /// The share that the samples have in the batch's loss is number `piece`, to be asked for by
    /// [`ask`](Self::ask).
    fn loss(
        &mut self,
        loss: &BinaryLoss,
        logits: &Tensor,
        sent: &Sent,
        samples: Range<usize>,
        batch: usize,
        piece: usize,
    ) -> Result<Tensor> {
        let count = samples.len();
        if logits.elem_count() != count {
            return Err(candle_core::Error::Msg(format!(
                "{} logits for {count} samples",
                logits.elem_count()
            ))
            .into());
        }
        let logits = logits.contiguous()?;
        let labels = sent.labels.narrow(0, samples.start, count)?;
        let share = self.shares.narrow(0, piece, 1)?;
        if !logits.device().same_device(share.device()) {
            return self.loss_elsewhere(loss, &logits, &labels, batch, piece);
        }
        if self.slopes.elem_count() < count {
            self.slopes = Tensor::zeros(batch.max(count), DType::F32, logits.device())?;
        }
        let slopes = self.slopes.narrow(0, 0, count)?;
        kernels::loss(loss, [&logits, &labels, &slopes, &share], batch)?;
        Ok(slopes)
    }

    /// The same on another device. Its share stays there until it is asked for, so that this device
    /// does not wait for it.
    fn loss_elsewhere(
        &mut self,
        loss: &BinaryLoss,
        logits: &Tensor,
        labels: &Tensor,
        batch: usize,
        piece: usize,
    ) -> Result<Tensor> {
        let device = logits.device();
        let known = |place: &Elsewhere| place.share.device().same_device(device);
        let place = match self.elsewhere.iter().position(known) {
            Some(at) => &mut self.elsewhere[at],
            None => self.elsewhere.push_mut(Elsewhere {
                labels: Mirror::default(),
                slopes: Mirror::default(),
                share: Tensor::zeros(1, DType::F32, device)?,
                piece: None,
            }),
        };
        let labels = place.labels.of(labels, device)?;
        let slopes = place.slopes.room(labels.dims(), device)?;
        kernels::loss(loss, [logits, &labels, &slopes, &place.share], batch)?;
        place.piece = Some(piece);
        Ok(slopes)
    }

    /// Asks for the way of the shares of so many pieces to the host.
    fn ask(&mut self, pieces: usize) -> Result<Asked> {
        for place in &mut self.elsewhere {
            if let Some(piece) = place.piece.take() {
                copy_between(&place.share, &self.shares.narrow(0, piece, 1)?)?;
            }
        }
        let shares = self.shares.narrow(0, 0, pieces)?;
        // The next step writes its own, so these leave from elsewhere.
        self.losses.download(pieces, |into| -> Result<()> {
            Ok(copy(&shares, &into.narrow(0, 0, pieces)?)?)
        })
    }
}

/// What decides the work of a step on the device, down to the addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StepKey {
    addresses: [u64; 5],
    memory: u64,
    batch: usize,
    loss: BinaryLoss,
    rate: u32,
    /// Products are asked for in the precision that the process allows.
    tf32: bool,
}

impl StepKey {
    fn new(
        rings: &Rings,
        sent: &Sent,
        [rows, rows_grad]: [&Tensor; 2],
        memory: u64,
        batch: usize,
        loss: &BinaryLoss,
        learning_rate: f64,
    ) -> Result<Self> {
        let tensors = [&sent.dense, &sent.labels, rows, rows_grad, &rings.slopes];
        let mut addresses = [0; 5];
        for (into, tensor) in addresses.iter_mut().zip(tensors) {
            *into = address(tensor)?;
        }
        Ok(Self {
            addresses,
            memory,
            batch,
            loss: *loss,
            rate: (learning_rate as f32).to_bits(),
            tf32: candle_core::cuda::gemm_reduced_precision_f32(),
        })
    }
}

/// Steps that the device was asked for: asked once, it can repeat them, and the host asks for one
/// thing instead of fifty.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Oldest first; without a graph where a step has run once.
    steps: VecDeque<(StepKey, Option<Graph>)>,
}

struct Graph(CudaGraph);

// SAFETY: a graph may be used by one thread at a time, whichever that is. `Recorded` gives it to
// nobody but whoever holds it exclusively.
unsafe impl Send for Graph {}

/// Steps that are kept: input buffers that take turns, of a full and of a last batch.
const MOST_STEPS: usize = 12;

/// What is to be done for a step.
enum Repeat {
    /// Nothing: the device was asked to repeat it.
    Asked,
    /// To ask for it while the device records, between the two calls.
    Record,
    /// To ask for it.
    Ask,
}

impl Recorded {
    /// Forgets all steps: memory has become another.
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
    }

    /// Has a step done by the device alone, as it was recorded, or else by asking for it here,
    /// which is recorded the second time. Returns whether it is done: without a key it never is.
    pub(crate) fn run(
        &mut self,
        key: Option<&StepKey>,
        device: &Device,
        ask: impl FnOnce() -> Result<()>,
    ) -> Result<bool> {
        let Some(key) = key else {
            return Ok(false);
        };
        match self.repeat(key)? {
            Repeat::Asked => {}
            Repeat::Record => self.record(key, device, ask)?,
            Repeat::Ask => return Ok(false),
        }
        Ok(true)
    }

    /// Asks the device to repeat a step, if it can.
    fn repeat(&mut self, key: &StepKey) -> Result<Repeat> {
        match self.steps.iter().find(|(step, _)| step == key) {
            Some((_, Some(Graph(graph)))) => {
                graph.launch().w()?;
                Ok(Repeat::Asked)
            }
            // What is loaded or made at first use is there now.
            Some((_, None)) => Ok(Repeat::Record),
            None => {
                if self.steps.len() == MOST_STEPS {
                    self.steps.pop_front();
                }
                self.steps.push_back((*key, None));
                Ok(Repeat::Ask)
            }
        }
    }

    /// Lets `ask` ask for a step, records it, and asks for what was recorded. Nobody else may ask
    /// the device for anything meanwhile.
    fn record(
        &mut self,
        key: &StepKey,
        device: &Device,
        ask: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let stream = device.as_cuda_device()?.cuda_stream();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).w()?;
        let asked = ask();
        // Recording ends whatever came of it.
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).w();
        asked?;
        let Some(graph) = graph? else {
            return Err(candle_core::Error::Msg("the device has recorded nothing".into()).into());
        };
        graph.launch().w()?;
        if let Some((_, kept)) = self.steps.iter_mut().find(|(step, _)| step == key) {
            *kept = Some(Graph(graph));
        }
        Ok(())
    }
}

/// `sum += values`, in place, of as many.
pub(crate) fn add(values: &Tensor, sum: &Tensor) -> Result<()> {
    let addresses = [address(sum)?, address(values)?];
    Ok(kernels::dense("dense_add", sum, &addresses, &[])?)
}

/// Moves a dense parameter, in place; the state is there where the rule keeps one.
pub(crate) fn dense_step(
    step: DenseStep,
    weights: &Tensor,
    state: Option<&Tensor>,
    gradient: &Tensor,
) -> Result<()> {
    let (name, factors) = step.kernel();
    let mut addresses = vec![address(weights)?];
    if let Some(state) = state {
        addresses.push(address(state)?);
    }
    addresses.push(address(gradient)?);
    Ok(kernels::dense(name, weights, &addresses, &factors)?)
}

mod kernels {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::PushKernelArg;
    use candle_core::{Result, Tensor, bail};
    use recsys_device::launch::{device_of, number};

    use super::{address, grid};
    use crate::BinaryLoss;

    const MODULE: &str = "trainer/step";
    const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/step.ptx"));
    /// Threads of the one block that takes the loss; the kernel counts on it.
    const LOSS_THREADS: usize = 1024;
    const THREADS: usize = 256;

    /// Of as many logits, labels and slopes; a share is one value. All are on one device.
    pub(super) fn loss(
        loss: &BinaryLoss,
        [logits, labels, slopes, share]: [&Tensor; 4],
        batch: usize,
    ) -> Result<()> {
        let (device, samples) = (device_of(logits)?, logits.elem_count());
        let (logits, labels) = (address(logits)?, address(labels)?);
        let (slopes, share) = (address(slopes)?, address(share)?);
        let kernel = device.get_or_load_custom_func("loss_gradient", MODULE, PTX)?;
        let (samples, batch) = (number(samples)?, number(batch)?);
        let (kind, input, [threshold, negative, positive]) = loss.numbers();
        let mut launch = kernel.builder();
        launch.arg(&logits).arg(&labels).arg(&slopes).arg(&share);
        launch.arg(&samples).arg(&batch).arg(&kind).arg(&input);
        launch.arg(&threshold).arg(&negative).arg(&positive);
        // SAFETY: the arguments are those of the kernel, in its order and types; all three have
        // `samples` values.
        unsafe { launch.launch(grid(1, LOSS_THREADS, 0)?) }.w()?;
        Ok(())
    }

    /// A kernel that takes addresses of as many values as there are weights, their number, and
    /// factors.
    pub(super) fn dense(
        name: &str,
        weights: &Tensor,
        addresses: &[u64],
        factors: &[f32],
    ) -> Result<()> {
        let count = weights.elem_count();
        if count == 0 {
            bail!("a parameter without values");
        }
        let device = device_of(weights)?;
        let kernel = device.get_or_load_custom_func(name, MODULE, PTX)?;
        let (config, count) = (grid(count.div_ceil(THREADS), THREADS, 0)?, count as u64);
        let mut launch = kernel.builder();
        for address in addresses {
            launch.arg(address);
        }
        launch.arg(&count);
        for factor in factors {
            launch.arg(factor);
        }
        // SAFETY: the arguments are those of the kernel of this name; the optimizer has compared
        // the sizes.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }
}
