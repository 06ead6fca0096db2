//! Results: as JSON, as a table to read, and as a part of a document.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fae_cli::process::write_text;
use serde::{Deserialize, Serialize};

/// Marks of the part of a document that the table replaces.
const MARKS: [&str; 2] = ["<!-- compare -->", "<!-- /compare -->"];

/// What was measured, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The processor's name, as the system tells it.
    processor: String,
    /// The widest vector instructions that it has.
    vectors: String,
    threads: usize,
    /// Version of PyTorch, where it took part.
    torch: Option<String>,
    /// Seconds since 1970.
    measured_at: u64,
    pub(crate) rows: Vec<MeasuredRow>,
}

/// One row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MeasuredRow {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    /// Units in a second: the median of the turns.
    pub(crate) rate: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reach: Option<f64>,
    pub(crate) rivals: Vec<MeasuredRival>,
    /// Where our time went: shares of the whole.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) phases: Vec<(String, f64)>,
}

/// What the row is held against.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MeasuredRival {
    pub(crate) name: String,
    pub(crate) rate: f64,
    /// Our rate divided by this one's: the median of the turns' ratios.
    pub(crate) ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reach: Option<f64>,
}

impl MeasuredRow {
    fn reached(&self) -> bool {
        let rates = self.reach.is_none_or(|reach| self.rate >= reach);
        let reached = |rival: &MeasuredRival| rival.reach.is_none_or(|reach| rival.ratio >= reach);
        rates && self.rivals.iter().all(reached)
    }

    /// The row in one line of text.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{} {}", rate(self.rate), self.unit);
        if let Some(reach) = self.reach {
            let _ = write!(line, " (to reach: {})", rate(reach));
        }
        for rival in &self.rivals {
            let _ = write!(
                line,
                "; {} × {} ({})",
                ratio(rival.ratio),
                rival.name,
                rate(rival.rate)
            );
            if let Some(reach) = rival.reach {
                let _ = write!(line, ", to reach: {}", ratio(reach));
            }
        }
        line + if self.reached() { "" } else { " - SHORT" }
    }

    fn phases(&self) -> String {
        let shares = self.phases.iter();
        let shares = shares.map(|(name, share)| format!("{name} {:.0}%", 100.0 * share));
        shares.collect::<Vec<_>>().join(", ")
    }
}

impl Report {
    pub(crate) fn new(threads: usize, torch: Option<String>) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            processor: processor(),
            vectors: vectors().to_owned(),
            threads,
            torch,
            measured_at: now.map_or(0, |now| now.as_secs()),
            rows: Vec::new(),
        }
    }

    /// Takes the rows of an earlier report, which must be of the same machine, threads and PyTorch:
    /// they are shown under one heading.
    pub(crate) fn continue_from(&mut self, earlier: Self) -> Result<()> {
        self.torch = self.torch.take().or_else(|| earlier.torch.clone());
        ensure!(
            earlier.machine() == self.machine(),
            "it is of {}, this run of {}",
            earlier.machine(),
            self.machine()
        );
        self.rows = earlier.rows;
        Ok(())
    }

    /// Puts a row in the place of the one of the same name.
    pub(crate) fn put(&mut self, row: MeasuredRow) {
        match self.rows.iter_mut().find(|old| old.name == row.name) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
    }

    /// Into the order of these names; rows of no such name go.
    pub(crate) fn sort(&mut self, names: &[&str]) {
        let place = |row: &MeasuredRow| names.iter().position(|name| *name == row.name);
        self.rows.retain(|row| place(row).is_some());
        self.rows.sort_by_key(place);
    }

    /// The ratio of a row to one of its rivals.
    pub(crate) fn ratio(&self, row: &str, rival: &str) -> Option<f64> {
        let row = self.rows.iter().find(|of| of.name == row)?;
        let rival = row.rivals.iter().find(|of| of.name == rival)?;
        Some(rival.ratio)
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} holds no results of this program", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_text(path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The table as text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.machine());
        for row in &self.rows {
            let _ = writeln!(text, "{}: {}", row.title, row.line());
        }
        text
    }

    fn machine(&self) -> String {
        let torch = self
            .torch
            .as_ref()
            .map_or(String::new(), |torch| format!(", PyTorch {torch}"));
        format!(
            "{} ({}), {} threads{torch}",
            self.processor, self.vectors, self.threads
        )
    }

    /// The table; `bound` says of a row that falls short what bounds it and what was tried.
    fn to_markdown(&self, bound: &dyn Fn(&str) -> &'static str) -> String {
        let mut text = format!(
            "Measured on {}: {}.\n\n",
            date(self.measured_at),
            self.machine()
        );
        text += "| work | ours | beside | to reach | where our time goes |\n| --- | --- | --- | --- | --- |\n";
        let mut notes = String::new();
        for row in &self.rows {
            let (mut beside, mut reach) = (Vec::new(), Vec::new());
            if let Some(wanted) = row.reach {
                reach.push(format!("{} {}", rate(wanted), row.unit));
            }
            for rival in &row.rivals {
                let (name, of) = (&rival.name, rate(rival.rate));
                beside.push(format!("**{}** × {name} ({of})", ratio(rival.ratio)));
                if let Some(wanted) = rival.reach {
                    reach.push(format!("{} × {name}", ratio(wanted)));
                }
            }
            let short = if row.reached() { "" } else { " ✗" };
            let _ = writeln!(
                text,
                "| {} | {} {} | {} | {}{short} | {} |",
                row.title,
                rate(row.rate),
                row.unit,
                beside.join("; "),
                reach.join("; "),
                row.phases()
            );
            if !row.reached() {
                let _ = writeln!(
                    notes,
                    "- {}: {}. {}",
                    row.title,
                    row.shortfall(),
                    bound(&row.name)
                );
            }
        }
        if !notes.is_empty() {
            text += "\n✗ falls short:\n\n";
            text += &notes;
        }
        text
    }

    /// Replaces the marked part of a document by the table; `bound` says what bounds a row that
    /// falls short.
    pub(crate) fn write_into(
        &self,
        path: &Path,
        bound: &dyn Fn(&str) -> &'static str,
    ) -> Result<()> {
        let document = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let parts = document.split_once(MARKS[0]).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(MARKS[1])?;
            Some((before, after))
        });
        let (before, after) = parts.with_context(|| {
            format!(
                "{} has no lines {} and {} for the table to go between",
                path.display(),
                MARKS[0],
                MARKS[1]
            )
        })?;
        let table = self.to_markdown(bound);
        let text = format!("{before}{}\n{table}{}{after}", MARKS[0], MARKS[1]);
        write_text(path, &text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl MeasuredRow {
    /// By how much a row falls short.
    fn shortfall(&self) -> String {
        let mut short = Vec::new();
        if let Some(reach) = self.reach.filter(|reach| self.rate < *reach) {
            short.push(format!("{:.0}% of the rate", 100.0 * self.rate / reach));
        }
        for rival in &self.rivals {
            if let Some(reach) = rival.reach.filter(|reach| rival.ratio < *reach) {
                short.push(format!(
                    "{:.0}% of the ratio to {}",
                    100.0 * rival.ratio / reach,
                    rival.name
                ));
            }
        }
        short.join(", ")
    }
}

/// Three significant digits, with a unit for large numbers.
fn rate(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{unit}")
}

fn ratio(value: f64) -> String {
    let digits = if value >= 10.0 { 1 } else { 2 };
    format!("{value:.digits$}")
}

fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = information.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    "portable"
}

