from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_core.data.formats.rlds.example import parse_example
from genie_core.data.formats.rlds.tfrecord import index_records, masked_crc
from genie_core.errors import DatasetError
from tests.factories.rlds import crc32c, encode_example, frame_record

records = st.lists(st.binary(max_size=300), max_size=6)
floats = st.lists(st.floats(width=32, allow_nan=False), max_size=9)
ints = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9)
examples = st.dictionaries(
    st.text(max_size=12), st.lists(st.binary(max_size=40), max_size=5) | floats | ints, min_size=1
)


def write(data: bytes) -> Path:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    return Path(file.name)


def read(path: Path) -> tuple[list[bytes | None], str | None]:
    """Each record that is found, None in place of a damaged one, and what stopped the search."""
    index = index_records(path)
    found: list[bytes | None] = []
    for number in range(len(index)):
        try:
            found.append(index.read(number))
        except DatasetError:
            found.append(None)
    return found, index.damage


def test_the_checksum_is_crc_32c_masked() -> None:
    # The check value of CRC-32C, and what TensorFlow's crc32c_test.cc has for 32 bytes of zeros.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


@settings(max_examples=50)
@given(records)
def test_records_come_back_as_they_were_written(written: list[bytes]) -> None:
    path = write(b"".join(map(frame_record, written)))
    try:
        assert read(path) == (written, None)
    finally:
        path.unlink()


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.data())
def test_no_changed_bit_goes_unnoticed(written: list[bytes], data: st.DataObject) -> None:
    content = bytearray(b"".join(map(frame_record, written)))
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    path = write(bytes(content))
    try:
        found, damage = read(path)
        assert all(was in (None, wrote) for was, wrote in zip(found, written, strict=False))
        assert (None in found) != (damage is not None and len(found) < len(written))
    finally:
        path.unlink()


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.data())
def test_a_file_that_is_cut_off_keeps_the_records_before(written: list[bytes], data: st.DataObject) -> None:
    framed = [frame_record(record) for record in written]
    cut = data.draw(st.integers(0, len(b"".join(framed))))
    ends = np.cumsum([len(record) for record in framed])
    whole = int(np.searchsorted(ends, cut, side="right"))
    path = write(b"".join(framed)[:cut])
    try:
        found, damage = read(path)
        assert found == written[:whole]
        assert (damage is None) == (cut in (0, *ends))
        if damage:
            assert f"{path}: record {whole}, at byte " in damage
            assert "the file is truncated" in damage
    finally:
        path.unlink()


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(frame_record(b"abc"))
    index = index_records(path)
    with pytest.raises(DatasetError, match="no record 1, the file holds 1"):
        index.read(1)
    path.write_bytes(frame_record(b"abc")[:-2])
    with pytest.raises(DatasetError, match="record 0: the file has become shorter"):
        index.read(0)
    path.unlink()
    with pytest.raises(DatasetError, match="record 0: No such file or directory"):
        index.read(0)
    with pytest.raises(DatasetError, match="No such file or directory"):
        index_records(path)


@settings(max_examples=100)
@given(examples)
def test_an_example_comes_back_as_it_was_written(written: dict[str, list[bytes] | list[float] | list[int]]) -> None:
    assert {name: list(held) for name, held in parse_example(encode_example(written)).items()} == written


@given(st.binary(max_size=200))
def test_strange_bytes_are_an_example_or_refused(data: bytes) -> None:
    problem = None
    try:
        assert parse_example(data)
    except DatasetError as error:
        problem = str(error)
    assert problem is None or "tf.train.Example" in problem


def test_what_is_no_example_is_told() -> None:
    with pytest.raises(DatasetError, match=r"got a tf\.SequenceExample, expected a tf\.train\.Example"):
        parse_example(encode_example({"steps": [1]}) + encode_example({"image": [b"x"]}, field=2))
    with pytest.raises(DatasetError, match=r"got 0 bytes without a single feature"):
        parse_example(b"")
    with pytest.raises(DatasetError, match=r"got 9 bytes that are no tf\.train\.Example"):
        parse_example(b"\xff" * 9)
