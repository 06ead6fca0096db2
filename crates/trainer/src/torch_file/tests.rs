//! Files that are put together here, instruction by instruction.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::io::Write;

use zip::write::SimpleFileOptions;

use super::*;

/// A file with a pickle and one storage, `0`, that has these bytes.
fn file(folder: &Path, pickle: &[u8], storage: &[u8]) -> PathBuf {
    let path = folder.join("made.pt");
    let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::STORE);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", storage)] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

/// The instructions that make a tensor of storage `0`, of a kind such as `Float`.
fn tensor(kind: &str, elements: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let numbers = |numbers: &[u8]| numbers.iter().flat_map(|&n| [b'K', n]).collect::<Vec<u8>>();
    let start = format!(
        "ctorch._utils\n_rebuild_tensor_v2\n((U\u{7}storagectorch\n{kind}Storage\nU\u{1}0U\u{3}cpu"
    );
    [
        start.as_bytes(),
        &[b'K', elements, b't', b'Q', b'K', offset, b'('],
        &numbers(shape),
        b"t(",
        &numbers(strides),
        b"t\x89NtR",
    ]
    .concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[b'U', text.len() as u8], text.as_bytes()].concat()
}

/// A dictionary.
fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries
        .iter()
        .flat_map(|(key, value)| [text(key), value.clone()]);
    [b"}(".to_vec(), entries.flatten().collect(), b"u".to_vec()].concat()
}

/// An object of a class `m.C` with a state.
fn object(state: Vec<u8>) -> Vec<u8> {
    [b"cm\nC\n)\x81".to_vec(), state, b"b".to_vec()].concat()
}

fn open(value: &[u8], storage: &[u8]) -> Result<TorchFile> {
    let folder = tempfile::tempdir().unwrap();
    let pickle = [b"\x80\x02", value, b"."].concat();
    TorchFile::open(&file(folder.path(), &pickle, storage))
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn strided_tensors_are_read_in_the_order_of_their_dimensions() {
    let values: Vec<f32> = (0..12u8).map(f32::from).collect();
    for (offset, shape, strides, expected) in [
        (0, [3, 4], [4, 1], (0..12).collect::<Vec<u8>>()),
        (
            0,
            [4, 3],
            [1, 4],
            vec![0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
        ),
        (1, [2, 2], [5, 2], vec![1, 3, 6, 8]),
        (2, [2, 3], [1, 0], vec![2, 2, 2, 3, 3, 3]),
    ] {
        let value = tensor("Float", 12, offset, &shape, &strides);
        let mut file = open(&dict(&[("w", value)]), &floats(&values)).unwrap();
        file.check("w", &shape.map(u64::from)).unwrap();
        let expected: Vec<f32> = expected.into_iter().map(f32::from).collect();
        for first in 0..expected.len() {
            let read = file
                .read("w", first as u64, expected.len() - first)
                .unwrap();
            assert_eq!(read, expected[first..], "{shape:?} {strides:?}");
        }
    }
}

#[test]
fn floats_of_every_size_are_read_and_other_numbers_are_no_weights() {
    let bytes = |kind| match kind {
        "Half" => vec![0x00, 0x3e, 0x00, 0xc1],
        "BFloat16" => vec![0xc0, 0x3f, 0x20, 0xc0],
        "Double" => [1.5f64, -2.5].map(f64::to_le_bytes).concat(),
        _ => floats(&[1.5, -2.5]),
    };
    for kind in ["Float", "Half", "BFloat16", "Double"] {
        let value = dict(&[("w", tensor(kind, 2, 0, &[2], &[1]))]);
        let mut file = open(&value, &bytes(kind)).unwrap();
        file.check("w", &[2]).unwrap();
        assert_eq!(file.read("w", 0, 2).unwrap(), [1.5, -2.5], "{kind}");
    }
    let value = dict(&[("w", tensor("Int", 2, 0, &[2], &[1]))]);
    let error = open(&value, &[0; 8]).unwrap().check("w", &[2]).unwrap_err();
    assert!(error.to_string().contains("is Int [2]"), "{error}");
}

#[test]
fn weights_are_found_wherever_programs_put_them() {
    let weight = || tensor("Float", 2, 0, &[2], &[1]);
    let state = || {
        dict(&[
            ("bot_l.module.0.weight", weight()),
            ("epoch", b"K\x01".to_vec()),
        ])
    };
    let modules = |inner: Vec<u8>| dict(&[("_parameters", b"}".to_vec()), ("_modules", inner)]);
    let layer = || object(dict(&[("_parameters", dict(&[("weight", weight())]))]));
    let module = || {
        let bottom = object(modules(dict(&[("0", layer())])));
        object(modules(dict(&[("bot_l", bottom)])))
    };
    let script = object(dict(&[
        ("training", b"\x88".to_vec()),
        (
            "bot_l",
            object(dict(&[("0", object(dict(&[("weight", weight())])))])),
        ),
    ]));
    for value in [
        state(),
        dict(&[("loss", weight()), ("state_dict", state())]),
        dict(&[("model_state_dict", state()), ("opt_state_dict", dict(&[]))]),
        dict(&[("model", dict(&[("state_dict", state())]))]),
        dict(&[("something", state())]),
        module(),
        dict(&[("model", module())]),
        object(modules(dict(&[("_orig_mod", module())]))),
        script,
    ] {
        let file = open(&value, &floats(&[1.0, 2.0])).unwrap();
        file.check("bot_l.0.weight", &[2]).unwrap();
    }
}

#[test]
fn files_without_weights_say_what_they_hold() {
    let weight = || dict(&[("w", tensor("Float", 2, 0, &[2], &[1]))]);
    for (value, problem) in [
        (b"K\x01".to_vec(), "a value that is no model"),
        (
            dict(&[("epoch", b"K\x01".to_vec())]),
            "a dictionary of `epoch`",
        ),
        (object(b"}".to_vec()), "an object of `m.C`"),
        (
            dict(&[("a", weight()), ("b", weight())]),
            "several sets of weights, under `a`, `b`",
        ),
        (tensor("Float", 3, 0, &[3], &[1]), "one tensor"),
        (
            dict(&[("w", tensor("Float", 3, 0, &[3], &[1]))]),
            "larger than its storage",
        ),
        (
            dict(&[("w", tensor("Float", 2, 1, &[2], &[1]))]),
            "larger than its storage",
        ),
        (
            dict(&[("w", tensor("What", 2, 0, &[2], &[1]))]),
            "incomplete",
        ),
        (b"\xff".to_vec(), "the instruction 0xff"),
        (b"h\x07".to_vec(), "before it is there"),
        (b"(".repeat(1 << 24), "save the state dictionary alone"),
        (b"N".repeat(1 << 21), "its stack grows without end"),
        (b"X\xff\xff\xff\xff".to_vec(), "cut off"),
    ] {
        let error = open(&value, &floats(&[1.0, 2.0])).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let file = open(&weight(), &floats(&[1.0, 2.0])).unwrap();
    let error = file.check("bot_l.0.weight", &[2]).unwrap_err().to_string();
    assert!(error.contains("is missing; the file has `w`"), "{error}");
}

/// Forty tuples, each of the one before it twice, as the state of a module.
#[test]
fn nested_memos_end() {
    let mut value = b"}q\x00".to_vec();
    for level in 0..60 {
        let both = dict(&[
            ("a", object(vec![b'h', level])),
            ("b", object(vec![b'h', level])),
        ]);
        value.extend(both);
        value.extend([b'q', level + 1]);
    }
    let error = open(&object(value), &[]).unwrap_err().to_string();
    assert!(error.contains("too many parts"), "{error}");
}