/// The day, as `2026-11-26`. Days are counted in years that begin in March, so that leap days come
/// last.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_795_651_200), "2026-11-26");
    }

    #[test]
    fn a_row_is_short_where_any_number_is() {
        let rival = |ratio| MeasuredRival {
            name: "PyTorch".to_owned(),
            rate: 1e4,
            ratio,
            reach: Some(2.0),
        };
        let row = |ratio| MeasuredRow {
            name: "a".to_owned(),
            title: "A".to_owned(),
            unit: "samples/s".to_owned(),
            rate: 25_000.0,
            reach: None,
            rivals: vec![rival(ratio)],
            phases: vec![("model".to_owned(), 0.875)],
        };
        assert!(row(2.0).reached() && !row(1.9).reached() && !row(f64::NAN).reached());
        assert_eq!(
            row(2.5).line(),
            "25.0k samples/s; 2.50 × PyTorch (10.0k), to reach: 2.00"
        );
        let report = Report {
            rows: vec![row(1.5)],
            ..Report::new(2, None)
        };
        let text = report.to_markdown(&|_| "Memory.");
        assert!(
            text.contains("- A: 75% of the ratio to PyTorch. Memory."),
            "{text}"
        );
        assert!(text.contains("model 88%"), "{text}");
    }

    #[test]
    fn rows_of_another_machine_are_not_taken() {
        let of = |threads, torch: Option<&str>| Report::new(threads, torch.map(str::to_owned));
        let mut report = of(2, None);
        assert!(report.continue_from(of(1, None)).is_err());
        // A run without PyTorch does not make the others' ratios disappear.
        report
            .continue_from(of(2, Some("2.15")))
            .expect("the same machine");
        assert!(report.machine().contains("2.15"));
        assert!(of(2, Some("2.16")).continue_from(report).is_err());
    }

    #[test]
    fn a_document_keeps_what_is_around_the_marks() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.md");
        std::fs::write(
            &path,
            "before\n<!-- compare -->\nold\n<!-- /compare -->\nafter\n",
        )
        .expect("a file");
        let report = Report::new(2, None);
        report.write_into(&path, &|_| "").expect("a document");
        report.write_into(&path, &|_| "").expect("a document");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with("before\n<!-- compare -->\nMeasured on "));
        assert!(text.ends_with("<!-- /compare -->\nafter\n") && !text.contains("old"));
        std::fs::write(&path, "no marks").expect("a file");
        assert!(report.write_into(&path, &|_| "").is_err());
    }
}
