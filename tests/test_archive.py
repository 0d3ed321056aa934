"""The archive: what it holds comes back exactly, or one error says why not."""

import numpy as np

from sklearn_similar._archive import read_archive, write_archive

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
    "text": '\u00e9 \U0001f600 \udc80 "quoted" 0' + "0" * 64,
    "numbers": [1, 2**70, 0.1, -0.0, None, True],
    "nested": {"a": [{}, []]},
}


def test_what_was_written_comes_back_exactly(tmp_path):
    path = tmp_path / "archive"
    write_archive(path, ARRAYS, METADATA)
    arrays, metadata = read_archive(path)
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        found = arrays[name]
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert found.shape == expected.shape
        assert found.tobytes() == expected.astype(found.dtype).tobytes()
        assert found.flags.writeable
