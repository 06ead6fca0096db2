//! Orders that events allow and do not allow.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use super::*;

fn settings(seed: u64) -> Settings {
    Settings {
        seed,
        devices: 1,
        memory: 1 << 20,
        launches: 0,
        races: true,
        report: false,
    }
}

fn bytes(machine: &Machine, address: u64, count: usize) -> Vec<u8> {
    assert!(machine.memory.holds(address, count));
    // SAFETY: checked above.
    unsafe { std::slice::from_raw_parts(address as *const u8, count).to_vec() }
}

fn copy(from: u64, into: u64) -> Work {
    Work::Copy {
        from: Source::Address(from),
        into,
        bytes: 64,
    }
}

/// A copy to the device on one stream and back on another, which waits for the first or does not. Whether the bytes come through.
fn there_and_back(seed: u64, waits: bool) -> bool {
    let mut machine = Machine::new(settings(seed));
    let [there, back] = [0; 2].map(|_| machine.make_stream(0).unwrap());
    let event = machine.make_event().unwrap();
    let host = [0; 2].map(|_| machine.allocate_pinned(64).unwrap());
    let device = machine.allocate(64, 0, None).unwrap();
    let fill = Work::Fill {
        into: host[0],
        bytes: 64,
        value: 7,
    };
    machine.ask(there, fill).unwrap();
    machine.ask(there, copy(host[0], device)).unwrap();
    machine.record(event, there).unwrap();
    if waits {
        machine.wait(back, event).unwrap();
    }
    machine.ask(back, copy(device, host[1])).unwrap();
    machine.finish(back).unwrap();
    bytes(&machine, host[1], 64) == [7; 64]
}

#[test]
fn events_order_streams_and_a_missing_one_is_found() {
    assert!((0..200).all(|seed| there_and_back(seed, true)));
    let right = (0..200).filter(|&seed| there_and_back(seed, false)).count();
    assert!((20..180).contains(&right), "{right} of 200");
}

#[test]
fn the_host_waits_for_events_and_sees_what_was_before_them() {
    for seed in 0..50 {
        let mut machine = Machine::new(settings(seed));
        let stream = machine.make_stream(0).unwrap();
        let event = machine.make_event().unwrap();
        let device = machine.allocate(64, 0, Some(stream)).unwrap();
        let host = machine.allocate_pinned(64).unwrap();
        let fill = Work::Fill {
            into: device,
            bytes: 64,
            value: 9,
        };
        machine.ask(stream, fill).unwrap();
        machine.ask(stream, copy(device, host)).unwrap();
        machine.record(event, stream).unwrap();
        machine.ask(stream, Work::Free { address: device }).unwrap();
        if seed % 2 == 0 {
            machine.wait_for_event(event).unwrap();
        } else {
            while !machine.query(event).unwrap() {}
        }
        assert_eq!(bytes(&machine, host, 64), [9; 64]);
        machine.finish_all().unwrap();
        assert_eq!(machine.memory.used(0), 0);
    }
}

#[test]
fn what_is_staged_is_taken_at_once() {
    let mut machine = Machine::new(settings(1));
    let stream = machine.make_stream(0).unwrap();
    let device = machine.allocate(4, 0, None).unwrap();
    let from = Source::Staged(Arc::from([1u8, 2, 3, 4]));
    let (into, bytes_) = (device, 4);
    let work = Work::Copy {
        from,
        into,
        bytes: bytes_,
    };
    machine.ask(stream, work).unwrap();
    machine.finish(stream).unwrap();
    assert_eq!(bytes(&machine, device, 4), [1, 2, 3, 4]);
}

#[test]
fn memory_that_was_freed_is_not_read() {
    let mut machine = Machine::new(settings(1));
    let stream = machine.make_stream(0).unwrap();
    let [from, into] = [0; 2].map(|_| machine.allocate(64, 0, None).unwrap());
    machine.free(from).unwrap();
    let asked = machine.ask(stream, copy(from, into));
    assert_eq!(
        asked.and_then(|()| machine.finish(stream)),
        Err(Status::IllegalAddress)
    );
    // From then on nothing works.
    assert_eq!(machine.allocate(1, 0, None), Err(Status::IllegalAddress));
}

#[test]
fn memory_is_limited_and_comes_back() {
    let mut machine = Machine::new(settings(1));
    let all = machine.allocate(1 << 20, 0, None).unwrap();
    assert_eq!(machine.allocate(1, 0, None), Err(Status::OutOfMemory));
    machine.free(all).unwrap();
    machine.allocate(1, 0, None).unwrap();
}

