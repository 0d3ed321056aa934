"""Archives return exactly what was written, or raise one clear error."""

import json
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy
from hostile_files import Peak, code_that_runs, damaged, seal, split

from sklearn_similar._saving.archive import read_archive, write_archive

ARRAYS = {
    "weights": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(7),
    "empty": np.empty((0, 3), np.uint8),
    "flags": np.array([True, False]),
    "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
    "big_endian": np.arange(3, dtype=">f8"),
    "special": np.array([np.nan, np.inf, -0.0, 5e-324]),
    "": np.float16([0.1]),
}
METADATA = {
    "text": 'é 😀 \udc80 "quoted" ' + "0" * 64,
    "numbers": [1, 2**70, 0.1, -0.0, None, True],
    "nested": {"a": [{}, []]},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def content(path):
    write_archive(path, ARRAYS, METADATA)
    return path.read_bytes()


@pytest.fixture
def error_of(path):
    """Return the error that reading a file of some content gives."""

    read = "cannot be read: "

    def get(content):
        path.write_bytes(content)
        with code_that_runs() as events, pytest.raises(ValueError, match=read) as error:
            read_archive(path)
        assert not events
        message = str(error.value)
        assert message.startswith(f"{str(path)!r} cannot be read: ")
        assert message.count(str(path)) == 1
        assert len(message) < len(str(path)) + 300
        return message

    return get


def test_round_trip_is_exact(path, content):
    arrays, metadata = read_archive(path)
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        found = arrays[name]
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert found.shape == expected.shape
        assert found.tobytes() == expected.astype(found.dtype).tobytes()
        assert found.flags.writeable


def test_writing_is_deterministic(path, content):
    write_archive(path, ARRAYS, METADATA)
    assert path.read_bytes() == content


def test_safetensors_reads_the_arrays(path, content):
    for name, array in safetensors.numpy.load_file(path).items():
        np.testing.assert_array_equal(array, ARRAYS[name])


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({"x": np.array(["text"])}, None, "'x' has the dtype <U4, which the file can"),
        ({"x": np.array([1j])}, None, "'x' has the dtype complex128"),
        ({"x": np.array([None])}, None, "'x' has the dtype object"),
        ({}, {"x": object()}, "cannot be written as JSON: Object of type object"),
    ],
)
def test_unsupported_values_are_refused(path, arrays, metadata, message):
    with pytest.raises(ValueError, match=message):
        write_archive(path, arrays, metadata)
    assert not path.exists()


def test_metadata_that_could_not_be_read_again_are_refused(path):
    with pytest.raises(
        ValueError, match=r"metadata take \d+ bytes, but .* at most 1000"
    ):
        write_archive(path, {}, "x" * 1000, max_header=1000)
    assert not path.exists()


@pytest.fixture
def small(path):
    write_archive(path, {"x": np.arange(3.0)}, {"a": [1]})
    return path.read_bytes()


def test_truncation_at_any_length_is_one_error(small, error_of):
    for length in range(len(small)):
        error_of(small[:length])


def test_a_flipped_bit_in_any_byte_is_noticed(small, error_of):
    for bit in range(0, 8 * len(small), 7):
        changed = bytearray(small)
        changed[bit // 8] ^= 1 << (bit % 8)
        error_of(bytes(changed))


def test_damage_is_noticed(content, error_of):
    for seed in range(200):
        changed, _ = damaged(content, seed)
        if changed != content:
            error_of(changed)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("weights", {"shape": [2, 4]}),
        ("weights", {"shape": [2**40, 2**40]}),
        ("weights", {"shape": [2**62, 4]}),
        ("weights", {"shape": [2**64, 3]}),
        ("weights", {"shape": [-2, -3]}),
        ("weights", {"shape": "x"}),
        ("weights", {"dtype": "F64"}),
        ("weights", {"dtype": "BF16", "shape": [12]}),
        ("weights", {"dtype": "O"}),
        ("weights", {"data_offsets": [0, 24]}),
        ("weights", {"data_offsets": [0, 10**18]}),
        ("weights", {"data_offsets": [24, 0]}),
        ("special", {"dtype": "BOOL", "shape": [32]}),
        ("empty", {"shape": [0, 2**62, 2**62]}),
    ],
)
def test_arrays_that_do_not_fit_the_data_are_refused(content, error_of, name, change):
    header, data = split(content)
    with Peak() as peak:
        error_of(seal(header | {name: header[name] | change}, data))
    assert peak.bytes < 2**21


def test_arrays_that_overlap_or_leave_gaps_are_refused(content, error_of):
    header, data = split(content)
    error_of(seal(header | {"more": header["weights"]}, data))
    error_of(seal(header, data + bytes(8)))
    error_of(seal({k: v for k, v in header.items() if k != "weights"}, data))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**6,
        "[" * 10**6 + "]" * 10**6,
        '{"a":' * 10**5,
        "9" * 10**5,
        "",
        "1",
        "x",
    ],
    ids=lambda text: text[:5],
)
def test_headers_without_a_record_are_refused(error_of, text):
    for header in (text, json.dumps({"__metadata__": {"sklearn_similar": text}})):
        encoded = header.encode()
        error_of(len(encoded).to_bytes(8, "little") + encoded)


def test_a_huge_header_is_not_read(error_of):
    with Peak() as peak:
        error_of((2**63).to_bytes(8, "little") + b"{" + bytes(1000))
    assert peak.bytes < 2**21


class MakesFile:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_renamed_pickle_is_not_run(tmp_path, error_of, protocol):
    made = tmp_path / "made"
    content = pickle.dumps(MakesFile(made), protocol)
    assert "was not written by sklearn_similar" in error_of(content)
    assert not made.exists()
    pickle.loads(content).close()
    assert made.exists()


def test_other_safetensors_files_are_refused(error_of):
    message = error_of(safetensors.numpy.save({"x": np.zeros(3)}))
    assert "was not written by sklearn_similar" in message


def test_folders_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="it is not a file"):
        read_archive(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "nothing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(ValueError, match="it is not a file"):
        read_archive(path)


def test_memory_is_bounded_by_the_size_of_the_file(path):
    write_archive(path, {"x": np.zeros(10**6)}, None)
    with Peak() as peak:
        read_archive(path)
    assert peak.bytes < 2.1 * path.stat().st_size
