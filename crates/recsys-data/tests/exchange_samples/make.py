"""Writes the samples in this folder with numpy and pyarrow: python make.py

Every array and every table holds the same rows, which tests/exchange_samples.rs makes up again.
"""

import csv
import os
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

os.chdir(os.path.dirname(os.path.abspath(__file__)))

ROWS = 14

# Arrays: label, three dense values, four ids.
rows = np.arange(ROWS)
y = (rows % 3 == 0).astype(np.int32)
x_int = np.stack([(rows * (column + 2)) % 7 * 10**column for column in range(3)], axis=1).astype(np.int32)
x_cat = np.stack([(rows * rows + column) % (column + 3) for column in range(4)], axis=1).astype(np.int32)
counts = np.arange(3, 7, dtype=np.int32)

np.savez("processed.npz", X_int=x_int, X_cat=x_cat, y=y, counts=counts)
np.savez_compressed(
    "compressed.npz", X_int=x_int.astype(np.int64), X_cat=x_cat.astype(np.int64), y=y, counts=counts.astype(np.int64)
)
np.savez("reordered.npz", X_int=x_int.astype(np.float64), X_cat=x_cat.astype(np.float64), y=y.astype(np.float64))
wide = np.zeros((ROWS * 2, 8), dtype=np.int32)
wide[::2, ::2] = x_cat
np.savez("not_contiguous.npz", X_int=x_int[::-1][::-1], X_cat=wide[::2, ::2], y=y, counts=counts)
np.savez("column_order.npz", X_int=x_int, X_cat=np.asfortranarray(x_cat), y=y, counts=counts)
np.savez("large_id.npz", X_int=x_int, X_cat=x_cat.astype(np.int64) + 2**40, y=y)
np.savez("multi_hot.npz", **{str(table): x_cat for table in range(2)})

np.save("day_0_dense.npy", np.log(x_int + 1).astype(np.float32))
np.save("day_0_sparse.npy", x_cat)
np.save("day_0_labels.npy", y.reshape(-1, 1))

columns = [y.reshape(-1, 1), *[x_int] * 4, x_int[:, :1], *[x_cat] * 6, x_cat[:, :2]]
np.concatenate(columns, axis=1).astype("<i4").tofile("mlperf.bin")

# Tables: every type that is read, with missing values and lists.
users = [2**40 + int(row) % 4 for row in rows]
prices = [None if row % 5 == 4 else float(row) / 4 for row in rows]
ages = [int(row) * 3 % 11 for row in rows]
shops = [None if row % 7 == 6 else ["Grüße", 'a "b"; c', "kiosk"][row % 3] for row in rows]
hashes = [f"{int(row) % 5 * 0x0BADCAFE & 0xFFFFFFFF:08x}" for row in rows]
tags = [[f"t{tag}" for tag in range(int(row) % 4)] for row in rows]
numbers = [None if row % 6 == 5 else [int(row) % 3, 7] for row in rows]
clicked = [bool(label) for label in y]
unused = [float(row) for row in rows]


def table(text, lists, label, age, dictionary):
    shop = pa.array(shops, text)
    return pa.table(
        {
            "unused": pa.array(unused),
            "shop": shop.dictionary_encode() if dictionary else shop,
            "clicked": pa.array(clicked if label == pa.bool_() else [int(label) for label in y], label),
            "price": pa.array(prices, pa.float64()),
            "user": pa.array(users, pa.int64()),
            "age": pa.array(ages, age),
            "hash": pa.array(hashes, text),
            "tags": pa.array(tags, lists(text)),
            "numbers": pa.array(numbers, lists(pa.int32())),
        }
    )


plain = table(pa.string(), pa.list_, pa.bool_(), pa.int32(), True)
large = table(pa.large_string(), pa.large_list, pa.int8(), pa.uint16(), False)
pa.parquet.write_table(plain, "snappy.parquet", compression="snappy", row_group_size=5)
pa.parquet.write_table(large, "zstd.parquet", compression="zstd", use_dictionary=False)
pa.parquet.write_table(large, "plain.parquet", compression="none")
with pa.ipc.new_file("batches.arrow", plain.schema) as writer:
    writer.write_table(plain, max_chunksize=4)
pa.feather.write_feather(large, "lz4.feather", compression="lz4")
pa.feather.write_feather(plain, "zstd.feather", compression="zstd")


# Types that other programs write: truth values, bytes, halves, decimals, numbers as texts.
kinds = pa.table(
    {
        "clicked": pa.array(["TRUE" if label else "false" for label in y]),
        "price": pa.array([None if price is None else Decimal(price).quantize(Decimal("0.01")) for price in prices], pa.decimal128(12, 2)),
        "age": pa.array(np.array(ages, dtype=np.float16)),
        "width": pa.array(["" if row % 4 == 3 else f" {row}.5" for row in rows]),
        "user": pa.array([float("nan") if row % 5 == 4 else float(row) for row in rows], pa.float64()),
        "account": pa.array([Decimal(2**63 + int(row) % 3) for row in rows], pa.decimal128(20, 0)),
        "member": pa.array([row % 2 == 1 for row in rows]),
        "shop": pa.array([None if row % 7 == 6 else [b"kiosk", b"\xff\x00", b"a\\b"][row % 3] for row in rows], pa.binary()),
        "hash": pa.array([bytes([row % 3, 255]) for row in rows], pa.binary(2)),
        "page": pa.array([str(row % 4) for row in rows]),
        "tags": pa.array([[] for _ in rows], pa.list_(pa.null())),
    }
)
pa.parquet.write_table(kinds.drop_columns("tags"), "kinds.parquet", compression="lz4", version="2.6")
pa.parquet.write_table(
    kinds.drop_columns("tags"),
    "delta.parquet",
    compression="zstd",
    use_dictionary=False,
    data_page_version="2.0",
    column_encoding={"clicked": "DELTA_BYTE_ARRAY", "width": "DELTA_LENGTH_BYTE_ARRAY", "page": "DELTA_BYTE_ARRAY"},
)
with pa.ipc.new_stream("stream.arrow", kinds.schema) as writer:
    writer.write_table(kinds, max_chunksize=6)
pa.feather.write_feather(kinds, "kinds.feather", compression="lz4")


def text(value):
    return "NA" if value is None else str(value)


with open("table.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, delimiter=";")
    writer.writerow(plain.column_names)
    for row in range(ROWS):
        lists = ["|".join(tags[row]), "NA" if numbers[row] is None else "|".join(map(str, numbers[row]))]
        fields = [unused[row], shops[row], int(clicked[row]), prices[row], users[row], ages[row], hashes[row]]
        writer.writerow([text(field) for field in fields] + lists)
