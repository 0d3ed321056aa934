"""Max-trees, against labelling the image at each threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from sklearn_similar._images.max_tree import ImageTree


def labelled(levels, threshold, values):
    """Box, area, first pixel and peak of each component, by plain labelling."""
    labels, n_labels = ndimage.label(levels > threshold, np.ones((3, 3)))
    components = set()
    for number, (y, x) in enumerate(ndimage.find_objects(labels), start=1):
        is_inside = labels == number
        components.add(
            (
                (x.start, y.start, x.stop, y.stop),
                int(is_inside.sum()),
                int(np.flatnonzero(is_inside)[0]),
                float(values[is_inside].max()),
            )
        )
    assert len(components) == n_labels
    return components


@given(
    arrays(
        np.uint16,
        st.tuples(st.integers(1, 8), st.integers(1, 8)),
        elements=st.integers(0, 5),
    ),
    st.integers(0, 1000),
)
@settings(max_examples=60)
def test_components_of_each_threshold_are_those_of_a_plain_labelling(levels, seed):
    values = np.random.RandomState(seed).uniform(size=levels.shape)
    tree = ImageTree(levels)
    for threshold in range(7):
        exists = (tree.death <= threshold) & (threshold < tree.birth)
        rows = zip(
            map(tuple, tree.box[exists].tolist()),
            tree.area[exists].tolist(),
            tree.first[exists].tolist(),
            tree.maximum(values)[exists].tolist(),
            strict=True,
        )
        assert set(rows) == labelled(levels, threshold, values)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_the_parent_is_the_smallest_component_that_contains_a_component(seed):
    noise = np.random.RandomState(seed).standard_normal((9, 11))
    levels = (5 + 3 * ndimage.gaussian_filter(noise, 1)).clip(0).astype(np.uint16)
    tree = ImageTree(levels)
    for index, parent in enumerate(tree.parent):
        if parent < 0:
            assert tree.death[index] == 0
            continue
        assert parent < index
        assert tree.birth[parent] == tree.death[index]
        inner, outer = tree.box[index], tree.box[parent]
        assert (outer[:2] <= inner[:2]).all()
        assert (outer[2:] >= inner[2:]).all()
        assert tree.area[parent] > tree.area[index]


@pytest.mark.parametrize("value", [0, 3])
def test_a_constant_image_is_one_component_or_none(value):
    tree = ImageTree(np.full((4, 6), value, np.uint16))
    assert tree.box.tolist() == [[0, 0, 6, 4]] * (value > 0)
    assert tree.parent.tolist() == [-1] * (value > 0)
