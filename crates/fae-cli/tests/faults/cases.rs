//! The programs under test, and what they read.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::write::GzEncoder;
use recsys_data::SplitRows;
use recsys_data::generate::{
    Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions, write_packed,
};

use crate::programs;

/// A program as users run it, with one output.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The command; `{in}` is the folder of inputs, `{out}` the output, `{beside}` the folder that
    /// it lies in.
    command: &'static str,
    /// Whether the same command goes on where a failed or killed one stopped. Then it may leave
    /// something for that.
    pub(crate) resumes: bool,
    /// What lies beside the output in the end.
    pub(crate) stays: &'static [&'static str],
}

const fn case(name: &'static str, command: &'static str) -> Case {
    Case {
        name,
        command,
        resumes: false,
        stays: &[],
    }
}

const fn resuming(
    name: &'static str,
    command: &'static str,
    stays: &'static [&'static str],
) -> Case {
    Case {
        resumes: true,
        stays,
        ..case(name, command)
    }
}

/// A line here is a program that every fault is tried on.
pub(crate) const CASES: [Case; 10] = [
    case(
        "prepare criteo-kaggle",
        "prepare criteo-kaggle --raw {in}/clicks.txt.gz --out {out} --force --threads 2",
    ),
    case(
        "prepare taobao",
        "prepare taobao --raw {in}/events.csv --memory 1MiB --points-per-user 2 --out {out} --force --threads 2",
    ),
    case(
        "import taobao",
        "import taobao --train {in}/train.npz --out {out} --force --threads 2",
    ),
    case(
        "generate packed",
        "generate packed --rows 300 --scale 0.01 --out {out} --force --threads 2",
    ),
    case(
        "generate events",
        "generate events --events 500 --scale 0.01 --out {out} --force --threads 2",
    ),
    case(
        "profile",
        "profile --data {in}/packed --budget 25% --out {out} --threads 2",
    ),
    case(
        "train",
        "train --data {in}/packed --bottom-mlp 13-16 --top-mlp 16-1 --threads 2 --save-weights {out}",
    ),
    resuming(
        "prepare criteo-terabyte",
        "prepare criteo-terabyte --raw {in}/day_0.gz {in}/day_1.gz {in}/day_2.gz --out {out} --force --threads 2",
        &[],
    ),
    resuming(
        "train, checkpoints",
        "train --data {in}/packed --bottom-mlp 13-16 --top-mlp 16-1 --batch-size 20 --threads 2 --checkpoint {beside}/checkpoints \
         --checkpoint-every 3 --resume --save-weights {out}",
        &["checkpoints"],
    ),
    resuming(
        "train, mapped rows",
        "train --data {in}/packed --bottom-mlp 13-16 --top-mlp 16-1 --batch-size 20 --threads 2 --optimizer adagrad \
         --mapped-rows {beside}/rows --checkpoint {beside}/checkpoints --checkpoint-every 3 --resume --save-weights {out}",
        &["checkpoints", "rows"],
    ),
];

impl Case {
    /// The program, writing to `out`.
    pub(crate) fn command(&self, inputs: &Inputs, out: &Path) -> Command {
        let mut words = self.command.split_whitespace();
        let mut command = programs::command(words.next().unwrap());
        let places = [
            ("{in}", inputs.folder.as_path()),
            ("{out}", out),
            ("{beside}", out.parent().unwrap()),
        ];
        command.args(words.map(|word| {
            places.iter().fold(word.to_owned(), |word, (name, place)| {
                word.replace(name, place.to_str().unwrap())
            })
        }));
        command
    }
}

/// What the programs read.
pub(crate) struct Inputs {
    pub(crate) folder: PathBuf,
}

impl Inputs {
    /// Makes the inputs in a new folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let planted = Planted::new(PlantedOptions::default().with_scale(0.01)).unwrap();
        let mut text = Vec::new();
        planted.write_criteo_text(0..200, &mut text).unwrap();
        std::fs::write(path("clicks.txt"), &text).unwrap();
        std::fs::write(path("clicks.txt.gz"), gz(&text)).unwrap();
        for day in 0..3 {
            let mut text = Vec::new();
            let rows = 60 * day..60 * (day + 1);
            planted.write_criteo_text(rows, &mut text).unwrap();
            std::fs::write(path(&format!("day_{day}.gz")), gz(&text)).unwrap();
        }
        let rows = SplitRows {
            train: 200,
            validation: 50,
            test: 50,
        };
        write_packed(
            &planted,
            planted.options(),
            rows,
            &path("packed"),
            false,
            &(),
        )
        .unwrap();
        let users = PlantedSequencesOptions::default().with_scale(0.02);
        let users = PlantedSequences::new(users).unwrap();
        let events = std::fs::File::create(path("events.csv")).unwrap();
        // More than a mebibyte of events, so that some go to a temporary file.
        users
            .write_user_behaviour(90_000, BufWriter::new(events))
            .unwrap();
        std::fs::write(path("train.npz"), npz()).unwrap();
        Self { folder }
    }

    /// A data set that another run left.
    pub(crate) fn old(&self) -> PathBuf {
        self.folder.join("packed")
    }
}

/// A gzip file of one member.
pub(crate) fn gz(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Sequences in the original's form: an archive of arrays, stored.
fn npz() -> Vec<u8> {
    const SAMPLES: usize = 40;
    let cells = SAMPLES * 21;
    let arrays = [
        ("X_cat.npy", array(&format!("3, {SAMPLES}, 21"), 3 * cells)),
        ("X_int.npy", array(&format!("1, {SAMPLES}, 21"), cells)),
        ("y.npy", array(&format!("{SAMPLES},"), SAMPLES)),
    ];
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::STORE);
        archive.start_file(name, stored).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Numbers 0 and 1 in NumPy's format 1.0.
fn array(shape: &str, cells: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<i4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..cells).flat_map(|cell| (cell as i32 % 3 % 2).to_le_bytes()));
    bytes
}
