//! The options of placement, hot rows and schedule.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use embedding_store::{RowFormat, Side};
use fae_profiler::Strategy;
use fae_run::card::{CardHot, CardPlacement, CardSchedule};
use fae_run::{Budget, Card, ScheduleName};
use trainer::Placement;

/// Where rows live, which are hot, and in which order hot and cold inputs come.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlacementArguments {
    /// Where rows live and where the model runs.
    #[arg(long, value_enum, help_heading = "Placement")]
    pub placement: Option<PlacementName>,
    /// The device: cpu (standing in for an accelerator), or cuda, cuda:0, cuda:0,1 … in a build
    /// with CUDA.
    #[arg(long, value_name = "DEVICE", help_heading = "Placement")]
    pub device: Option<String>,
    /// With --device cpu: this many replicas of model and hot rows, as on several devices [default:
    /// 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Placement")]
    pub replicas: Option<u16>,
    /// Let an NVIDIA device round the factors of matrix products to ten bits (TF32): faster, and
    /// not the CPU's numbers to the last bits.
    #[arg(long, help_heading = "Placement")]
    pub tf32: bool,
    /// Let NCCL add the gradients of several NVIDIA devices, in an order of its own, instead of
    /// every device in the order of the samples. Needs a build with the feature nccl.
    #[arg(long, help_heading = "Placement")]
    pub nccl: bool,
    /// Coming batches that `mixed` fetches cold rows for, and any placement with --mapped-rows has
    /// read from the disk, up to 4 [default: 1].
    #[arg(long, value_name = "BATCHES", help_heading = "Placement")]
    pub lookahead: Option<usize>,
    /// Keep the rows that live on the CPU in memory-mapped files in this folder, for tables larger
    /// than memory: with `mixed` those that are not hot, else all. Changes no result; the disk
    /// space is free again at the end, however the program ends.
    #[arg(long, value_name = "DIR", help_heading = "Placement")]
    pub mapped_rows: Option<PathBuf>,

    /// The hot set to use, made by `fae profile` for this data set [default: profile now].
    #[arg(
        long,
        value_name = "FILE.json",
        conflicts_with_all = ["budget", "strategy", "sample"],
        help_heading = "Hot rows"
    )]
    pub hot_set: Option<PathBuf>,
    /// Most bytes that hot rows and their optimizer state may take on a device (256MiB, 1GB, 0), or
    /// a share of all (10%) [default: 256MiB].
    #[arg(long, value_name = "SIZE", help_heading = "Hot rows")]
    pub budget: Option<Budget>,
    /// How hot rows are kept on the device, f32 or bf16. bf16 takes half the bytes: a budget in
    /// bytes holds about twice the rows. What is written to them is rounded at random, repeatably;
    /// rows on the CPU, optimizer state and arithmetic stay f32. For `fae` and `mixed` [default:
    /// f32].
    #[arg(long, value_name = "FORMAT", help_heading = "Hot rows")]
    pub device_rows: Option<RowFormat>,
    /// How hot rows are chosen [default: inputs].
    #[arg(long, value_enum, help_heading = "Hot rows")]
    pub strategy: Option<StrategyName>,
    /// Share of the training inputs that is counted, more than 0 and at most 1 [default: 1; a fifth
    /// of sequences where there are many].
    #[arg(long, value_name = "RATE", help_heading = "Hot rows")]
    pub sample: Option<f64>,

    /// In which order hot and cold inputs come [default: shuffle for `fae`, else original].
    #[arg(long, value_enum, help_heading = "Schedule")]
    pub schedule: Option<Schedule>,
    /// Share of a side's batches that run before the sides change, in percent: the rate that
    /// `shuffle` starts with, and that `interleave` keeps [default: 50].
    #[arg(long, value_name = "PERCENT", help_heading = "Schedule")]
    pub rate: Option<f64>,
    /// Factor on the rate after --patience falls of the loss in a row [default: 2].
    #[arg(long, value_name = "FACTOR", help_heading = "Schedule")]
    pub rate_increase: Option<f64>,
    /// Factor on the rate after a rise of the loss [default: 0.5].
    #[arg(long, value_name = "FACTOR", help_heading = "Schedule")]
    pub rate_decrease: Option<f64>,
    /// Falls of the loss in a row before the rate is raised [default: 4].
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub patience: Option<u32>,
    /// Lowest rate [default: 1].
    #[arg(long, value_name = "PERCENT", help_heading = "Schedule")]
    pub rate_floor: Option<f64>,
    /// Highest rate [default: 100].
    #[arg(long, value_name = "PERCENT", help_heading = "Schedule")]
    pub rate_ceiling: Option<f64>,
    /// Side that runs first in `shuffle` and `interleave` [default: cold; hot for sequences, as the
    /// published programs].
    #[arg(long, value_enum, help_heading = "Schedule")]
    pub first: Option<SideName>,
    /// Validation samples that the loss is taken on when the sides change [default: 16384].
    #[arg(long, value_name = "SAMPLES", help_heading = "Schedule")]
    pub swap_samples: Option<u64>,
}

