//! Hot sets as files: a small JSON document that says what it belongs to, and notices when it was changed.

use std::fs;
use std::io::Write;
use std::path::Path;

use recsys_data::output_file::OutputFile;
use recsys_data::packed::PackedDataset;
use serde_json::Value;

use crate::hot_set::{DatasetIdentity, FORMAT, FORMAT_VERSION, HotSet, xxh3_hex};
use crate::{Error, Result};

/// What comes after the checksum, the last value of the file.
const END: &str = "\"\n}\n";
/// What comes before it.
const CHECKSUM_KEY: &str = ",\n  \"xxh3\": \"";

impl HotSet {
    /// Writes the set to a file, which appears under its name when it is complete.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text = self
            .to_text()
            .map_err(|source| Error::io("cannot write", path)(source.into()))?;
        write_file(path, text.as_bytes())
    }

    /// Reads the set that was made for a data set.
    ///
    /// # Errors
    /// A file that cannot be read, holds no hot set of this version, was made for another data set, or was changed after it
    /// was written. The error names what differs.
    pub fn load(path: impl AsRef<Path>, data: &PackedDataset) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(Error::io("cannot read", path))?;
        let not_a_hot_set = |source| Error::NotAHotSet {
            path: path.into(),
            source,
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(not_a_hot_set)?;
        if value["format"] != FORMAT {
            let problem = format!("its `format` is not \"{FORMAT}\"");
            return Err(not_a_hot_set(serde::de::Error::custom(problem)));
        }
        if value["format_version"] != FORMAT_VERSION {
            return Err(Error::FormatVersion {
                path: path.into(),
                found: value["format_version"].to_string(),
                supported: FORMAT_VERSION,
            });
        }
        let mut set: Self = serde_json::from_value(value).map_err(not_a_hot_set)?;
        set.hot_rows = set.tables.iter().map(|table| table.hot_rows).collect();
        // Numbers that do not fit say more than a checksum does.
        set.check_dataset(path, data)?;
        set.check_numbers(path)?;
        let checked = bytes
            .strip_suffix(END.as_bytes())
            .and_then(|text| text.split_last_chunk::<16>());
        match checked {
            Some((text, found)) if xxh3_hex(text).as_bytes() == found => Ok(set),
            _ => Err(Error::Altered {
                path: path.into(),
                what: "the checksum".into(),
                found: "that of other contents".into(),
                expected: "that of the file".into(),
            }),
        }
    }

    /// The text of the file. Its last field is the xxh3 of all bytes before that field's value.
    fn to_text(&self) -> std::result::Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.truncate(text.trim_end_matches('}').trim_end().len());
        text.push_str(CHECKSUM_KEY);
        text.push_str(&xxh3_hex(text.as_bytes()));
        text.push_str(END);
        Ok(text)
    }

    fn check_dataset(&self, path: &Path, data: &PackedDataset) -> Result<()> {
        let check = |what: String, found: &dyn ToString, expected: &dyn ToString| {
            let (found, expected) = (found.to_string(), expected.to_string());
            if found == expected {
                return Ok(());
            }
            Err(Error::OtherDataset {
                path: path.into(),
                what,
                found,
                expected,
            })
        };
        let (own, other) = (&self.dataset, DatasetIdentity::of(data));
        check("the name".into(), &own.name, &other.name)?;
        let tables = &data.schema().tables;
        check(
            "the number of tables".into(),
            &self.tables.len(),
            &tables.len(),
        )?;
        for (number, (own, other)) in self.tables.iter().zip(tables).enumerate() {
            check(
                format!("the name of table {number}"),
                &own.name,
                &other.name,
            )?;
            let rows = format!("the number of rows of table {}", own.name);
            check(rows, &own.rows, &other.rows)?;
        }
        let splits = [
            ("training", own.train, other.train),
            ("validation", own.validation, other.validation),
            ("test", own.test, other.test),
        ];
        for (split, found, expected) in splits {
            check(format!("the number of {split} samples"), &found, &expected)?;
        }
        check("the hash of the samples".into(), &own.xxh3, &other.xxh3)
    }

    fn check_numbers(&self, path: &Path) -> Result<()> {
        let altered = |what: String, found: String, expected: String| {
            Err(Error::Altered {
                path: path.into(),
                what,
                found,
                expected,
            })
        };
        let mut bytes = 0u64;
        for table in &self.tables {
            if table.hot_rows > table.rows {
                let what = format!("the number of hot rows of table {}", table.name);
                let expected = format!("at most the table's {}", table.rows);
                return altered(what, table.hot_rows.to_string(), expected);
            }
            bytes = bytes.saturating_add(table.hot_rows.saturating_mul(table.bytes_per_row));
        }
        if self.hot_bytes != bytes {
            let found = self.hot_bytes.to_string();
            return altered("the number of hot bytes".into(), found, bytes.to_string());
        }
        if bytes > self.budget {
            let expected = format!("at most the budget of {}", self.budget);
            return altered(
                "the number of hot bytes".into(),
                bytes.to_string(),
                expected,
            );
        }
        let results = &self.results;
        if results.inputs != self.dataset.train {
            let (found, expected) = (results.inputs, self.dataset.train);
            let what = "the number of inputs in `results`".into();
            return altered(what, found.to_string(), expected.to_string());
        }
        let parts = [
            ("inputs", results.hot_inputs, results.inputs),
            ("lookups", results.hot_lookups, results.lookups),
        ];
        for (what, part, whole) in parts {
            if part > whole {
                let expected = format!("at most {whole}");
                return altered(
                    format!("the number of hot {what}"),
                    part.to_string(),
                    expected,
                );
            }
        }
        Ok(())
    }
}

/// Writes a file that appears under its name when it is complete and durable.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    OutputFile::create(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.finish()
        })
        .map_err(Error::io("cannot write", path))
}
