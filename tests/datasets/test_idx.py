"""IDX files are read, or refused with what is wrong; memory stays bounded."""

import contextlib
import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from idx_files import idx_bytes, write_data_set

from sklearn_similar.datasets import (
    fetch_mnist,
)
from sklearn_similar.datasets._idx import read_idx


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "holds 71 bytes .* declares 72"),
        (lambda content: content + b"\0", "holds more than 72 bytes .* declares 72"),
        (
            lambda content: content[:10],
            "header is '00 00 08 03 00 00 00 06 00 00', not",
        ),
        (lambda content: b"", "header is '', not '00 00 08 03' and 3 lengths"),
        (lambda content: b"<html>", "header is '3c 68 74 6d"),
        (lambda content: content[:2] + b"\x0d" + content[3:], "00 00 0d 03"),
        (lambda content: gzip.compress(content)[:-9], "truncated or damaged gzip"),
        (
            lambda content: idx_bytes(np.zeros((5, 4, 3))),
            r"images.* \(5, 4, 3\), .*labels.* \(6,\)",
        ),
        (lambda content: idx_bytes(np.zeros((6, 2, 2))), r"\(6, 2, 2\).*\(3, 4, 3\)"),
        (lambda content: idx_bytes(np.zeros((0, 4, 3))), "declares 0 of shape"),
        (lambda content: idx_bytes(np.zeros(6)), "with 3 axes.*'00 00 08 01"),
    ],
)
def test_damaged_files_are_named_with_what_was_found(tmp_path, damage, message):
    write_data_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        fetch_mnist(tmp_path)
    assert str(path) in str(error.value)


class TestHostileIdxFiles:
    """Memory grows with the bytes in the file, not with the declared length."""

    SHAPE = (6, 4, 3)

    @pytest.fixture
    def read(self, tmp_path):
        """Read contents as images, and return the error and the peak memory."""
        path = tmp_path / "train-images-idx3-ubyte"

        def get(content):
            path.write_bytes(content)
            tracemalloc.start()
            try:
                return read_idx(path, 3), 0
            except ValueError as error:
                return str(error), tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        return get

    @pytest.fixture
    def content(self):
        return idx_bytes(np.random.default_rng(0).integers(0, 256, self.SHAPE))

    @pytest.mark.parametrize("zipped", [True, False])
    def test_bytes_beyond_the_declared_length_are_not_read(self, read, content, zipped):
        bomb = content + bytes(2**26)
        error, peak = read(gzip.compress(bomb) if zipped else bomb)
        assert "holds more than 72 bytes" in error
        assert peak < 2**21

    @pytest.mark.parametrize("zipped", [True, False])
    def test_missing_bytes_take_no_memory(self, read, zipped):
        content = struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(100)
        error, peak = read(gzip.compress(content) if zipped else content)
        assert (
            f"holds 100 bytes of data, but its header declares {(2**32 - 1) ** 3}"
            in (error)
        )
        assert peak < 2**23

    @pytest.mark.parametrize("zipped", [True, False])
    def test_truncation_anywhere_is_an_error(self, read, content, zipped):
        whole = gzip.compress(content) if zipped else content
        for length in range(len(whole)):
            error, _ = read(whole[:length])
            assert "again" in error

    def test_flipped_bits_of_a_gzip_file_are_detected(self, tmp_path):
        content = idx_bytes(np.arange(12).reshape(3, 2, 2))
        whole = gzip.compress(content, mtime=0)
        path = tmp_path / "images"
        for bit in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(changed)
            # Some bits, such as those of the time, do not change the data.
            with contextlib.suppress(ValueError):
                assert read_idx(path, 3).tobytes() == content[16:]

    def test_excess_bytes_after_a_gzip_file_are_detected(self, read, content):
        error, _ = read(gzip.compress(content) + b"rubbish")
        assert "damaged gzip" in error