/// Placements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlacementName {
    /// Rows and model on the CPU.
    Cpu,
    /// Rows on the CPU, model on the device.
    CpuDevice,
    /// All rows on the CPU, hot ones on the device too; hot inputs run wholly on the device.
    Fae,
    /// Hot rows on the device, the others on the CPU; every batch is split by lookup.
    Mixed,
}

/// Strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyName {
    /// By wholly hot inputs.
    Inputs,
    /// By access count.
    Frequency,
    /// By share of the table's own accesses.
    Share,
}

/// Schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schedule {
    /// The paper's: the rate follows the loss at every change of side.
    Shuffle,
    /// A fixed rate.
    Interleave,
    /// All cold batches, then all hot ones: the published code's order for DLRM.
    ColdHot,
    /// All hot batches, then all cold ones: the published code's order for TBSM.
    HotCold,
    /// Inputs are not split: the order of the baselines.
    Original,
}

/// Sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SideName {
    /// Wholly hot inputs.
    Hot,
    /// The others.
    Cold,
}

impl From<PlacementName> for Placement {
    fn from(name: PlacementName) -> Self {
        match name {
            PlacementName::Cpu => Self::Cpu,
            PlacementName::CpuDevice => Self::CpuDevice,
            PlacementName::Fae => Self::Fae,
            PlacementName::Mixed => Self::Mixed,
        }
    }
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::Inputs => Self::Inputs,
            StrategyName::Frequency => Self::Frequency,
            StrategyName::Share => Self::SHARE,
        }
    }
}

impl From<Schedule> for ScheduleName {
    fn from(name: Schedule) -> Self {
        match name {
            Schedule::Shuffle => Self::Shuffle,
            Schedule::Interleave => Self::Interleave,
            Schedule::ColdHot => Self::ColdHot,
            Schedule::HotCold => Self::HotCold,
            Schedule::Original => Self::Original,
        }
    }
}

impl From<SideName> for Side {
    fn from(name: SideName) -> Self {
        match name {
            SideName::Hot => Self::Hot,
            SideName::Cold => Self::Cold,
        }
    }
}

impl PlacementArguments {
    /// The options as a card.
    pub(crate) fn card(&self) -> Card {
        Card {
            placement: CardPlacement {
                placement: self.placement.map(Into::into),
                device: self.device.clone(),
                replicas: self.replicas,
                tf32: self.tf32.then_some(true),
                nccl: self.nccl.then_some(true),
                lookahead: self.lookahead,
                mapped_rows: self.mapped_rows.clone(),
            },
            hot: CardHot {
                hot_set: self.hot_set.clone(),
                budget: self.budget,
                strategy: self.strategy.map(Into::into),
                sample: self.sample,
                device_rows: self.device_rows,
            },
            schedule: CardSchedule {
                schedule: self.schedule.map(Into::into),
                rate: self.rate,
                rate_increase: self.rate_increase,
                rate_decrease: self.rate_decrease,
                patience: self.patience,
                rate_floor: self.rate_floor,
                rate_ceiling: self.rate_ceiling,
                first: self.first.map(Into::into),
                swap_samples: self.swap_samples,
            },
            ..Card::default()
        }
    }
}
