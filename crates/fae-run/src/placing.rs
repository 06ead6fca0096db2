//! Where rows live, and in which order hot and cold inputs come.

use candle_core::Device;
use embedding_store::{Backing, PREFETCHED_BATCHES, RowFormat, Side};
use recsys_data::Schema;
use recsys_device::allow_tf32;
use serde::Serialize;
use trainer::{Interleave, Placement, Schedule, ShuffleOptions, ShuffleScheduler};

use crate::card::{Card, CardHot, CardSchedule, ModelKind, ScheduleName};
use crate::devices::devices;
use crate::error::{Result, refuse, require};

/// Everything about placement and schedule, decided.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Placing {
    /// Where rows live.
    pub placement: Placement,
    /// Devices of the model's replicas.
    #[serde(skip)]
    pub devices: Vec<Device>,
    /// Number of replicas.
    pub replicas: usize,
    /// Whether NCCL adds their gradients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nccl: bool,
    /// Where rows on the CPU are kept.
    #[serde(skip)]
    pub backing: Backing,
    /// How rows on a device are kept.
    pub device_rows: RowFormat,
    /// In which order hot and cold inputs come.
    pub schedule: ScheduleName,
    /// How the schedule's rate moves.
    pub shuffle: ShuffleOptions,
    /// Coming batches that the store sees.
    pub lookahead: Option<usize>,
    /// Samples of the loss at a change of side.
    pub swap_samples: Option<u64>,
}

impl Placing {
    /// Decides what a card leaves open: placement [`Cpu`](Placement::Cpu), and FAE's schedule for
    /// FAE's placement.
    ///
    /// # Errors
    /// A device that this build or machine does not have, or settings that do not go together.
    pub fn new(card: &Card, schema: &Schema) -> Result<Self> {
        let options = &card.placement;
        let placement = options.placement.unwrap_or_default();
        let device = options.device.as_deref().unwrap_or("cpu");
        if placement == Placement::Cpu {
            require!(
                device == "cpu",
                "`device` is {device}, and placement cpu uses no device; set `placement` to \
                 cpu-device, fae or mixed, or leave the device out"
            );
            require!(
                options.replicas.is_none(),
                "`replicas` stands for several devices, and placement cpu uses no device; set \
                 `placement` to cpu-device, fae or mixed, or leave it out"
            );
        }
        allow_tf32(options.tf32.unwrap_or(false));
        let devices = devices(device, options.replicas)?;
        let device_rows = card.hot.device_rows.unwrap_or_default();
        require!(
            device_rows == RowFormat::F32 || placement.needs_hot_rows(),
            "`device_rows` {device_rows} is about hot rows on a device, and placement {placement} \
             has none; set `placement` to fae or mixed, or leave it out"
        );
        let default = match placement {
            Placement::Fae => ScheduleName::Shuffle,
            _ => ScheduleName::Original,
        };
        let schedule = card.schedule.schedule.unwrap_or(default);
        card.schedule.check(schedule)?;
        let shuffle = card.schedule.shuffle(ModelKind::default_for(schema));
        shuffle.validate()?;
        let lookahead = options.lookahead;
        require!(
            lookahead.is_none_or(|batches| batches <= PREFETCHED_BATCHES),
            "`lookahead` is {}; the store keeps the rows of {PREFETCHED_BATCHES} coming batches: \
             give at most that",
            lookahead.unwrap_or_default()
        );
        let placing = Self {
            placement,
            replicas: devices.len(),
            nccl: options.nccl.unwrap_or(false),
            devices,
            backing: match &options.mapped_rows {
                Some(folder) => Backing::Scratch(folder.clone()),
                None => Backing::Memory,
            },
            device_rows,
            schedule,
            shuffle,
            lookahead,
            swap_samples: card.schedule.swap_samples,
        };
        if !placing.needs_hot() {
            let hot = &card.hot;
            let choices = [
                ("hot_set", hot.hot_set.is_some()),
                ("budget", hot.budget.is_some()),
                ("strategy", hot.strategy.is_some()),
                ("sample", hot.sample.is_some()),
            ];
            if let Some((name, _)) = choices.into_iter().find(|(_, given)| *given) {
                refuse!(
                    "`{name}` is about hot rows, and placement {placement} in the original order \
                     has none; set `placement` to fae or mixed, or leave it out"
                );
            }
        }
        Ok(placing)
    }

