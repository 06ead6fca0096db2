//! Pass one: who and what there is, and every event to its user.

use super::store::{Event, EventStore};
use super::{
    Behaviour, EventDefect, EventFieldDefect, OutOfRange, PrepareOptions, RawEvent, parse_events,
};
use crate::category_counts::CategoryCounts;
use crate::error::{Error, Result};
use crate::packed::SourceFile;
use crate::progress::Progress;
use crate::taobao::error::Error as TaobaoError;
use crate::text::Error as TextError;
use crate::text::{BadRows, Chunk, SkipLog, read_all};

/// What pass one found.
pub(super) struct CountedEvents {
    /// Users and their events, in order of first appearance.
    pub(super) users: CategoryCounts,
    /// Items and their events, in order of first appearance.
    pub(super) items: CategoryCounts,
    /// The category of every item.
    pub(super) categories: Vec<u32>,
    /// Last time of every user.
    pub(super) last: Vec<i32>,
    pub(super) store: EventStore,
    /// Events by behaviour.
    pub(super) behaviours: [u64; 4],
    pub(super) first_time: i32,
    pub(super) last_time: i32,
    pub(super) out_of_range: u64,
    /// Minutes and their events, where samples are divided by time.
    pub(super) minutes: Option<CategoryCounts>,
    pub(super) skipped: SkipLog<EventFieldDefect>,
    pub(super) sources: Vec<SourceFile>,
}

/// The events of a chunk.
struct Parsed {
    events: Vec<RawEvent>,
    file: usize,
    first_line: u64,
    /// Lines of the chunk that hold no event, counted from 0, in order.
    bad_lines: Vec<u64>,
    skipped: SkipLog<EventFieldDefect>,
    stored_bytes: u64,
}

impl Parsed {
    /// The line of an event in its file, counted from 1.
    fn line(&self, event: usize) -> u64 {
        let mut line = event as u64;
        for &bad in &self.bad_lines {
            line += u64::from(bad <= line);
        }
        self.first_line + line
    }
}

/// Stands for an event that is left out.
const LEFT_OUT: u32 = u32::MAX;

impl CountedEvents {
    fn new(options: &PrepareOptions, folder: &std::path::Path, by_minute: bool) -> Self {
        Self {
            users: CategoryCounts::new(),
            items: CategoryCounts::new(),
            categories: Vec::new(),
            last: Vec::new(),
            store: EventStore::new(folder, options.memory),
            behaviours: [0; 4],
            first_time: i32::MAX,
            last_time: i32::MIN,
            out_of_range: 0,
            minutes: by_minute.then(CategoryCounts::new),
            skipped: SkipLog::default(),
            sources: Vec::new(),
        }
    }

    /// Takes the events of some chunks, which follow those before in the text.
    fn take(
        &mut self,
        options: &PrepareOptions,
        chunks: Vec<Parsed>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (users, items, categories) = (&mut self.users, &mut self.items, &mut self.categories);
        let (user_numbers, item_numbers) = rayon::join(
            || {
                let numbers =
                    |chunk: &Parsed| numbers(users, chunk.events.iter().map(|event| event.user));
                chunks.iter().map(numbers).collect::<Vec<_>>()
            },
            || {
                let chunks = chunks.iter();
                chunks
                    .map(|chunk| item_numbers(items, categories, chunk))
                    .collect::<Vec<_>>()
            },
        );
        for (table, len, most) in [
            ("user", self.users.len(), CategoryCounts::MOST),
            ("item", self.items.len(), Event::MOST_ITEMS),
        ] {
            if len > most {
                return Err(Error::Taobao(TaobaoError::TooManyDistinct {
                    table,
                    most: most as u64,
                }));
            }
        }
        self.last.resize(self.users.len(), i32::MIN);
        for ((chunk, users), items) in chunks.into_iter().zip(user_numbers).zip(item_numbers) {
            self.take_chunk(options, &chunk, &users, &items)?;
            progress.advance(chunk.stored_bytes, chunk.events.len() as u64);
            self.skipped.append(chunk.skipped);
        }
        Ok(())
    }

    fn take_chunk(
        &mut self,
        options: &PrepareOptions,
        chunk: &Parsed,
        users: &[u32],
        items: &[u32],
    ) -> Result<()> {
        let range = options.from..options.until;
        for (place, event) in chunk.events.iter().enumerate() {
            let (user, item) = (users[place], items[place]);
            if item == LEFT_OUT {
                self.second_category(options, chunk, place, user)?;
                continue;
            }
            self.behaviours[event.behaviour as usize] += 1;
            self.first_time = self.first_time.min(event.time);
            self.last_time = self.last_time.max(event.time);
            self.out_of_range += u64::from(!range.contains(&event.time));
            let last = &mut self.last[user as usize];
            *last = event.time.max(*last);
            if let Some(minutes) = &mut self.minutes {
                // The order of the numbers does not matter here, only that they are distinct.
                minutes.add(event.time.div_euclid(60) as u32);
            }
            self.store
                .push(Event::new(user, item, event.behaviour, event.time))?;
        }
        Ok(())
    }

