//! One model on several devices.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{Device, Tensor, Var};
use recsys_device::{Mirror, connect_devices, copy_between, read_slice};
use recsys_model::{ApplyGradient, Gradient, InputShape, LossGradient, Model, distinct_names};

#[cfg(feature = "cuda")]
use crate::reduction::Reduction;
use crate::{Error, Result};

/// Copies of a model, each on its device, that train on their shares of every batch.
///
/// A batch is divided into contiguous shares of whole pieces ([`Model::piece`]) in the order of the
/// replicas; where there are more replicas than pieces, some have none. Parameter gradients are
/// added in the order of the samples, and every replica takes the same sum, so that all stay equal
/// bit for bit. With pieces of a fixed size (`SliceSize::Fixed`, up to 16 in a batch), the
/// numbers are also those of one replica. Gradients meet in host memory, or, on NVIDIA devices, on
/// every device, which copy them from one another.
pub struct Replicas<M> {
    models: Vec<M>,
    devices: Vec<Device>,
    /// For every parameter of each replica, its place among those of the first: models may list
    /// theirs in different orders.
    places: Vec<Vec<usize>>,
    /// Sum of every parameter's gradient.
    sums: Vec<Vec<f32>>,
    /// What each replica works on, where that is on another device than the batch.
    shares: Vec<Share>,
    #[cfg(feature = "cuda")]
    reduction: Reduction,
}

#[derive(Default)]
struct Share {
    dense: Mirror,
    rows: Mirror,
    grad: Mirror,
}

/// What one replica works on in a step.
struct Work {
    replica: usize,
    samples: Range<usize>,
    dense: Tensor,
    rows: Tensor,
    /// Where the replica writes the gradient of its rows, and where that belongs: the same memory,
    /// or two devices'.
    rows_grad: Tensor,
    share_of_grad: Tensor,
}

impl<M: Model> Replicas<M> {
    /// Puts replicas together; the first one's parameters are copied to the others.
    ///
    /// # Errors
    /// No model, models of different weights, or two parameters of one name.
    pub fn new(models: Vec<(M, Device)>) -> Result<Self> {
        let (mut models, devices): (Vec<M>, Vec<Device>) = models.into_iter().unzip();
        let Some((first, others)) = models.split_first_mut() else {
            return Err(Error::Option {
                option: "replicas",
                value: "0".into(),
                remedy: "give at least 1",
            });
        };
        if !others.is_empty() {
            let weights: HashMap<String, Tensor> = first.named_weights()?.into_iter().collect();
            for other in others {
                other.load_weights(&weights)?;
            }
        }
        connect_devices(&devices);
        Ok(Self {
            places: places(&models)?,
            shares: models.iter().map(|_| Share::default()).collect(),
            models,
            devices,
            sums: Vec::new(),
            #[cfg(feature = "cuda")]
            reduction: Reduction::default(),
        })
    }

    /// Lets NCCL add the gradients of replicas on NVIDIA devices, in an order of its own: the sums
    /// need not have the same bits on another machine, or with another version of it.
    ///
    /// # Errors
    /// A build without the feature `nccl`, replicas that are not all on NVIDIA devices, or no NCCL
    /// on this machine.
    pub fn with_nccl(self) -> Result<Self> {
        let unusable = |value: &str, remedy| Error::Option {
            option: "nccl",
            value: value.into(),
            remedy,
        };
        if !self.devices.iter().all(Device::is_cuda) {
            return Err(unusable(
                "replicas elsewhere",
                "it adds between NVIDIA devices: name several, as cuda:0,1",
            ));
        }
        #[cfg(feature = "nccl")]
        {
            let mut replicas = self;
            replicas.reduction.use_nccl(&replicas.devices)?;
            Ok(replicas)
        }
        #[cfg(not(feature = "nccl"))]
        Err(unusable(
            "a build without it",
            "build with the feature `nccl`",
        ))
    }

    /// The replicas.
    pub fn models(&self) -> &[M] {
        &self.models
    }

