//! `prepare criteo-terabyte` as users run it: killed at any moment and continued.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use programs::command;
use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::packed::PackedDataset;

fn days(folder: &Path) -> Vec<PathBuf> {
    let planted = Planted::new(PlantedOptions::default().with_scale(0.1)).unwrap();
    let day = |day: u64| {
        let path = folder.join(format!("day_{day}"));
        let file = std::fs::File::create(&path).unwrap();
        let rows = day * 20_000..(day + 1) * 20_000;
        planted
            .write_criteo_text(rows, std::io::BufWriter::new(file))
            .unwrap();
        path
    };
    (0..4).map(day).collect()
}

/// Every file below a folder with its content.
fn contents(folder: &Path, below: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, below, into);
        } else {
            let name = path.strip_prefix(below).unwrap().to_path_buf();
            into.push((name, std::fs::read(&path).unwrap()));
        }
    }
    into.sort();
}

#[test]
fn killed_again_and_again_it_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let raw = days(folder.path());
    let start = |out: &Path, memory: &str| {
        let mut command = command("prepare");
        command.args([
            "criteo-terabyte",
            "--shard-rows",
            "5000",
            "--memory",
            memory,
        ]);
        command.arg("--raw").args(&raw).arg("--out").arg(out);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let whole = folder.path().join("whole");
    assert!(start(&whole, "1GiB").wait().unwrap().success());
    let out = folder.path().join("out");
    let mut killed = 0;
    // Every run gets further, so the moments of the kills move through all stages.
    for step in 0.. {
        let memory = ["256MiB", "1GiB"][step % 2];
        let mut child = start(&out, memory);
        std::thread::sleep(Duration::from_millis(
            20 + step as u64 * 37 % 113 + step as u64 * 4,
        ));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        killed += 1;
        // The kill may have come between the data set's new name and the end.
        if out.exists() {
            let status = start(&out, memory).wait().unwrap();
            assert!(status.success() || !folder.path().join(".out.work").exists());
            break;
        }
    }
    assert!(killed > 0);
    PackedDataset::open(&out).unwrap().verify().unwrap();
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    contents(&whole, &whole, &mut expected);
    contents(&out, &out, &mut found);
    assert!(found == expected);
    assert!(!folder.path().join(".out.work").exists());
}
