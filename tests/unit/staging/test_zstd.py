"""Packed files: what comes out is what went in, and damage never goes unseen."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tracemalloc
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.staging.zstd import Packer, pack, unpacked

DAMAGED = (OSError, EOFError, ValueError, zlib.error)


def whole(data: bytes, block: int = 1000) -> bytes:
    return b"".join(unpacked(data, block))


@given(
    st.lists(st.binary(max_size=5000) | st.none(), max_size=20), st.integers(1, 3000), st.sampled_from([1, 3000, 10**6])
)
@settings(max_examples=200, deadline=None)
def test_content_survives_in_pieces_of_any_size(pieces, block, frame):
    """A piece, or None for the end of a frame."""
    packer = Packer(frame)
    for piece in pieces:
        if piece is None:
            packer.end_frame()
        else:
            packer.write(piece)
    held = packer.held_bytes
    packed = packer.close()
    pieces = [piece for piece in pieces if piece is not None]
    assert packer.length == sum(map(len, pieces))
    # Not more than is written, apart from what a frame of bytes that do not compress takes.
    assert held <= sum(map(len, pieces)) + 20 * len(pieces)
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
    assert packed[-trailer:][:8] == struct.pack("<II", 0x184D2A51, trailer - 8)


def test_what_was_there_nearly_a_megabyte_before_is_found_again():
    """A tenant's plugins come to more than half a megabyte, which is as far as the fastest level looks back."""
    twice = random.Random(7).randbytes(950_000) * 2
    assert len(pack(twice)) < 1_000_000
    packer = Packer()
    for start in range(0, len(twice), 100_000):
        packer.write(twice[start : start + 100_000])
    assert packer.held_bytes == len(twice)
    assert len(packer.close()) < 1_000_000


def frames_of(pieces: list[bytes]) -> list[bytes]:
    """Each piece as a frame, and the end of a file with all of them."""
    packer = Packer()
    for piece in pieces:
        packer.write(piece)
        packer.end_frame()
    packed, frames = packer.close(), [pack(piece)[:-20] for piece in pieces]
    assert packed[:-20] == b"".join(frames)
    return [*frames, packed[-20:]]


def test_frames_follow_one_another_and_none_may_be_missing_or_moved():
    pieces = [random.Random(number).randbytes(3000) for number in range(3)]
    first, second, third, end = frames_of(pieces)
    assert whole(first + second + third + end) == b"".join(pieces)
    for damaged in (
        second + third,
        first + third,
        first + second,
        second + first + third,
        first * 2 + third,
        first + second + third[:-1],
        first + second[:-1] + third,
    ):
        with pytest.raises(DAMAGED):
            whole(damaged + end)


# The same in every process: pytest names tests by it.
CONTENT = random.Random(7).randbytes(300) + b"repeated" * 100
PACKED = pack(CONTENT)
#: The same from an earlier release: with the CRC of the content.
EARLIER = PACKED[:-20] + struct.pack("<IIIQ", 0x184D2A50, 12, zlib.crc32(CONTENT), len(CONTENT))


def test_files_of_earlier_releases_are_read():
    assert whole(EARLIER) == CONTENT
    with pytest.raises(DAMAGED, match="checksum"):
        whole(EARLIER[:-12] + bytes(4) + EARLIER[-8:])


def test_the_checksum_is_that_of_the_compressed_bytes():
    assert PACKED[-12:-8] == struct.pack("<I", zlib.crc32(PACKED[:-20]))
    with pytest.raises(DAMAGED, match="checksum"):
        whole(PACKED[:-12] + bytes(4) + PACKED[-8:])


@pytest.mark.parametrize("length", range(0, len(PACKED), 7))
def test_a_file_that_is_cut_off_is_damaged(length):
    with pytest.raises(DAMAGED):
        whole(PACKED[:length])


@pytest.mark.parametrize(
    "damaged", [PACKED + b"junk", PACKED + PACKED, b"junk" + PACKED], ids=["behind", "twice", "before"]
)
def test_a_file_with_something_beside_it_is_damaged(damaged):
    with pytest.raises(DAMAGED):
        whole(damaged)


@pytest.mark.parametrize("packed", [PACKED, EARLIER], ids=["packed", "earlier"])
@pytest.mark.parametrize("at", range(0, len(PACKED), 3))
def test_a_flipped_byte_never_changes_the_content_unseen(at, packed):
    damaged = packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :]
    try:
        assert whole(damaged) == CONTENT
    except DAMAGED:
        return


# Large files.


class Counting(io.BytesIO):
    """A file that notes how much is read of it at once."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.largest = max(self.largest, len(data))
        return data


@pytest.mark.parametrize("compress", [pack, lambda data: gzip.compress(data, 1)], ids=["zstd", "gzip"])
def test_a_file_is_read_in_pieces(compress):
    content = random.Random(7).randbytes(3_000_000)
    file = Counting(compress(content))
    assert b"".join(unpacked(file, 100_000)) == content
    assert file.largest <= 300_000


@pytest.mark.parametrize("compress", [pack, lambda data: gzip.compress(data, 1)], ids=["zstd", "gzip"])
def test_memory_does_not_grow_with_the_file(compress):
    file = io.BytesIO(compress(random.Random(7).randbytes(20_000_000)))
    assert next(unpacked(io.BytesIO(compress(b"what is imported late")), 10))
    tracemalloc.start()
    size = sum(map(len, unpacked(file, 300_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 20_000_000
    assert peak < 2_000_000


def test_gzip_is_read_in_linear_time(monkeypatch):
    """What the decompressor leaves of its input is copied and handed in again: that must be a little, not the rest of
    the file.
    """
    handed: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, **arguments):
            self._real = real(**arguments)

        def __getattr__(self, name):
            return getattr(self._real, name)

        def decompress(self, data, size):
            handed.append(len(data))
            return self._real.decompress(data, size)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    data = gzip.compress(random.Random(7).randbytes(5_000_000), 1)
    assert sum(map(len, unpacked(data, 10_000))) == 5_000_000
    assert sum(handed) < 6 * len(data)


@pytest.mark.parametrize("damage", [b"x", gzip.compress(b"more"), b"\0" * 100_000], ids=["a byte", "a member", "zeros"])
def test_something_behind_gzip_is_damage_wherever_a_piece_ends(damage):
    with pytest.raises(ValueError, match="there is data after its end"):
        whole(gzip.compress(random.Random(7).randbytes(65_536 - 23), 0) + damage)


def test_a_last_block_that_fills_up_is_not_the_end():
    """All input is handed in, and some output is still to come."""
    for size in range(2_990, 3_010):
        assert whole(gzip.compress(b"a" * size), 100) == b"a" * size
