//! Files of the original programs.

use recsys_data::packed::PackedDataset;
use recsys_data::taobao::{ImportOptions, ImportTaobao};
use testing::fuzzing::{Check, Target};

use crate::reference;
use crate::taobao_text::{Workplace, zip};

/// Samples of an archive.
const SAMPLES: usize = 3;
const POSITIONS: usize = 21;

pub(crate) fn targets() -> Vec<Target<'static>> {
    let lines: Vec<String> = (1..4).map(line).collect();
    let sound = arrays(&SAMPLES.to_string());
    vec![
        Target {
            name: "sequence text",
            seeds: vec![lines.concat().into_bytes(), lines[1].clone().into_bytes()],
            executions: 100,
            check: importer("train.txt", |text| {
                reference::lines(text).all(reference::is_sequence)
            }),
        },
        Target {
            name: "npz archive",
            seeds: [false, true].map(|deflate| npz(&sound, deflate)).to_vec(),
            executions: 100,
            check: importer("train.npz", |_| true),
        },
        in_sound_archive("npy array of ids", 0),
        in_sound_archive("npy array of floats", 1),
        in_sound_archive("npy array of labels", 2),
        Target {
            name: "npz sample count",
            seeds: vec![SAMPLES.to_string().into_bytes()],
            executions: 100,
            check: {
                let mut import = importer("train.npz", |_| true);
                Box::new(move |count| import(&npz(&arrays(&String::from_utf8_lossy(count)), false)))
            },
        },
    ]
}

/// An array whose damage the archive's checksum does not show.
fn in_sound_archive(name: &'static str, damaged: usize) -> Target<'static> {
    let arrays = arrays(&SAMPLES.to_string());
    let seeds = vec![arrays[damaged].clone()];
    let mut import = importer("train.npz", |_| true);
    let check = move |input: &[u8]| {
        let mut arrays = arrays.clone();
        arrays[damaged] = input.to_vec();
        import(&npz(&arrays, false))
    };
    Target {
        name,
        seeds,
        executions: 100,
        check: Box::new(check),
    }
}

/// Imports a file of this name. What `valid` refuses must be refused.
fn importer(file: &'static str, valid: fn(&[u8]) -> bool) -> Check<'static> {
    let place = Workplace::new();
    let options = ImportOptions {
        train: place.path(file),
        out: place.path("out"),
        ..ImportOptions::default()
    };
    Box::new(move |input| {
        place.file(file, input);
        let result = ImportTaobao::new(options.clone()).run(&());
        match result {
            Ok(_) => {
                assert!(valid(input), "damage went unnoticed");
                PackedDataset::open(&options.out).unwrap().verify().unwrap();
                std::fs::remove_dir_all(&options.out).unwrap();
                true
            }
            Err(error) => {
                assert_eq!(place.names(), [file], "something was left behind");
                let message = error.to_string();
                // Nothing is left of a file whose windows are all too short.
                assert!(
                    message.contains(file) || message.contains("no row is left"),
                    "{message}"
                );
                false
            }
        }
    })
}

/// A sequence of the original's text.
fn line(user: u32) -> String {
    let list = |values: &mut dyn Iterator<Item = u32>| {
        let values: Vec<String> = values.map(|value| value.to_string()).collect();
        values.join(",")
    };
    let items = list(&mut (0..200).map(|place| place * user % 97));
    let categories = list(&mut (0..200).map(|place| place * user % 97 % 11));
    let negatives = list(&mut (200..260).map(|place| place + user));
    format!("{user}\t5\t3\t1\t{items}\t{categories}\t{negatives}\t{negatives}\n")
}

/// `X_cat`, `X_int` and `y`, with a number of samples in their headers that may be wrong.
fn arrays(count: &str) -> [Vec<u8>; 3] {
    let ids = (0..3 * SAMPLES * POSITIONS).map(|place| (place as i32 % 50).to_le_bytes());
    let dense = (0..SAMPLES * POSITIONS).map(|place| (place as f32 / 64.0).to_le_bytes());
    let labels = (0..SAMPLES).map(|sample| (sample as i32 % 2).to_le_bytes());
    [
        npy("<i4", &format!("3, {count}, {POSITIONS}"), ids),
        npy("<f4", &format!("1, {count}, {POSITIONS}"), dense),
        npy("<i4", &format!("{count},"), labels),
    ]
}

/// A NumPy array, format 1.0.
pub(crate) fn npy(descr: &str, shape: &str, data: impl Iterator<Item = [u8; 4]>) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data.flatten());
    bytes
}

fn npz(arrays: &[Vec<u8>; 3], deflate: bool) -> Vec<u8> {
    let names = ["X_cat.npy", "X_int.npy", "y.npy"];
    let files: Vec<(&str, &[u8])> = names
        .into_iter()
        .zip(arrays.iter().map(Vec::as_slice))
        .collect();
    zip(&files, deflate)
}