#[test]
fn recordings_are_repeated_and_nothing_else_is_done_meanwhile() {
    let mut machine = Machine::new(settings(1));
    let stream = machine.make_stream(0).unwrap();
    let event = machine.make_event().unwrap();
    let [from, into] = [0; 2].map(|_| machine.allocate(64, 0, None).unwrap());
    machine.begin_recording(stream).unwrap();
    machine.ask(stream, copy(from, into)).unwrap();
    let refused = [
        machine.allocate(1, 0, Some(stream)).map(drop),
        machine.allocate_pinned(1).map(drop),
        machine.ask(stream, Work::Free { address: from }),
        machine.record(event, stream),
        machine.finish(stream),
    ];
    assert_eq!(refused, [Err(Status::CaptureUnsupported); 5]);
    let graph = machine.end_recording(stream).unwrap();
    for value in [3, 4] {
        let fill = Work::Fill {
            into: from,
            bytes: 64,
            value,
        };
        machine.ask(stream, fill).unwrap();
        machine.repeat(graph, stream).unwrap();
        machine.finish(stream).unwrap();
        assert_eq!(bytes(&machine, into, 64), [value; 64]);
    }
}

#[test]
fn sums_over_streams_are_of_what_was_there_before() {
    for seed in 0..100 {
        let mut machine = Machine::new(settings(seed));
        let parts: Vec<_> = (1..4u8)
            .map(|value| {
                let stream = machine.make_stream(0).unwrap();
                let [values, sums] = [0; 2].map(|_| machine.allocate(64, 0, None).unwrap());
                let fill = Work::Fill {
                    into: values,
                    bytes: 64,
                    value,
                };
                machine.ask(stream, fill).unwrap();
                let into = if seed % 2 == 0 { values } else { sums };
                Collective {
                    from: values,
                    into,
                    count: 16,
                    stream,
                }
            })
            .collect();
        machine.sum(&parts).unwrap();
        let float = |byte: u8| f32::from_ne_bytes([byte; 4]);
        let expected = float(1) + float(2) + float(3);
        for part in parts {
            machine.finish(part.stream).unwrap();
            let found = bytes(&machine, part.into, 64);
            assert_eq!(found, expected.to_ne_bytes().repeat(16), "seed {seed}");
        }
    }
}

#[test]
fn products_are_those_of_plain_loops() {
    use crate::gemm::Matrix;

    let mut machine = Machine::new(settings(1));
    let (rows, columns, depth, batch) = (3, 5, 4, 2);
    for transposed in [(false, false), (true, false), (false, true), (true, true)] {
        let mut values = |count: usize| {
            let address = machine.allocate(4 * count, 0, None).unwrap();
            for at in 0..count {
                // SAFETY: there is room for so many floats.
                unsafe {
                    (address as *mut f32)
                        .add(at)
                        .write((at * 7 % 11) as f32 - 5.0)
                };
            }
            address
        };
        let matrix = |address, (rows, columns), transposed| Matrix {
            address,
            stride: if transposed { columns } else { rows },
            next: rows * columns,
            transposed,
        };
        let product = Product {
            rows,
            columns,
            depth,
            batch,
            alpha: 2.0,
            beta: 0.5,
            a: matrix(values(batch * rows * depth), (rows, depth), transposed.0),
            b: matrix(
                values(batch * depth * columns),
                (depth, columns),
                transposed.1,
            ),
            c: matrix(values(batch * rows * columns), (rows, columns), false),
        };
        let read = |matrix: Matrix, turn, row, column| {
            let (row, column) = match matrix.transposed {
                true => (column, row),
                false => (row, column),
            };
            let at = turn * matrix.next + column * matrix.stride + row;
            // SAFETY: within the matrix, which was filled above.
            unsafe { (matrix.address as *const f32).add(at).read() }
        };
        let expected = |turn, row, column| {
            let products = (0..depth)
                .map(|k| read(product.a, turn, row, k) * read(product.b, turn, k, column));
            2.0 * products.sum::<f32>() + 0.5 * read(product.c, turn, row, column)
        };
        let all = (0..batch)
            .flat_map(|turn| (0..columns).map(move |column| (turn, column)))
            .flat_map(|(turn, column)| (0..rows).map(move |row| (turn, row, column)));
        let all: Vec<_> = all.collect();
        let expected: Vec<f32> = all.iter().map(|&(t, r, c)| expected(t, r, c)).collect();
        product.run(&machine.memory).unwrap();
        let found: Vec<f32> = all
            .iter()
            .map(|&(t, r, c)| read(product.c, t, r, c))
            .collect();
        assert_eq!(found, expected);
    }
}
