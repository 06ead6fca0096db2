//! Bad input: the message names file, line, column and remedy, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod taobao_text;

use std::io::Write;

use recsys_data::Error;
use recsys_data::packed::Error as PackedError;
use recsys_data::taobao::Error as TaobaoError;
use recsys_data::taobao::{
    Duplicates, OutOfRange, PointsPerUser, PrepareOptions, SequenceRules, SequenceSplit,
    ShortHistory,
};
use recsys_data::text::BadRows;
use recsys_data::text::Error as TextError;
use taobao_text::{Workplace, contents, event, events, prepare, zip};

/// Prepares one file that must be refused; returns the message, after a look that nothing was left.
fn refusal_with(name: &str, content: impl AsRef<[u8]>, options: PrepareOptions) -> String {
    let place = Workplace::new();
    place.file(name, content);
    let options = PrepareOptions {
        raw: vec![place.path(name)],
        out: place.path("out"),
        ..options
    };
    let error = prepare(&options).expect_err("bad input was taken");
    assert_eq!(place.names(), [name], "something was left behind");
    error.to_string()
}

fn refusal(name: &str, content: impl AsRef<[u8]>) -> String {
    let message = refusal_with(name, content, PrepareOptions::default());
    assert!(message.contains(name), "the file is not named: {message}");
    message
}

/// 900 good events with `line` as line 21.
fn with_line(line: &[u8]) -> Vec<u8> {
    let text = events(900);
    let at = text.match_indices('\n').nth(19).unwrap().0 + 1;
    let (before, after) = text.as_bytes().split_at(at);
    [before, line, b"\n", after].concat()
}

#[test]
fn bad_fields_are_named_with_line_column_text_and_remedy() {
    let cases: [(&str, &str); 9] = [
        (
            "x,2,3,pv,4",
            "user (field 1) is \"x\", which is no decimal number",
        ),
        ("1,-2,3,pv,4", "item (field 2) is \"-2\""),
        (
            "1,4294967296,3,pv,4",
            "item (field 2) is \"4294967296\", which is beyond 4294967295",
        ),
        ("1,2,99999999999999999999,pv,4", "category (field 3) is"),
        ("1,2,,pv,4", "category (field 3) is \"\""),
        (
            "1,2,3,PV,4",
            "behaviour (field 4) is \"PV\" instead of pv, cart, fav or buy",
        ),
        (
            "1,2,3,pv,1.5",
            "time (field 5) is \"1.5\", which is no decimal integer",
        ),
        (
            "1,2,3,pv,2147483648",
            "time (field 5) is \"2147483648\", which does not fit",
        ),
        ("1,2,3,buy,-2147483649", "time (field 5) is \"-2147483649\""),
    ];
    for (line, expected) in cases {
        let message = refusal("events.csv", with_line(line.as_bytes()));
        assert!(
            message.contains("line 21: ") && message.contains(expected),
            "{message}"
        );
        assert!(message.contains("BadRows::Skip"), "{message}");
    }
}

