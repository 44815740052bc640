"""Packed files: what comes out is what went in, and damage never goes unseen."""

from __future__ import annotations

import gzip
import random
import struct
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.packing import Packer, pack, unpacked

DAMAGED = (OSError, EOFError, ValueError, zlib.error)


def whole(data: bytes, block: int = 1000) -> bytes:
    return b"".join(unpacked(data, block))


@given(st.lists(st.binary(max_size=5000), max_size=20), st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_content_survives_in_pieces_of_any_size(pieces, block):
    packer = Packer()
    for piece in pieces:
        packer.write(piece)
    packed = packer.close()
    assert whole(packed, block) == b"".join(pieces)
    assert all(len(found) <= block for found in unpacked(packed, block))


def test_same_content_is_the_same_file():
    assert pack(b"content" * 1000) == pack(b"content" * 1000)


def test_gzip_is_read_too():
    assert whole(gzip.compress(b"content")) == b"content"


def test_a_file_is_zstandard_to_others():
    packed = pack(b"content" * 1000)
    trailer = struct.calcsize("<IIIQ")
    assert pa.Codec("zstd").decompress(packed[:-trailer], 7000, asbytes=True) == b"content" * 1000
    # RFC 8878, 3.1.2: a frame that decoders skip.
    assert packed[-trailer:][:8] == struct.pack("<II", 0x184D2A50, trailer - 8)


# The same in every process: pytest names tests by it.
CONTENT = random.Random(7).randbytes(300) + b"repeated" * 100
PACKED = pack(CONTENT)


@pytest.mark.parametrize("length", range(0, len(PACKED), 7))
def test_a_file_that_is_cut_off_is_damaged(length):
    with pytest.raises(DAMAGED):
        whole(PACKED[:length])


@pytest.mark.parametrize("damaged", [PACKED + b"junk", PACKED + PACKED, b"junk" + PACKED], ids=["behind", "twice", "before"])
def test_a_file_with_something_beside_it_is_damaged(damaged):
    with pytest.raises(DAMAGED):
        whole(damaged)


@pytest.mark.parametrize("at", range(0, len(PACKED), 3))
def test_a_flipped_byte_never_changes_the_content_unseen(at):
    damaged = PACKED[:at] + bytes([PACKED[at] ^ 0x55]) + PACKED[at + 1 :]
    try:
        assert whole(damaged) == CONTENT
    except DAMAGED:
        return
