//! Raw text: numbers written as digits, and lines that threads format side by side.

use std::io;
use std::ops::Range;

use rayon::prelude::*;

/// Lets `fill` write the text of `chunk` numbers at a time, in parallel, and writes it in order. `fill` has memory of
/// type `R` that is reused.
pub(crate) fn write_chunks<R: Default>(
    numbers: Range<u64>,
    chunk: u64,
    mut writer: impl io::Write,
    fill: impl Fn(&mut R, Range<u64>, &mut Vec<u8>) + Sync,
) -> io::Result<()> {
    // Two chunks a thread: memory stays small, and no thread waits long for the slowest.
    let chunks = 2 * rayon::current_num_threads() as u64;
    let fill = |first: u64, buffers: &mut [Vec<u8>]| {
        let at = |chunks: u64| {
            first
                .saturating_add(chunks.saturating_mul(chunk))
                .min(numbers.end)
        };
        buffers
            .par_iter_mut()
            .enumerate()
            .for_each_init(R::default, |memory, (number, text)| {
                let number = number as u64;
                text.clear();
                fill(memory, at(number)..at(number + 1), text);
            });
    };
    let mut ready = vec![Vec::new(); chunks as usize];
    let mut next = ready.clone();
    let mut first = numbers.start;
    fill(first, &mut ready);
    while first < numbers.end {
        first = first.saturating_add(chunks.saturating_mul(chunk));
        // The writer may be slow: other threads go on meanwhile.
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| fill(first, &mut next));
            ready.iter().try_for_each(|text| writer.write_all(text))
        })?;
        std::mem::swap(&mut ready, &mut next);
    }
    writer.flush()
}

/// Decimal digits, behind a minus where the value is below 0.
pub(crate) fn push_decimal(value: i32, line: &mut Vec<u8>) {
    if value < 0 {
        line.push(b'-');
    }
    push_number(u64::from(value.unsigned_abs()), line);
}

/// Decimal digits.
#[inline]
pub(crate) fn push_number(value: u64, line: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    let mut rest = value;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[first..]);
}

/// Eight lower-case digits.
pub(crate) fn push_hexadecimal(value: u32, line: &mut Vec<u8>) {
    let digits: [u8; 8] = std::array::from_fn(|digit| {
        b"0123456789abcdef"[(value >> (28 - 4 * digit)) as usize & 0xf]
    });
    line.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for value in [0, 7, 10, -1, 65_535, 1_000_000_000, i32::MAX, i32::MIN] {
            let mut line = Vec::new();
            push_decimal(value, &mut line);
            assert_eq!(line, value.to_string().as_bytes());
            line.clear();
            push_number(u64::MAX - value as u64, &mut line);
            assert_eq!(line, (u64::MAX - value as u64).to_string().as_bytes());
            line.clear();
            push_hexadecimal(value as u32, &mut line);
            assert_eq!(line, format!("{:08x}", value as u32).as_bytes());
        }
    }
}
