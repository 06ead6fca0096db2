//! Sequences in the text of the original's first program (`taobao_train.txt`, `taobao_test.txt`), and the windows of its second.
//!
//! A line has eight columns separated by TAB: user, target item, target category, label, then four lists separated by commas: 200
//! items, the last being the target; their categories; items that are not among them, for negatives, 200 or less; their
//! categories.

use super::foreign_sequences::ForeignSequences;
use super::parse::decimal;
use super::positions;
use super::reference::{SEQUENCE, points_of, window_draws, window_end};
use super::sequence_defect::{COLUMNS, SequenceDefect};
use super::windows::below;
use crate::error::{Error, Result};
use crate::taobao::error::Error as TaobaoError;
use crate::text::{Chunk, shorten};

/// Positions of a sample.
const POSITIONS: usize = 21;

/// What is made of the lines of a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    /// Windows at random places, with the draws of `seed`, `points` of either sign for long histories and never more than `most`.
    Windows { seed: u64, points: u32, most: u32 },
    /// The end of the sequence, with its label.
    Target,
}

/// A line as numbers.
struct Sequence {
    user: u32,
    label: u32,
    items: Vec<u32>,
    categories: Vec<u32>,
    negatives: Vec<u32>,
    negative_categories: Vec<u32>,
}

/// The samples of a chunk of lines, of which those beyond line `last` are left out.
///
/// # Errors
/// The first line that is no sequence.
pub(super) fn samples_of(
    chunk: &Chunk,
    path: &std::path::Path,
    usage: Use,
    last: u64,
) -> Result<ForeignSequences> {
    let mut foreign = ForeignSequences::default();
    let dense = positions(POSITIONS);
    let text = chunk.text.strip_suffix(b"\n").unwrap_or(&chunk.text);
    for (number, line) in (chunk.first_line..).zip(text.split(|&byte| byte == b'\n')) {
        if number > last {
            break;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let sequence = sequence(line).map_err(|defect| {
            Error::Taobao(TaobaoError::BadSequence {
                path: path.to_path_buf(),
                line: number,
                defect,
            })
        })?;
        match usage {
            Use::Target => sequence.push(&mut foreign, &dense, SEQUENCE - 1, None),
            Use::Windows { seed, points, most } => {
                let first = sequence.items.iter().position(|&item| item > 0);
                let first = first.unwrap_or(0);
                let points = points_of(first, points).min(most);
                for window in 0..2 * points {
                    let mut draws = window_draws(seed, number as u32, window);
                    let end = window_end(&mut draws, first, window < points);
                    let negative = (window >= points).then(|| {
                        let negatives = sequence.negatives.len().min(SEQUENCE - 1);
                        below(&mut draws, negatives as u64) as usize
                    });
                    sequence.push(&mut foreign, &dense, end, negative);
                }
            }
        }
    }
    foreign.stored_bytes = chunk.stored_bytes;
    Ok(foreign)
}

impl Sequence {
    /// Adds a window: with a negative the history ends at `end` and the candidate follows, else the candidate is at `end`.
    fn push(
        &self,
        into: &mut ForeignSequences,
        dense: &[f32],
        end: usize,
        negative: Option<usize>,
    ) {
        let history = match negative {
            Some(_) => end + 2 - POSITIONS..end + 1,
            None => end + 1 - POSITIONS..end + 1,
        };
        let rows = self.items[history.clone()]
            .iter()
            .zip(&self.categories[history]);
        for (&item, &category) in rows {
            into.ids.extend_from_slice(&[self.user, item, category]);
        }
        if let Some(place) = negative {
            let (item, category) = (self.negatives[place], self.negative_categories[place]);
            into.ids.extend_from_slice(&[self.user, item, category]);
        }
        let windowed_label = u32::from(negative.is_none());
        // The target at the end has a label of its own; windows never reach it.
        let label = if end == SEQUENCE - 1 {
            self.label
        } else {
            windowed_label
        };
        into.label.push(label as f32);
        into.dense.extend_from_slice(dense);
    }
}

fn sequence(line: &[u8]) -> std::result::Result<Sequence, SequenceDefect> {
    let found = memchr::memchr_iter(b'\t', line).count() + 1;
    if found != COLUMNS.len() {
        return Err(SequenceDefect::Columns { found });
    }
    let mut columns = line.split(|&byte| byte == b'\t').enumerate();
    let mut next = |least: usize, most: usize| {
        let (column, text) = columns.next().unwrap_or((0, &[]));
        let values = numbers(column, text)?;
        if (least..=most).contains(&values.len()) {
            return Ok(values);
        }
        Err(SequenceDefect::Length {
            column,
            found: values.len(),
            expected: if least == most {
                least.to_string()
            } else {
                format!("{least} to {most}")
            },
        })
    };
    let user = next(1, 1)?[0];
    let (_target, _category) = (next(1, 1)?, next(1, 1)?);
    let label = next(1, 1)?[0];
    if label > 1 {
        return Err(SequenceDefect::Label { found: label });
    }
    let (items, categories) = (next(SEQUENCE, SEQUENCE)?, next(SEQUENCE, SEQUENCE)?);
    let negatives = next(1, SEQUENCE)?;
    let negative_categories = next(negatives.len(), negatives.len())?;
    Ok(Sequence {
        user,
        label,
        items,
        categories,
        negatives,
        negative_categories,
    })
}

fn numbers(column: usize, text: &[u8]) -> std::result::Result<Vec<u32>, SequenceDefect> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let number = |(place, text): (usize, &[u8])| {
        let value = decimal(text).filter(|&(_, digits)| digits == text.len());
        value
            .and_then(|(value, _)| u32::try_from(value).ok())
            .ok_or_else(|| SequenceDefect::Number {
                column,
                place: place + 1,
                text: shorten(text),
            })
    };
    text.split(|&byte| byte == b',')
        .enumerate()
        .map(number)
        .collect()
}
