//! Where rows live and where the model runs.

use std::fmt;

use candle_core::Device;
use embedding_store::{
    Backing, CpuStore, DeviceStore, EmbeddingStore, Held, HotCold, HotReplicas, OnDevice,
    RowFormat, StoreOptions, TableSpec,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where rows live and where the model runs. All placements give the same numbers for the same
/// order of inputs, as long as rows on devices are [f32](RowFormat::F32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Placement {
    /// Rows and model on the CPU.
    #[default]
    Cpu,
    /// Rows on the CPU, the model on the device: every batch's rows and their gradients cross. The
    /// baseline of the FAE paper.
    CpuDevice,
    /// All rows on the CPU, and hot ones replicated on every device: batches of wholly hot inputs
    /// run on the devices. The others run as in [`Placement::Mixed`] without hot rows, or, where
    /// the device does not move rows (the CPU, tables that are not plain), as in
    /// [`Placement::CpuDevice`].
    Fae,
    /// Hot rows on the device, the others on the CPU: every batch is split by lookup, and the cold
    /// rows of coming batches are fetched ahead. With several devices, rows live on the first.
    Mixed,
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::CpuDevice, Self::Fae, Self::Mixed];

    /// Its name, as in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CpuDevice => "cpu-device",
            Self::Fae => "fae",
            Self::Mixed => "mixed",
        }
    }

    /// Whether it divides rows into hot and cold ones.
    pub fn needs_hot_rows(self) -> bool {
        matches!(self, Self::Fae | Self::Mixed)
    }

    /// Makes the store. `devices` are those of the model's replicas, of which the first computes
    /// the pooled rows; `hot_rows` has a number for each table and is looked at only where rows are
    /// divided.
    ///
    /// # Errors
    /// Impossible tables or options, hot rows missing or not fitting the tables, no device, or a
    /// device that fails.
    pub fn store(
        self,
        tables: Vec<TableSpec>,
        options: StoreOptions,
        devices: &[Device],
        hot_rows: Option<&[u64]>,
    ) -> Result<Box<dyn EmbeddingStore>> {
        self.store_in(&Backing::Memory, tables, options, devices, hot_rows)
    }

    /// [`store`](Self::store), with the rows on the CPU, those of [`Placement::Mixed`] that are not
    /// hot, in memory or in files.
    ///
    /// # Errors
    /// As [`store`](Self::store), and a folder that cannot be used or whose disk has too little
    /// space.
    pub fn store_in(
        self,
        backing: &Backing,
        tables: Vec<TableSpec>,
        options: StoreOptions,
        devices: &[Device],
        hot_rows: Option<&[u64]>,
    ) -> Result<Box<dyn EmbeddingStore>> {
        let Some(first) = devices.first() else {
            return Err(Error::Option {
                option: "devices",
                value: "none".into(),
                remedy: "give at least one, Device::Cpu for the CPU",
            });
        };
        let hot_rows = || {
            hot_rows.ok_or_else(|| Error::Option {
                option: "hot rows",
                value: "none".into(),
                remedy: "give a number for each table: this placement divides rows into hot and \
                         cold ones",
            })
        };
        // Where the CPU stands in for a device, the store of the CPU does what that of a device
        // would; its rows are f32.
        let plain = options.device_rows == RowFormat::F32;
        let on_host = plain && devices.iter().all(Device::is_cpu);
        // Beside rows on devices, those in host memory are f32, whatever the format of the others.
        let host_options = match self.needs_hot_rows() {
            true => options.in_host_memory(),
            false => options.clone(),
        };
        let rows = |held: Held<'_>, backing| {
            CpuStore::with_backing(tables.clone(), host_options.clone(), held, backing)
        };
        let device_rows =
            |hot: &[u64], device| DeviceStore::hot(tables.clone(), options.clone(), hot, device);
        Ok(match self {
            Self::Cpu => Box::new(rows(Held::All, backing)?),
            Self::CpuDevice => Box::new(OnDevice::new(rows(Held::All, backing)?, first.clone())),
            Self::Fae if on_host => {
                let hot = hot_rows()?;
                let replica = |_: &Device| rows(Held::Hot(hot), &Backing::Memory);
                let replicas = devices
                    .iter()
                    .map(replica)
                    .collect::<embedding_store::Result<_>>()?;
                Box::new(HotReplicas::new(rows(Held::All, backing)?, replicas)?)
            }
            Self::Fae => {
                let hot = hot_rows()?;
                let replica = |device| device_rows(hot, device);
                let replicas = devices
                    .iter()
                    .map(replica)
                    .collect::<embedding_store::Result<_>>()?;
                Box::new(HotReplicas::new(rows(Held::All, backing)?, replicas)?)
            }
            Self::Mixed => {
                let hot = hot_rows()?;
                let cold = rows(Held::Cold(hot), backing)?;
                match plain && first.is_cpu() {
                    true => Box::new(HotCold::new(rows(Held::Hot(hot), &Backing::Memory)?, cold)?),
                    false => Box::new(HotCold::new(device_rows(hot, first)?, cold)?),
                }
            }
        })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
