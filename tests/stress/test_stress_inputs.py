"""Images and labels of every kind: the properties that each fit must have.

The environment variable SKLEARN_SIMILAR_STRESS sets how many examples are tried;
without it they are few.
"""

import os
import pickle

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sklearn_similar import SimilarNetClassifier

N_CASES = int(os.environ.get("SKLEARN_SIMILAR_STRESS", "12"))
DTYPES = ["uint8", "int64", "uint16", ">i4", "float32", "float64", "float16", "bool"]
LABELS = {
    "integers": [3, -7, 12],
    "strings": ["cat", "", "ß"],
    "booleans": [False, True],
    "floats": [0.0, -1.0, 2.0],
}
ARRANGEMENTS = {
    "as it is": lambda X: X,
    "columns first": np.asfortranarray,
    "reversed": lambda X: X[::-1].copy()[::-1],
    "every second": lambda X: np.repeat(X, 2, axis=0)[::2],
    "wider": lambda X: np.pad(X, [(0, 0)] * (X.ndim - 1) + [(1, 1)])[..., 1:-1],
    "read only": lambda X: np.frombuffer(X.tobytes(), X.dtype).reshape(X.shape),
}
LAYOUTS = {
    "images": lambda X: X,
    "list": list,
    "rows": lambda X: X.reshape(len(X), -1),
    "tensor": lambda X: torch.from_numpy(X.astype(X.dtype.newbyteorder("="))),
}


@st.composite
def labelled_images(draw):
    """Images of one shape and type, and their labels."""
    height, width = draw(
        st.sampled_from([(1, 1), (1, 40), (40, 1), (2, 3), (7, 5), (9, 9), (28, 28)])
    )
    channels = draw(st.sampled_from([(), (1,), (2,), (3,), (5,)]))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    labels = np.array(LABELS[draw(st.sampled_from(sorted(LABELS)))])
    n_images = draw(st.integers(2 * len(labels), 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = rng.random((n_images, height, width, *channels))
    top = {"f": 1, "b": 1}.get(dtype.kind, 65535 if dtype == np.uint16 else 255)
    X = (pixels > 0.5 if dtype.kind == "b" else pixels * top).astype(dtype)
    y = labels[np.arange(n_images) % len(labels)]
    return X, rng.permutation(y)


@settings(
    max_examples=N_CASES,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    data=labelled_images(),
    arrangement=st.sampled_from(sorted(ARRANGEMENTS)),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_every_layout_gives_the_same_network_and_answers(data, arrangement, layout):
    X, y = data
    state = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    # Without the shape, (3, 9, 9) images and the like could have their channels first.
    shape = X.shape[1:]
    params = {"max_epochs": 1, "random_state": 0, "image_shape": shape}
    expected = SimilarNetClassifier(**params).fit(X, y)
    other = LAYOUTS[layout](ARRANGEMENTS[arrangement](X))
    estimator = SimilarNetClassifier(**params).fit(other, y)

    proba = estimator.predict_proba(other)
    np.testing.assert_array_equal(proba, expected.predict_proba(X))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert set(estimator.predict(other)) <= set(y)
    heat = np.reshape(estimator.transform(other), (len(X), *shape[:2]))
    np.testing.assert_array_equal(heat, expected.transform(X))
    assert heat.dtype == np.float32
    assert np.isfinite(heat).all()
    assert (heat >= 0).all()
    assert np.isfinite(estimator.filter_importances_).all()

    alone = estimator.predict_proba(X[:1])
    np.testing.assert_allclose(alone, proba[:1], rtol=1e-4, atol=1e-6)
    loaded = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(loaded.predict_proba(other), proba)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    assert torch.equal(state[0], after[0])
    assert state[1:] == after[1:]
