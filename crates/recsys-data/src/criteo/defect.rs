//! What can be wrong with a raw row.

use super::{FIELDS, field_name};
use crate::text::{FieldDefect, LineDefect, header_hint, shorten};

/// Why a line is not a Criteo row.
pub type RowDefect = LineDefect<RowFieldDefect>;

/// What is wrong with the fields of a line. `field` counts from 0 (the label), messages count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFieldDefect {
    /// A label other than 0 and 1.
    #[error(
        "label (field 1) is \"{text}\" instead of 0 or 1{}",
        header_hint(text, HEADER)
    )]
    Label {
        /// The field, escaped and shortened.
        text: String,
    },
    /// A dense value that is no decimal integer.
    #[error("{name} (field {number}) is \"{text}\", which is no decimal integer", name = field_name(*field), number = field + 1)]
    Dense {
        /// The field's number.
        field: usize,
        /// The field, escaped and shortened.
        text: String,
    },
    /// A dense value that does not fit 32 bits.
    #[error("{name} (field {number}) is \"{text}\", which does not fit a signed 32-bit integer", name = field_name(*field), number = field + 1)]
    DenseOverflow {
        /// The field's number.
        field: usize,
        /// The field, escaped and shortened.
        text: String,
    },
    /// A category that is not hexadecimal.
    #[error("{name} (field {number}) is \"{text}\", which is not hexadecimal", name = field_name(*field), number = field + 1)]
    Category {
        /// The field's number.
        field: usize,
        /// The field, escaped and shortened.
        text: String,
    },
    /// A category of more than 8 hexadecimal digits.
    #[error("{name} (field {number}) is \"{text}\", which has more than 8 hexadecimal digits", name = field_name(*field), number = field + 1)]
    CategoryTooLong {
        /// The field's number.
        field: usize,
        /// The field, escaped and shortened.
        text: String,
    },
}

const HEADER: &str =
    "; if the line names the columns, remove it, or read the file with `ImportFormat::Table`";

impl FieldDefect for RowFieldDefect {
    const OTHER_SEPARATORS: &'static str = ": `ImportFormat::Table` reads such files";
    const LINE: &'static str = "Criteo row";
    const SEPARATOR: u8 = b'\t';
    const SEPARATOR_NAME: &'static str = "TAB";
    const FIELDS: usize = FIELDS;
    const FIELD_NAMES: &'static str = "label, 13 integers, 26 categories";

    fn count_hint(found: usize) -> &'static str {
        match found + 1 == FIELDS {
            true => "; rows without a label are read by `EncodeCriteo`",
            false => "",
        }
    }

    fn of_field(field: usize, text: &[u8]) -> Option<Self> {
        let shown = || shorten(text);
        if field == 0 {
            return (text != b"0" && text != b"1").then(|| Self::Label { text: shown() });
        }
        if text.is_empty() {
            return None;
        }
        if field > super::DENSE_FEATURES {
            if !text.iter().all(u8::is_ascii_hexdigit) {
                return Some(Self::Category {
                    field,
                    text: shown(),
                });
            }
            return (text.len() > 8).then(|| Self::CategoryTooLong {
                field,
                text: shown(),
            });
        }
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Some(Self::Dense {
                field,
                text: shown(),
            });
        }
        let fits = std::str::from_utf8(text).is_ok_and(|text| text.parse::<i32>().is_ok());
        (!fits).then(|| Self::DenseOverflow {
            field,
            text: shown(),
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Label { .. } => "label not 0 or 1",
            Self::Dense { .. } => "dense value no integer",
            Self::DenseOverflow { .. } => "dense value beyond 32 bits",
            Self::Category { .. } => "category not hexadecimal",
            Self::CategoryTooLong { .. } => "category beyond 8 digits",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl Fn(&mut Vec<String>)) -> Vec<u8> {
        let mut fields = vec!["1".to_owned()];
        fields.extend((0..13).map(|value| value.to_string()));
        fields.extend((0..26).map(|value| format!("{value:08x}")));
        change(&mut fields);
        fields.join("\t").into_bytes()
    }

    #[test]
    fn a_good_row_has_no_defect() {
        assert_eq!(RowDefect::of(&row(|_| ())), None);
        assert_eq!(RowDefect::of(&row(|fields| fields[1].clear())), None);
        assert_eq!(
            RowDefect::of(&row(|fields| fields[2] = "-2147483648".into())),
            None
        );
    }

    #[test]
    fn messages_name_the_column_and_the_text() {
        let cases: [(usize, &str, &str); 7] = [
            (0, "2", "label (field 1) is \"2\" instead of 0 or 1"),
            (0, "", "label (field 1) is \"\" instead of 0 or 1"),
            (
                1,
                "1.0",
                "I1 (field 2) is \"1.0\", which is no decimal integer",
            ),
            (
                13,
                "-",
                "I13 (field 14) is \"-\", which is no decimal integer",
            ),
            (
                2,
                "2147483648",
                "I2 (field 3) is \"2147483648\", which does not fit a signed 32-bit integer",
            ),
            (
                16,
                "68fd1eXY",
                "C3 (field 17) is \"68fd1eXY\", which is not hexadecimal",
            ),
            (
                39,
                "168fd1e64",
                "C26 (field 40) is \"168fd1e64\", which has more than 8 hexadecimal digits",
            ),
        ];
        for (field, text, message) in cases {
            let line = row(|fields| fields[field] = text.into());
            assert_eq!(
                RowDefect::of(&line)
                    .map(|defect| defect.to_string())
                    .as_deref(),
                Some(message)
            );
        }
    }

    #[test]
    fn other_files_of_rows_come_with_a_hint() {
        let message = |line: &[u8]| RowDefect::of(line).map_or(String::new(), |d| d.to_string());
        let good = row(|_| ());
        let commas: Vec<u8> = good
            .iter()
            .map(|&b| if b == b'\t' { b',' } else { b })
            .collect();
        assert!(message(&commas).contains("separated by commas instead of TAB: `ImportFormat"));
        assert!(message(&good[2..]).contains("`EncodeCriteo`"));
        let header = message(&row(|fields| fields[0] = "label".into()));
        assert!(header.contains("names the columns"), "{header}");
    }

    #[test]
    fn long_texts_are_shortened_and_escaped() {
        let defect = RowDefect::of(&row(|fields| {
            fields[20] = format!("\u{7}{}", "z".repeat(100))
        }));
        let message = defect.map(|defect| defect.to_string()).unwrap_or_default();
        assert!(
            message.contains("\\u{7}zzz") && message.contains('…') && message.len() < 120,
            "{message}"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_place() {
        assert_eq!(RowDefect::of(b"0\t\0"), Some(RowDefect::Nul { byte: 3 }));
        assert_eq!(
            RowDefect::of(b"0\t\xff"),
            Some(RowDefect::NotUtf8 { byte: 3 })
        );
        assert_eq!(
            RowDefect::of(b"0\r\t"),
            Some(RowDefect::CarriageReturn { byte: 2 })
        );
        assert_eq!(RowDefect::of(b""), Some(RowDefect::Empty));
        assert_eq!(
            RowDefect::of(b"0\t1"),
            Some(RowDefect::FieldCount { found: 2 })
        );
    }
}
