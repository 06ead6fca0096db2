//! Numbers out of text, a field at a time.

/// Reads eight hexadecimal digits at once, most significant digit in the lowest byte.
///
/// Every byte of a word is treated by the same addition or mask, without carries between bytes (SIMD within a register).
/// `None` unless all eight bytes are hexadecimal digits.
#[inline(always)]
pub(super) fn hex8(text: [u8; 8]) -> Option<u32> {
    const fn every(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    const HIGH: u64 = every(0x80);
    let word = u64::from_le_bytes(text);
    // With the high bits clear, the sums below stay inside their bytes.
    let low = word & !HIGH;
    let digit = low ^ every(b'0');
    let letter = (low | every(0x20)) ^ every(0x60);
    // High bit set where the digit value is 10 or more.
    let no_digit = (digit + every(0x76)) & HIGH;
    // High bit set where the letter is one of a to f: 1 or more, and not 7 or more.
    let is_letter = (letter + every(0x7f)) & !(letter + every(0x79)) & HIGH;
    if (word & HIGH) | (no_digit ^ is_letter) != 0 {
        return None;
    }
    let nibbles = (low & every(0x0f)) + (is_letter >> 7) * 9;
    let bytes = (nibbles << 4 | nibbles >> 8) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes << 8 | bytes >> 16) & 0x0000_ffff_0000_ffff;
    Some((halves << 16 | halves >> 32) as u32)
}

/// Reads up to eight hexadecimal digits from the front; returns the value and how many digits there were.
#[inline]
pub(super) fn hex(text: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u32;
    let mut digits = 0;
    while let Some(digit) = text
        .get(digits)
        .and_then(|&byte| (byte as char).to_digit(16))
    {
        if digits == 8 {
            return None;
        }
        value = value << 4 | digit;
        digits += 1;
    }
    (digits > 0).then_some((value, digits))
}

/// Reads a decimal integer with an optional minus sign from the front; returns it and its length in bytes.
///
/// `None` without a digit, or where the value does not fit.
#[inline(always)]
pub(super) fn decimal(text: &[u8]) -> Option<(i32, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut value = 0i64;
    let mut at = start;
    while let Some(digit) = text
        .get(at)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|&digit| digit < 10)
    {
        value = value * 10 + i64::from(digit);
        // Leading zeros may go on for long; the value may not.
        if value > 1 << 31 {
            return None;
        }
        at += 1;
    }
    if at == start {
        return None;
    }
    let value = if negative { -value } else { value };
    i32::try_from(value).ok().map(|value| (value, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_digits_at_once_agree_with_the_standard_library(value: u32, upper: bool) {
            let text = if upper { format!("{value:08X}") } else { format!("{value:08x}") };
            let bytes: [u8; 8] = text.as_bytes().try_into().unwrap();
            prop_assert_eq!(hex8(bytes), Some(value));
            prop_assert_eq!(hex(&bytes), Some((value, 8)));
        }

        #[test]
        fn any_eight_bytes_are_judged_like_the_standard_library_does(bytes: [u8; 8]) {
            let valid = bytes.iter().all(u8::is_ascii_hexdigit);
            prop_assert_eq!(hex8(bytes).is_some(), valid);
        }

        #[test]
        fn decimals_round_trip(value: i32) {
            let text = value.to_string();
            prop_assert_eq!(decimal(text.as_bytes()), Some((value, text.len())));
        }
    }

    #[test]
    fn every_byte_is_judged_in_every_place() {
        for place in 0..8 {
            for byte in 0..=255u8 {
                let mut text = *b"00000000";
                text[place] = byte;
                let expected = (byte as char).to_digit(16).filter(|_| byte.is_ascii());
                assert_eq!(
                    hex8(text),
                    expected.map(|digit| digit << (28 - 4 * place)),
                    "byte {byte} at {place}"
                );
            }
        }
    }

    #[test]
    fn limits_of_decimals() {
        assert_eq!(decimal(b"2147483647\t"), Some((i32::MAX, 10)));
        assert_eq!(decimal(b"-2147483648\t"), Some((i32::MIN, 11)));
        assert_eq!(decimal(b"2147483648"), None);
        assert_eq!(decimal(b"-2147483649"), None);
        assert_eq!(decimal(b"99999999999999999999999999"), None);
        assert_eq!(decimal(b"007"), Some((7, 3)));
        for text in [&b""[..], b"-", b"+1", b"x", b"--1"] {
            assert_eq!(decimal(text), None);
        }
    }
}