    /// Whether a hot set is needed.
    pub fn needs_hot(&self) -> bool {
        self.placement.needs_hot_rows() || self.schedule != ScheduleName::Original
    }

    /// The schedule of hot and cold inputs; none where inputs are not split.
    ///
    /// # Errors
    /// Rates out of range.
    pub fn schedule(&self) -> Result<Option<Box<dyn Schedule>>> {
        let ShuffleOptions {
            initial_rate,
            first,
            ..
        } = self.shuffle;
        Ok(Some(match self.schedule {
            ScheduleName::Original => return Ok(None),
            ScheduleName::Shuffle => Box::new(ShuffleScheduler::try_new(self.shuffle)?),
            ScheduleName::Interleave => Box::new(Interleave::try_new(initial_rate, first)?),
            ScheduleName::ColdHot => Box::new(Interleave::one_after_the_other(Side::Cold)),
            ScheduleName::HotCold => Box::new(Interleave::one_after_the_other(Side::Hot)),
        }))
    }
}

impl Card {
    /// This card for one of several placements that are compared, without the settings that it has no
    /// use for.
    #[must_use]
    pub fn on(&self, placement: Placement) -> Self {
        let mut card = self.clone();
        card.placement.placement = Some(placement);
        if placement != Placement::Fae {
            card.schedule = CardSchedule::default();
        }
        if !placement.needs_hot_rows() {
            card.hot = CardHot::default();
        }
        if placement == Placement::Cpu {
            card.placement.device = None;
            card.placement.replicas = None;
        }
        card
    }
}

impl CardSchedule {
    /// Refuses settings that a schedule does not have.
    fn check(&self, schedule: ScheduleName) -> Result<()> {
        let both = "shuffle or interleave";
        let settings = [
            ("rate", self.rate.is_some(), both),
            ("first", self.first.is_some(), both),
            ("rate_increase", self.rate_increase.is_some(), "shuffle"),
            ("rate_decrease", self.rate_decrease.is_some(), "shuffle"),
            ("patience", self.patience.is_some(), "shuffle"),
            ("rate_floor", self.rate_floor.is_some(), "shuffle"),
            ("rate_ceiling", self.rate_ceiling.is_some(), "shuffle"),
            ("swap_samples", self.swap_samples.is_some(), "shuffle"),
        ];
        for (name, given, of) in settings {
            let has = match schedule {
                ScheduleName::Shuffle => true,
                ScheduleName::Interleave => of == both,
                _ => false,
            };
            require!(
                has || !given,
                "`{name}` belongs to the schedule {of}; set `schedule` to it, or leave `{name}` out"
            );
        }
        Ok(())
    }

    /// How the rate moves.
    fn shuffle(&self, model: ModelKind) -> ShuffleOptions {
        let defaults = match model {
            ModelKind::Dlrm => ShuffleOptions::default(),
            // As the published code for TBSM.
            ModelKind::Tbsm => ShuffleOptions {
                first: Side::Hot,
                ..ShuffleOptions::default()
            },
        };
        ShuffleOptions {
            initial_rate: self.rate.unwrap_or(defaults.initial_rate),
            increase: self.rate_increase.unwrap_or(defaults.increase),
            decrease: self.rate_decrease.unwrap_or(defaults.decrease),
            patience: self.patience.unwrap_or(defaults.patience),
            floor: self.rate_floor.unwrap_or(defaults.floor),
            ceiling: self.rate_ceiling.unwrap_or(defaults.ceiling),
            first: self.first.unwrap_or(defaults.first),
        }
    }
}
