//! Compressed files, and what the decoders make of damage.

use std::io::{Read, Write};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use recsys_data::packed::PackedDataset;
use recsys_data::taobao::{PrepareOptions, PrepareTaobao, ShortHistory};
use testing::fuzzing::Target;

use crate::reference;
use crate::taobao_text::{Workplace, events, zip};

pub(crate) fn targets() -> Vec<Target<'static>> {
    let text = events(60).into_bytes();
    let halves = text.split_at(text.len() / 2);
    let gz = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let bz2 = |text: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let zst = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
    let mut targets = vec![
        container(
            "gzip",
            "events.csv.gz",
            vec![gz(&text), [gz(halves.0), gz(halves.1)].concat()],
            |input| {
                streams(input, |input, text| {
                    let mut decoder = GzDecoder::new(input);
                    decoder.read_to_end(text).ok()?;
                    Some(decoder.into_inner())
                })
            },
        ),
        container(
            "Zstandard",
            "events.csv.zst",
            vec![zst(&text), [zst(halves.0), zst(halves.1)].concat()],
            |input| {
                streams(input, |input, text| {
                    let decoder = zstd::stream::read::Decoder::with_buffer(input).ok()?;
                    let mut decoder = decoder.single_frame();
                    decoder.read_to_end(text).ok()?;
                    Some(decoder.finish())
                })
            },
        ),
        container(
            "bzip2",
            "events.csv.bz2",
            vec![
                bz2(&text),
                [bz2(halves.0), vec![0; 9], bz2(halves.1)].concat(),
            ],
            |input| {
                streams(input, |input, text| {
                    let mut decoder = BzDecoder::new(input);
                    decoder.read_to_end(text).ok()?;
                    Some(decoder.into_inner())
                })
            },
        ),
    ];
    let files = [("events.csv", text.as_slice())];
    targets.push(container(
        "zip",
        "events.csv.zip",
        vec![zip(&files, false), zip(&files, true)],
        // The zip crate reads what we read; there is no second opinion that is as strict.
        |_| None,
    ));
    targets
}

/// Streams one behind the other, with any number of zeros behind each; `decode` takes one off the
/// front.
fn streams(
    mut input: &[u8],
    decode: impl for<'a> Fn(&'a [u8], &mut Vec<u8>) -> Option<&'a [u8]>,
) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while !input.is_empty() {
        input = decode(input, &mut text)?;
        let zeros = input.iter().take_while(|&&byte| byte == 0).count();
        input = &input[zeros..];
    }
    Some(text)
}

/// Events in a compressed file. `decode` is another way to read it, where there is one.
fn container(
    name: &'static str,
    file: &'static str,
    seeds: Vec<Vec<u8>>,
    decode: fn(&[u8]) -> Option<Vec<u8>>,
) -> Target<'static> {
    let place = Workplace::new();
    let has_reference = decode(&seeds[0]).is_some();
    let options = PrepareOptions {
        history: 2,
        short_history: ShortHistory::Pad,
        ..place.options(&[file])
    };
    let check = move |input: &[u8]| {
        place.file(file, input);
        let result = PrepareTaobao::new(options.clone()).run(&());
        assert_eq!(place.names(), remains(file, result.is_ok()));
        if has_reference {
            let text = decode(input).filter(|text| !text.is_empty());
            let readable = text.is_some_and(|text| {
                reference::lines(&text).all(|line| reference::event(line).is_some())
            });
            assert!(readable || result.is_err(), "damage went unnoticed");
        }
        match result {
            Ok(_) => {
                PackedDataset::open(&options.out).unwrap().verify().unwrap();
                std::fs::remove_dir_all(&options.out).unwrap();
                true
            }
            Err(error) => {
                let message = error.to_string();
                let about_events = message.contains("event") || message.contains("user");
                assert!(message.contains(file) || about_events, "{message}");
                false
            }
        }
    };
    Target {
        name,
        seeds,
        executions: 60,
        check: Box::new(check),
    }
}

/// What a preparation leaves in its folder.
fn remains(file: &str, done: bool) -> Vec<String> {
    let out = done.then(|| "out".to_owned());
    [file.to_owned()].into_iter().chain(out).collect()
}