#[test]
fn bad_lines_are_named_with_their_number() {
    let cases: [(&[u8], &str); 8] = [
        (b"1,2,3,pv", "4 fields separated by commas instead of 5"),
        (b"1,2,3,pv,4,", "6 fields"),
        (
            b"user,item,category,behaviour,time",
            "user (field 1) is \"user\"",
        ),
        (b"", "the line is empty"),
        (b"1,2,3,pv,4\0", "NUL byte at byte 11"),
        (b"1,2,3,\xff,4", "no UTF-8"),
        (b"1,2,3\r,pv,4", "carriage return"),
        (&[b'1'; 2 << 20], "longer than 1048576 bytes"),
    ];
    for (line, expected) in cases {
        let message = refusal("events.csv", with_line(line));
        assert!(
            message.contains("line 21: ") && message.contains(expected),
            "{message}"
        );
        assert!(message.len() < 600, "{message}");
    }
    let rubbish: Vec<u8> = (0..50_000u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    assert!(refusal("rubbish.csv", rubbish).contains("line 1: "));
}

#[test]
fn an_item_in_two_categories_is_named_with_both() {
    let first = event(0);
    let fields: Vec<&str> = first.split(',').collect();
    let line = format!("1,{},77,pv,5", fields[1]);
    let message = refusal("events.csv", with_line(line.as_bytes()));
    let expected = format!(
        "line 21: item {} (field 2) has category 77 (field 3) here and category {} on a line before",
        fields[1], fields[2]
    );
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn times_out_of_range_are_bad_rows_on_demand() {
    let options = PrepareOptions {
        out_of_range: OutOfRange::Bad,
        ..PrepareOptions::default()
    };
    for time in ["1511539199", "1512316800", "-2134949234", "2037766482"] {
        let line = format!("1,2,3,pv,{time}");
        let message = refusal_with("events.csv", with_line(line.as_bytes()), options.clone());
        let expected = format!(
            "line 21: time (field 5) is {time}, which lies outside 1511539200 to 1512316799"
        );
        assert!(message.contains(&expected), "{message}");
        assert!(message.contains("OutOfRange::Keep"), "{message}");
        // The first bad line is reported, whatever is wrong with it.
        let both = [with_line(line.as_bytes()), b"x\n".to_vec()].concat();
        let message = refusal_with("events.csv", both, options.clone());
        assert!(message.contains("line 21: "), "{message}");
        let both = [b"x\n".to_vec(), with_line(line.as_bytes())].concat();
        let message = refusal_with("events.csv", both, options.clone());
        assert!(message.contains("line 1: "), "{message}");
    }
}

#[test]
fn an_event_that_occurs_twice_is_bad_on_demand() {
    let place = Workplace::new();
    let text = events(900);
    let line = event(7);
    place.file("once.csv", &text);
    place.file("twice.csv", format!("{text}{line}\n{line}\n"));
    let options = |raw: &str, duplicates, bad_rows| PrepareOptions {
        duplicates,
        bad_rows,
        ..place.options(&[raw])
    };
    let once = prepare(&options("once.csv", Duplicates::Keep, BadRows::Error)).unwrap();
    let expected = contents(&place.path("out"));
    let kept = prepare(&options("twice.csv", Duplicates::Keep, BadRows::Error)).unwrap();
    assert_eq!(once.duplicates, 0, "the made-up log has duplicates");
    assert_eq!((kept.events, kept.duplicates), (902, 2));
    let dropped = prepare(&options("twice.csv", Duplicates::Bad, BadRows::Skip)).unwrap();
    assert_eq!((dropped.events, dropped.duplicates), (900, 2));
    assert_eq!(dropped.behaviours, once.behaviours);
    for (file, content) in contents(&place.path("out")) {
        let (_, expected) = expected.iter().find(|(name, _)| *name == file).unwrap();
        assert!(
            file.ends_with("dataset.json") || content == *expected,
            "{file:?}"
        );
    }
    let error = prepare(&options("twice.csv", Duplicates::Bad, BadRows::Error)).unwrap_err();
    assert!(
        matches!(&error, Error::Taobao(TaobaoError::DuplicateEvent { event }) if *event == line),
        "{error}"
    );
    assert!(error.to_string().contains("Duplicates::Keep"), "{error}");
}

#[test]
fn a_user_who_touched_everything_is_an_error_and_no_endless_search() {
    let text: String = (0..60)
        .map(|index| format!("{},{},0,pv,{index}\n", index % 2, index % 5))
        .collect();
    for rules in [SequenceRules::Windows, SequenceRules::Reference] {
        let options = PrepareOptions {
            rules,
            ..PrepareOptions::default()
        };
        let message = refusal_with("events.csv", &text, options);
        assert!(
            message.contains("user 0 touched all 5 items")
                || message.contains("user 1 touched all 5 items"),
            "{message}"
        );
    }
}

#[test]
fn too_short_histories_are_named_with_the_remedy() {
    let text: String = (0..40)
        .map(|index| format!("{},{index},0,pv,{index}\n", index % 2))
        .collect();
    let message = refusal_with("events.csv", &text, PrepareOptions::default());
    assert!(
        message.contains("none of the 2 users has the 21 events")
            && message.contains("ShortHistory::Pad"),
        "{message}"
    );
    let single = "1,2,3,pv,4\n2,3,3,pv,4\n";
    let padding = PrepareOptions {
        short_history: ShortHistory::Pad,
        ..PrepareOptions::default()
    };
    assert!(refusal_with("events.csv", single, padding).contains("the 2 events"));
}

#[test]
fn archives_hold_one_whole_file() {
    let text = events(900);
    let two = zip(&[("a.csv", text.as_bytes()), ("b.csv", b"")], true);
    let message = refusal("two.zip", two);
    assert!(message.contains("2 files (a.csv, b.csv)"), "{message}");
    assert!(refusal("none.zip", zip(&[], true)).contains("no file"));
    for deflate in [false, true] {
        let whole = zip(&[("a.csv", text.as_bytes())], deflate);
        for cut in [10, whole.len() / 2, whole.len() - 1] {
            let message = refusal("cut.zip", &whole[..cut]);
            assert!(message.contains("cut off or damaged"), "{message}");
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x55;
        let message = refusal("damaged.zip", damaged);
        assert!(
            message.contains("zip") && message.contains("damaged") || message.contains("line "),
            "{message}"
        );
    }
    let mut method = zip(&[("a.csv", text.as_bytes())], false);
    let directory = method
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    method[8] = 12;
    method[directory + 10] = 12;
    assert!(refusal("bzip.zip", method).contains("only stored and deflated"));
}

#[test]
fn streams_that_are_cut_off_are_told_from_bad_rows() {
    let text = events(20_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstandard = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, stream) in [("events.csv.gz", gzip), ("events.csv.zst", zstandard)] {
        let message = refusal(name, &stream[..stream.len() / 2]);
        assert!(
            message.contains("cut off") && message.contains("line "),
            "{message}"
        );
    }
    let message = refusal("events.csv.gz", &text);
    assert!(
        message.contains("uncompressed by its content and gzip"),
        "{message}"
    );
    assert!(refusal("empty.csv", "").contains("is empty"));
    let empty = zip(&[("a.csv", b"")], false);
    assert!(refusal("empty.zip", empty).contains("is empty"));
}

#[test]
fn outputs_that_hold_something_and_options_without_meaning_are_refused() {
    let place = Workplace::new();
    place.file("events.csv", events(900));
    let options = PrepareOptions {
        force: false,
        ..place.options(&["events.csv"])
    };
    std::fs::create_dir(&options.out).unwrap();
    std::fs::write(options.out.join("mine"), "precious").unwrap();
    assert!(matches!(
        prepare(&options),
        Err(Error::Packed(PackedError::OutputExists { .. }))
    ));
    let forced = PrepareOptions {
        force: true,
        ..options.clone()
    };
    assert!(matches!(
        prepare(&forced),
        Err(Error::Packed(PackedError::NotReplaceable { .. }))
    ));
    let around = PrepareOptions {
        out: place.path(""),
        ..forced
    };
    assert!(matches!(
        prepare(&around),
        Err(Error::Text(TextError::OutputHoldsSource { .. }))
    ));
    let reference = PrepareOptions {
        rules: SequenceRules::Reference,
        ..options.clone()
    };
    for bad in [
        PrepareOptions {
            raw: Vec::new(),
            ..options.clone()
        },
        PrepareOptions {
            history: 0,
            ..options.clone()
        },
        PrepareOptions {
            validation: 0.5,
            test: 0.5,
            ..options.clone()
        },
        PrepareOptions {
            test: f64::NAN,
            ..options.clone()
        },
        PrepareOptions {
            validation: -0.1,
            ..options.clone()
        },
        PrepareOptions {
            points_per_user: PointsPerUser::Most(0),
            ..options.clone()
        },
        PrepareOptions {
            from: 5,
            until: 5,
            ..options.clone()
        },
        PrepareOptions {
            memory: 0,
            ..options.clone()
        },
        PrepareOptions {
            shard_rows: 0,
            ..options.clone()
        },
        PrepareOptions {
            split: SequenceSplit::Time,
            ..reference.clone()
        },
        PrepareOptions {
            history: 10,
            ..reference.clone()
        },
        PrepareOptions {
            train_users: 0,
            ..reference.clone()
        },
        PrepareOptions {
            points_per_user: PointsPerUser::All,
            ..reference
        },
    ] {
        let outcome = prepare(&bad);
        assert!(
            matches!(outcome, Err(Error::InvalidOption { .. })),
            "{bad:?}: {outcome:?}"
        );
    }
}
