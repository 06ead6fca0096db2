//! Inputs made of valid ones by damage.

use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;

/// Longer inputs are cut.
const MOST: usize = 1 << 16;
/// Bytes that mean something to some parser.
const BYTES: [u8; 18] = *b"\0\t\n\r \"',-./09[]{}\xff";
/// Numbers at the edges of the types that parsers use.
const NUMBERS: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x2000_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// An input: one of `seeds` after one to four operations (a bit flipped; bytes overwritten,
/// inserted, removed, repeated, taken from another seed; a number replaced by one at the edge of
/// its type; a cut), or now and then random bytes.
///
/// # Panics
/// Where there are no seeds.
pub fn mutate(random: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if random.random_ratio(1, 32) {
        let length = random.random_range(0..300);
        return bytes(random, length);
    }
    let mut input = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=4) {
        damage(random, &mut input, seeds);
        input.truncate(MOST);
    }
    input
}

fn bytes(random: &mut ChaCha8Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    bytes
}

/// A part of `0..length`, short ones more often than long ones.
fn part(random: &mut ChaCha8Rng, length: usize) -> std::ops::Range<usize> {
    let start = random.random_range(0..=length);
    let most = if random.random() { 8 } else { length };
    let end = start + random.random_range(0..=(length - start).min(most));
    start..end
}

fn damage(random: &mut ChaCha8Rng, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    if input.is_empty() {
        *input = bytes(random, 8);
    }
    let at = random.random_range(0..input.len());
    match random.random_range(0..10) {
        0 => input[at] ^= 1 << random.random_range(0..8),
        1 => input[at] = BYTES[random.random_range(0..BYTES.len())],
        2 => input[at] = random.random(),
        3 => input.truncate(at),
        4 => drop(input.drain(part(random, input.len()))),
        5 => {
            let length = random.random_range(1..16);
            let inserted = bytes(random, length);
            input.splice(at..at, inserted);
        }
        6 => {
            let repeated = input[part(random, input.len())].repeat(random.random_range(1..9));
            input.splice(at..at, repeated);
        }
        7 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let taken = other[part(random, other.len())].to_vec();
            input.splice(part(random, input.len()), taken);
        }
        8 => {
            let number = NUMBERS[random.random_range(0..NUMBERS.len())].to_le_bytes();
            let width = [2, 4, 8][random.random_range(0..3)].min(input.len() - at);
            input[at..at + width].copy_from_slice(&number[..width]);
        }
        _ => replace_number(random, input, at),
    }
}

/// Puts another number in the place of the digits at or after `at`.
fn replace_number(random: &mut ChaCha8Rng, input: &mut Vec<u8>, at: usize) {
    let Some(start) = (at..input.len()).find(|&place| input[place].is_ascii_digit()) else {
        return;
    };
    let rest = input[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let end = start + rest.count();
    let number = NUMBERS[random.random_range(0..NUMBERS.len())];
    let text = match random.random_range(0..4) {
        0 => format!("-{number}"),
        1 => format!("{number}9"),
        2 => format!("{number}e9"),
        _ => number.to_string(),
    };
    input.splice(start..end, text.into_bytes());
}