    /// The parameters of a replica, in the order of the first replica's.
    fn in_order(&self, replica: usize) -> Vec<(String, Var)> {
        let named = self.models[replica].named_parameters();
        let mut placed: Vec<_> = self.places[replica].iter().copied().zip(named).collect();
        placed.sort_by_key(|&(place, _)| place);
        placed.into_iter().map(|(_, named)| named).collect()
    }

    /// Samples of replica `replica` in a batch of `batch`.
    fn share(&self, replica: usize, batch: usize) -> Range<usize> {
        let (replicas, piece) = (self.models.len(), self.models[0].piece(batch).max(1));
        let pieces = batch.div_ceil(piece);
        let start = |replica: usize| (replica * pieces / replicas * piece).min(batch);
        start(replica)..start(replica + 1)
    }
}

/// Where each model's parameters are among those of the first.
fn places<M: Model>(models: &[M]) -> Result<Vec<Vec<usize>>> {
    let names = |model: &M| -> Vec<String> {
        let named = model.named_parameters().into_iter();
        named.map(|(name, _)| name).collect()
    };
    let first = models.first().map(names).unwrap_or_default();
    // Replicas of replicas repeat their names, in the same order.
    let distinct = first.len() / models.first().map_or(1, Model::copies).max(1);
    distinct_names(first[..distinct].iter().map(String::as_str))?;
    let place: HashMap<&str, usize> = first[..distinct]
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), at))
        .collect();
    let of_model = |model: &M| -> Result<Vec<usize>> {
        let found = names(model);
        let unknown: Vec<String> = found
            .iter()
            .filter(|name| !place.contains_key(name.as_str()))
            .cloned()
            .collect();
        if found.len() != first.len() || !unknown.is_empty() {
            let missing = first.iter().filter(|name| !found.contains(name));
            let missing = missing.cloned().collect();
            return Err(recsys_model::Error::ParameterNames { missing, unknown }.into());
        }
        let place_of =
            |(at, name): (usize, &String)| at / distinct * distinct + place[name.as_str()];
        Ok(found.iter().enumerate().map(place_of).collect())
    };
    models.iter().map(of_model).collect()
}

/// Adds a gradient to a sum, or begins one with it.
fn accumulate(sum: &mut Vec<f32>, gradient: Gradient<'_>) -> recsys_model::Result<()> {
    let mut add = |values: &[f32]| {
        if sum.is_empty() {
            sum.extend_from_slice(values);
        } else {
            sum.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += value);
        }
    };
    match gradient {
        Gradient::Slices(slices) => slices.iter().for_each(|slice| add(slice)),
        Gradient::Tensor(tensor) => {
            read_slice(&tensor.to_device(&Device::Cpu)?.contiguous()?, add)?;
        }
    }
    Ok(())
}

impl<M: Model> Model for Replicas<M> {
    fn forward(&self, dense: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        self.models[0].forward(dense, rows)
    }

    fn infer(&self, dense: &Tensor, rows: &Tensor) -> recsys_model::Result<Tensor> {
        self.models[0].infer(dense, rows)
    }

    fn named_parameters(&self) -> Vec<(String, Var)> {
        let models = 0..self.models.len();
        models.flat_map(|replica| self.in_order(replica)).collect()
    }

    fn copies(&self) -> usize {
        self.models.len() * self.models[0].copies()
    }

    fn named_weights(&self) -> recsys_model::Result<Vec<(String, Tensor)>> {
        self.models[0].named_weights()
    }

    fn load_weights(&self, weights: &HashMap<String, Tensor>) -> recsys_model::Result<()> {
        self.models
            .iter()
            .try_for_each(|model| model.load_weights(weights))
    }

    fn input_shape(&self) -> Option<InputShape> {
        self.models[0].input_shape()
    }

    fn table_prefix(&self) -> &str {
        self.models[0].table_prefix()
    }

    fn step_memory(&self, batch: usize) -> Option<u64> {
        match &self.models[..] {
            [model] => model.step_memory(batch),
            // Gradients meet on the host.
            _ => None,
        }
    }

