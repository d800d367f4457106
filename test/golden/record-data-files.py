"""Records Parquet and Zstandard files with the rows they hold, for data-files.test.ts.

Reference: pyarrow 26.0.1 (Apache Arrow C++), its Parquet writer and its Zstandard codec.
Run from the repository's root: python test/golden/record-data-files.py
"""

import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent / "data" / "files"
folder.mkdir(parents=True, exist_ok=True)

assert pa.__version__ == "26.0.1", pa.__version__


def message(role, content, name=None):
    return {"role": role, "content": content, "name": name}


rows = []
for i in range(60):
    rows.append(
        {
            "prompt": [message("user", f"Question {i % 7}: wie heißt das? 東京 {'x' * (i % 5)}")],
            "chosen": [message("assistant", f"Answer {i}", "bot" if i % 3 == 0 else None)]
            * (1 + i % 3),
            "rejected": [message("assistant", "No.")],
            "source": ["web", "book", None][i % 3],
            "score": None if i % 4 == 1 else i / 8,
            "rank": i * 3 - 50,
            "big": 2**53 + 1 + i if i % 2 else i,
            "safe": i % 5 != 0,
            "tags": [] if i % 4 == 0 else [f"t{j}" for j in range(i % 4)],
            "empty": None,
            "info": {"model": f"m{i % 2}", "parts": [1, None, i]} if i % 6 else None,
        }
    )

schema = pa.schema(
    [
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.string())]))),
        ("chosen", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.string())]))),
        ("rejected", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("name", pa.string())]))),
        ("source", pa.string()),
        ("score", pa.float64()),
        ("rank", pa.int32()),
        ("big", pa.int64()),
        ("safe", pa.bool_()),
        ("tags", pa.list_(pa.string())),
        ("empty", pa.string()),
        ("info", pa.struct([("model", pa.string()), ("parts", pa.list_(pa.int64()))])),
    ]
)
table = pa.Table.from_pylist(rows, schema)

variants = {
    "snappy": dict(compression="snappy", row_group_size=25),
    "zstd-v2": dict(compression="zstd", data_page_version="2.0", row_group_size=60, data_page_size=200),
    "gzip-plain": dict(compression="gzip", use_dictionary=False, data_page_size=128),
    "brotli": dict(compression="brotli", row_group_size=31),
    "lz4": dict(compression="lz4"),
    "none-delta": dict(
        compression="none",
        use_dictionary=False,
        data_page_version="2.0",
        column_encoding={
            "source": "DELTA_BYTE_ARRAY",
            "rank": "DELTA_BINARY_PACKED",
            "big": "DELTA_BINARY_PACKED",
            "score": "BYTE_STREAM_SPLIT",
            "prompt.list.element.content": "DELTA_LENGTH_BYTE_ARRAY",
        },
    ),
}
# With checksums of their pages, dictionaries among them.
variants["checksums"] = dict(compression="none", row_group_size=35, data_page_size=150, write_page_checksum=True)
variants["checksums-v2"] = dict(compression="snappy", data_page_version="2.0", write_page_checksum=True)
for name, options in variants.items():
    pq.write_table(table, folder / f"{name}.parquet", **options)

# Small ones to mutate: test/fuzz/data-files.test.ts.
small = table.slice(0, 6).select(["prompt", "source", "score", "safe", "tags"])
pq.write_table(small, folder / "small-snappy.parquet", compression="snappy", store_schema=False, row_group_size=4)
pq.write_table(
    small,
    folder / "small-zstd.parquet",
    compression="zstd",
    store_schema=False,
    data_page_version="2.0",
    use_dictionary=False,
    column_encoding={"source": "DELTA_BYTE_ARRAY", "prompt.list.element.content": "DELTA_LENGTH_BYTE_ARRAY"},
)


def without_nulls(value):
    if isinstance(value, list):
        return [without_nulls(entry) for entry in value]
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return value


def as_heed(row):
    row = without_nulls(row)
    # Beyond the integers that a double holds exactly, as text.
    return {**row, "big": row["big"] if row["big"] < 2**53 else str(row["big"])}


(folder / "rows.json").write_text(json.dumps([as_heed(row) for row in rows], ensure_ascii=False) + "\n")

lines = "".join(json.dumps(as_heed(row), ensure_ascii=False) + "\n" for row in rows).encode()
(folder / "small.jsonl").write_text("".join(line + "\n" for line in lines.decode().split("\n")[:3]))
half = len(lines) // 2
codec = pa.Codec("zstd")
# Two frames, cut within a line.
parts = [codec.compress(part, asbytes=True) for part in (lines[:half], lines[half:])]
(folder / "rows.jsonl.zst").write_bytes(b"".join(parts))
