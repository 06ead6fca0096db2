//! What crosses between the host and the device.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a store has moved between the host and its device since it was made.
///
/// Counted by what has to cross, so the figures are the same where `Device::Cpu` stands in for the
/// device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes of rows and ids to the device, syncs apart.
    pub host_to_device: u64,
    /// Bytes of gradients from the device, syncs apart.
    pub device_to_host: u64,
    /// Bytes of rows and optimizer state that syncs took to the device.
    pub sync_to_device: u64,
    /// Bytes of rows and optimizer state that syncs took from the device.
    pub sync_to_host: u64,
    /// Changes of side that had to make the copies equal.
    pub syncs: u64,
    /// Seconds that they took.
    pub sync_seconds: f64,
}

impl Traffic {
    /// What was moved after `earlier`, an earlier state of the same store's counters.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            host_to_device: self.host_to_device.saturating_sub(earlier.host_to_device),
            device_to_host: self.device_to_host.saturating_sub(earlier.device_to_host),
            sync_to_device: self.sync_to_device.saturating_sub(earlier.sync_to_device),
            sync_to_host: self.sync_to_host.saturating_sub(earlier.sync_to_host),
            syncs: self.syncs.saturating_sub(earlier.syncs),
            sync_seconds: (self.sync_seconds - earlier.sync_seconds).max(0.0),
        }
    }
}

/// The counters behind a [`Traffic`]; lookups count through a shared reference.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    host_to_device: AtomicU64,
    device_to_host: AtomicU64,
    sync_to_device: u64,
    sync_to_host: u64,
    syncs: u64,
    sync_time: Duration,
}

impl Counters {
    pub(crate) fn to_device(&self, bytes: usize) {
        self.host_to_device
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn to_host(&self, bytes: usize) {
        self.device_to_host
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn synced(&mut self, to_device: u64, to_host: u64, time: Duration) {
        self.sync_to_device += to_device;
        self.sync_to_host += to_host;
        self.syncs += 1;
        self.sync_time += time;
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            host_to_device: self.host_to_device.load(Ordering::Relaxed),
            device_to_host: self.device_to_host.load(Ordering::Relaxed),
            sync_to_device: self.sync_to_device,
            sync_to_host: self.sync_to_host,
            syncs: self.syncs,
            sync_seconds: self.sync_time.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_after_is_the_difference() {
        let mut counters = Counters::default();
        counters.to_device(100);
        let earlier = counters.read();
        counters.to_device(20);
        counters.to_host(3);
        counters.synced(7, 5, Duration::from_millis(500));
        let expected = Traffic {
            host_to_device: 20,
            device_to_host: 3,
            sync_to_device: 7,
            sync_to_host: 5,
            syncs: 1,
            sync_seconds: 0.5,
        };
        assert_eq!(counters.read().since(&earlier), expected);
        assert_eq!(earlier.since(&earlier), Traffic::default());
    }
}