    fn forward_backward(
        &mut self,
        dense: &Tensor,
        rows: &Tensor,
        rows_grad: &Tensor,
        loss: &mut LossGradient<'_>,
        apply: &mut ApplyGradient<'_>,
    ) -> recsys_model::Result<()> {
        if let [model] = &mut self.models[..] {
            // Alone, it is in its own order.
            return model.forward_backward(dense, rows, rows_grad, loss, apply);
        }
        let batch = dense.dim(0)?;
        self.sums.iter_mut().for_each(Vec::clear);
        #[cfg(feature = "cuda")]
        self.reduction.begin();
        // All shares leave before the first device has work to do.
        let mut works = Vec::with_capacity(self.models.len());
        for replica in 0..self.models.len() {
            let (samples, device) = (self.share(replica, batch), &self.devices[replica]);
            if samples.is_empty() {
                continue;
            }
            let of = |tensor: &Tensor| tensor.narrow(0, samples.start, samples.len());
            let share = &mut self.shares[replica];
            let (rows, share_of_grad) = (share.rows.of(&of(rows)?, device)?, of(rows_grad)?);
            let rows_grad = match device.same_device(rows_grad.device()) {
                true => share_of_grad.clone(),
                false => share.grad.room(rows.dims(), device)?,
            };
            works.push(Work {
                replica,
                dense: share.dense.of(&of(dense)?, device)?,
                rows,
                rows_grad,
                share_of_grad,
                samples,
            });
        }
        let mut order: Vec<&Work> = works.iter().collect();
        if rows.device().is_cuda() {
            // The first device is asked last: what the others still need of it does not wait for
            // its share.
            order.reverse();
        }
        for work in order {
            let (sums, places) = (&mut self.sums, &self.places[work.replica]);
            #[cfg(feature = "cuda")]
            let reduction = &mut self.reduction;
            self.models[work.replica].forward_backward(
                &work.dense,
                &work.rows,
                &work.rows_grad,
                &mut |part, logits| {
                    let first = work.samples.start;
                    let part = first + part.start..first + part.end;
                    Ok(loss(part, logits)?.to_device(work.dense.device())?)
                },
                &mut |index, _, gradient| {
                    let index = places.get(index).copied().unwrap_or(index);
                    #[cfg(feature = "cuda")]
                    if let Gradient::Tensor(gradient) = &gradient
                        && gradient.device().is_cuda()
                    {
                        reduction.take(index, work.replica, gradient);
                        return Ok(());
                    }
                    if sums.len() <= index {
                        sums.resize_with(index + 1, Vec::new);
                    }
                    accumulate(&mut sums[index], gradient)
                },
            )?;
        }
        for work in &works {
            let (from, into) = (&work.rows_grad, &work.share_of_grad);
            if !from.device().same_device(into.device()) {
                copy_between(from, into)?;
            }
        }
        #[cfg(feature = "cuda")]
        self.reduction
            .meet(&self.devices)
            .map_err(recsys_model::Error::external)?;
        #[cfg(feature = "cuda")]
        for replica in 0..self.models.len() {
            let parameters = self.in_order(replica);
            for (index, (_, parameter)) in parameters.iter().enumerate() {
                let sum = self.reduction.sum(index, replica, parameter.device());
                if let Some(sum) = sum.map_err(recsys_model::Error::external)? {
                    let at = replica * parameters.len() + index;
                    apply(at, parameter, Gradient::Tensor(&sum))?;
                }
            }
        }
        for replica in 0..self.models.len() {
            let parameters = self.in_order(replica);
            for (index, ((_, parameter), sum)) in parameters.iter().zip(&self.sums).enumerate() {
                if sum.is_empty() {
                    continue;
                }
                let at = replica * parameters.len() + index;
                if parameter.device().is_cpu() {
                    apply(at, parameter, Gradient::Slices(&[sum]))?;
                } else {
                    let sum = Tensor::from_slice(sum, parameter.shape(), parameter.device())?;
                    apply(at, parameter, Gradient::Tensor(&sum))?;
                }
            }
        }
        Ok(())
    }
}