    /// An event whose item has another category than before: an error, or left out.
    fn second_category(
        &mut self,
        options: &PrepareOptions,
        chunk: &Parsed,
        place: usize,
        user: u32,
    ) -> Result<()> {
        let event = &chunk.events[place];
        let known = self.items.entry(event.item);
        let defect = EventDefect::Field(EventFieldDefect::SecondCategory {
            item: event.item,
            known: known.map_or(0, |item| self.categories[item as usize]),
            found: event.category,
        });
        let line = chunk.line(place);
        if options.bad_rows == BadRows::Error {
            return Err(Error::Taobao(TaobaoError::BadEvent {
                path: options.raw[chunk.file].clone(),
                line,
                defect,
            }));
        }
        self.users.remove(user);
        self.skipped.add(chunk.file, line, defect);
        Ok(())
    }
}

/// Reads all files once.
///
/// # Errors
/// A file that cannot be read; a bad row, unless those are skipped; no event at all; a temporary file that cannot be written.
pub(super) fn count(
    options: &PrepareOptions,
    folder: &std::path::Path,
    by_minute: bool,
    progress: &dyn Progress,
) -> Result<CountedEvents> {
    let mut counted = CountedEvents::new(options, folder, by_minute);
    let consume = |chunks| counted.take(options, chunks, progress);
    let sources = read_all(&options.raw, |chunk| parse(options, &chunk), consume)?;
    counted.sources = sources;
    if counted.store.len() == 0 {
        return Err(Error::Text(TextError::NoRows {
            skipped: counted.skipped.rows(),
        }));
    }
    Ok(counted)
}

fn parse(options: &PrepareOptions, chunk: &Chunk) -> Result<Parsed> {
    let mut events: Vec<RawEvent> = Vec::with_capacity(chunk.lines as usize);
    let mut late: Vec<usize> = Vec::new();
    let mut bad_lines = Vec::new();
    let mut skipped = SkipLog::default();
    let (from, until) = (options.from, options.until);
    let refused = options.out_of_range == OutOfRange::Bad;
    let bad = |line: u64, defect| match options.bad_rows {
        BadRows::Skip => {
            bad_lines.push(line);
            skipped.add(chunk.file, chunk.first_line + line, defect);
            Ok(())
        }
        BadRows::Error => Err(Error::Taobao(TaobaoError::BadEvent {
            path: options.raw[chunk.file].clone(),
            line: chunk.first_line + line,
            defect,
        })),
    };
    let good = |event: &RawEvent| {
        if refused && !(from..until).contains(&event.time) {
            late.push(events.len());
        }
        events.push(*event);
    };
    let outcome = parse_events(&chunk.text, good, bad);
    let mut parsed = Parsed {
        events,
        file: chunk.file,
        first_line: chunk.first_line,
        bad_lines,
        skipped,
        stored_bytes: chunk.stored_bytes,
    };
    // Events outside the range come before a bad line that ended the reading.
    if !late.is_empty() {
        leave_out(options, &mut parsed, &late)?;
    }
    outcome?;
    Ok(parsed)
}

/// Leaves out events whose time is out of range.
fn leave_out(options: &PrepareOptions, parsed: &mut Parsed, late: &[usize]) -> Result<()> {
    let mut lines = Vec::with_capacity(late.len());
    for &place in late {
        let line = parsed.line(place);
        let defect = EventDefect::Field(EventFieldDefect::TimeOutOfRange {
            time: parsed.events[place].time,
            from: options.from,
            until: options.until - 1,
        });
        if options.bad_rows == BadRows::Error {
            return Err(Error::Taobao(TaobaoError::BadEvent {
                path: options.raw[parsed.file].clone(),
                line,
                defect,
            }));
        }
        parsed.skipped.add(parsed.file, line, defect);
        lines.push(line - parsed.first_line);
    }
    let mut place = 0;
    parsed.events.retain(|_| {
        place += 1;
        late.binary_search(&(place - 1)).is_err()
    });
    parsed.bad_lines.extend(lines);
    parsed.bad_lines.sort_unstable();
    Ok(())
}

/// The number of every value, in order of first appearance; counts it.
fn numbers(
    counts: &mut CategoryCounts,
    values: impl ExactSizeIterator<Item = u32> + Clone,
) -> Vec<u32> {
    /// Slots that are asked for ahead of their use, so that the processor waits for several at a time.
    const AHEAD: usize = 16;
    let mut ahead = values.clone().skip(AHEAD);
    let mut all = Vec::with_capacity(values.len());
    for value in values {
        if let Some(value) = ahead.next() {
            counts.prefetch(value);
        }
        all.push(counts.add(value));
    }
    all
}

/// The numbers of the items of a chunk; [`LEFT_OUT`] where an item has another category than before.
fn item_numbers(items: &mut CategoryCounts, categories: &mut Vec<u32>, chunk: &Parsed) -> Vec<u32> {
    let mut all = numbers(items, chunk.events.iter().map(|event| event.item));
    for (item, event) in all.iter_mut().zip(&chunk.events) {
        match categories.get(*item as usize) {
            // Items of this chunk got their numbers above, and come here in the same order.
            None => categories.push(event.category),
            Some(&known) if known != event.category => {
                items.remove(*item);
                *item = LEFT_OUT;
            }
            Some(_) => {}
        }
    }
    all
}

/// Events of every behaviour, by name.
pub(super) fn by_name(behaviours: [u64; 4]) -> Vec<(&'static str, u64)> {
    let names = Behaviour::ALL.iter().map(|behaviour| behaviour.name());
    names.zip(behaviours).collect()
}
