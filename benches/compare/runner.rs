//! Measuring one row: its sides take turns.

use anyhow::{Context, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;

use crate::cases::Case;
use crate::pytorch::{Interpreter, PyTorch};
use crate::report::{MeasuredRival, MeasuredRow};

/// How a row is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    /// Turns of every side.
    pub(crate) rounds: usize,
    /// Seconds of a turn, about.
    pub(crate) seconds: f64,
}

/// What a side runs.
pub(crate) enum Source {
    /// A case of ours, made when the row's turn comes, on so many threads.
    Own(usize, Box<dyn Fn() -> Result<Box<dyn Case>>>),
    /// A request for the PyTorch side.
    PyTorch(Value),
}

/// What a row's rate is held against.
pub(crate) struct Rival {
    /// As the table names it.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// The ratio of rates to reach, where there is one.
    pub(crate) reach: Option<f64>,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What a rate counts.
    pub(crate) unit: &'static str,
    pub(crate) own: Source,
    pub(crate) rivals: Vec<Rival>,
    /// Units in a second to reach, where there is such a number.
    pub(crate) reach: Option<f64>,
    /// Most turns; rows of long turns have few.
    pub(crate) most_rounds: usize,
    /// What bounds it and what was tried, for a row that falls short.
    pub(crate) bound: &'static str,
}

/// Who runs the sides.
pub(crate) struct Peers {
    /// A pool for every number of threads that was asked for.
    pools: Vec<(usize, ThreadPool)>,
    /// How PyTorch is started, where it takes part.
    pytorch: Option<Interpreter>,
}

impl Peers {
    pub(crate) fn new(threads: usize, pytorch: Option<Interpreter>) -> Result<Self> {
        // What does not say on which pool it runs shall have as many threads.
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()?;
        Ok(Self {
            pools: Vec::new(),
            pytorch,
        })
    }

    fn pool(&mut self, threads: usize) -> Result<&ThreadPool> {
        let at = match self.pools.iter().position(|(of, _)| *of == threads) {
            Some(at) => at,
            None => {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
                self.pools.push((threads, pool));
                self.pools.len() - 1
            }
        };
        Ok(&self.pools[at].1)
    }
}

/// A side that is ready to run.
enum Side {
    Own(usize, Box<dyn Case>),
    PyTorch(PyTorch),
}

struct Candidate {
    side: Side,
    /// Units of one repetition.
    units: f64,
    repetitions: usize,
    rates: Vec<f64>,
}

impl Candidate {
    /// `None` for a side of PyTorch's, where there is none.
    fn prepare(source: &Source, peers: &mut Peers) -> Result<Option<Self>> {
        let (side, units) = match source {
            Source::Own(threads, make) => {
                let case = make()?;
                let units = case.units();
                (Side::Own(*threads, case), units)
            }
            Source::PyTorch(request) => {
                let Some(interpreter) = &peers.pytorch else {
                    return Ok(None);
                };
                let mut pytorch = interpreter.start()?;
                let units = pytorch.prepare(request)?;
                (Side::PyTorch(pytorch), units)
            }
        };
        Ok(Some(Self {
            side,
            units,
            repetitions: 1,
            rates: Vec::new(),
        }))
    }

    /// Seconds of a turn.
    fn turn(&mut self, peers: &mut Peers) -> Result<f64> {
        let repetitions = self.repetitions;
        match &mut self.side {
            Side::Own(threads, case) => peers.pool(*threads)?.install(|| case.run(repetitions)),
            Side::PyTorch(pytorch) => pytorch.run(repetitions),
        }
    }

    /// Finds how many repetitions make a turn, which warms up, too.
    fn calibrate(&mut self, peers: &mut Peers, seconds: f64) -> Result<()> {
        loop {
            let taken = self.turn(peers)?;
            if taken >= 0.5 * seconds || self.repetitions >= 1 << 24 {
                let scaled = self.repetitions as f64 * seconds / taken.max(1e-9);
                self.repetitions = (scaled.round() as usize).max(1);
                return Ok(());
            }
            self.repetitions *= 2;
        }
    }

    fn note(&mut self, seconds: f64) {
        self.rates
            .push(self.units * self.repetitions as f64 / seconds);
    }
}

impl Row {
    /// Lets the sides take turns.
    pub(crate) fn measure(&self, peers: &mut Peers, measure: Measure) -> Result<MeasuredRow> {
        let rounds = measure.rounds.min(self.most_rounds);
        let mut own = Candidate::prepare(&self.own, peers)?.context("a row of PyTorch's own")?;
        let mut rivals = Vec::new();
        for rival in &self.rivals {
            if let Some(candidate) = Candidate::prepare(&rival.source, peers)? {
                rivals.push((rival, candidate));
            }
        }
        own.calibrate(peers, measure.seconds)?;
        for (_, candidate) in &mut rivals {
            candidate.calibrate(peers, measure.seconds)?;
        }
        if let Side::Own(_, case) = &mut own.side {
            case.forget_times();
        }
        for _ in 0..rounds {
            let seconds = own.turn(peers)?;
            own.note(seconds);
            for (_, candidate) in &mut rivals {
                let seconds = candidate.turn(peers)?;
                candidate.note(seconds);
            }
        }
        let phases = match &own.side {
            Side::Own(_, case) => case.phases(),
            Side::PyTorch(_) => Vec::new(),
        };
        let rate = median(own.rates.clone());
        let against = rivals.into_iter().map(|(rival, candidate)| {
            let ratios = own.rates.iter().zip(&candidate.rates);
            MeasuredRival {
                name: rival.name.to_owned(),
                rate: median(candidate.rates.clone()),
                ratio: median(ratios.map(|(own, other)| own / other).collect()),
                reach: rival.reach,
            }
        });
        Ok(MeasuredRow {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            unit: self.unit.to_owned(),
            rate,
            reach: self.reach,
            rivals: against.collect(),
            phases,
        })
    }
}

/// The middle value; of an even number the upper one of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
