//! What the emulated machine is like: variables of the environment.

use std::env;

/// Settings, each from a variable.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `PTX_EMULATOR_SEED`: decides the order in which streams, blocks and threads run.
    pub(crate) seed: u64,
    /// `PTX_EMULATOR_DEVICES`: how many there are.
    pub(crate) devices: usize,
    /// `PTX_EMULATOR_MEMORY`: bytes of each.
    pub(crate) memory: usize,
    /// `PTX_EMULATOR_LAUNCHES`: kernels that run before the devices are lost; 0 for all.
    pub(crate) launches: u64,
    /// `PTX_EMULATOR_RACES`: whether blocks of a launch are looked after that touch what another writes.
    pub(crate) races: bool,
    /// `PTX_EMULATOR_REPORT`: whether the process says at its end what it has asked for.
    pub(crate) report: bool,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str, default: u64| match env::var(name) {
            Ok(text) => text.trim().parse().unwrap_or_else(|_| {
                eprintln!("ptx-emulator: {name} is {text:?}, not a number; {default} is used");
                default
            }),
            Err(_) => default,
        };
        Self {
            seed: number("PTX_EMULATOR_SEED", 1),
            devices: number("PTX_EMULATOR_DEVICES", 1) as usize,
            memory: number("PTX_EMULATOR_MEMORY", 4 << 30) as usize,
            launches: number("PTX_EMULATOR_LAUNCHES", 0),
            races: number("PTX_EMULATOR_RACES", 0) != 0,
            report: number("PTX_EMULATOR_REPORT", 0) != 0,
        }
    }
}

/// Pseudo-random numbers (splitmix64): the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
