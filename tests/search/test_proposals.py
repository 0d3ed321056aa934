"""Region proposals: near-duplicates, and parts of proposals."""

import numpy as np
import pytest
import torch
from search_cases import square

from sklearn_similar._images.rasters import Raster
from sklearn_similar._search.proposals import Proposals
from sklearn_similar._search.settings import ProposalSettings
from sklearn_similar._search.sources import propose
from sklearn_similar._search.views import Views


def boxes_of(proposals):
    return set(map(tuple, proposals.boxes.astype(int).tolist()))


@pytest.mark.parametrize(
    ("box", "parts"),
    [
        ((10, 20, 26, 40), [(10, 20, 18, 40), (18, 20, 26, 40)]),
        (
            (10, 20, 41, 40),
            [
                *((10, 20, 26, 40), (25, 20, 41, 40)),
                *((10, 20, 21, 40), (20, 20, 31, 40), (30, 20, 41, 40)),
            ],
        ),
        ((10, 20, 20, 40), [(10, 20, 20, 30), (10, 30, 20, 40)]),
        ((10, 20, 22, 40), []),
        # Parts that are too small to be recognised.
        ((10, 20, 16, 24), []),
    ],
)
def test_wide_and_tall_regions_are_split(box, parts):
    found = Proposals.from_boxes([box, [0, 0, 30, 45]], view=3).split()
    assert boxes_of(found) == set(parts)
    assert (found.coarseness == 1).all()
    assert (found.view == 3).all()


def test_regions_of_coarse_channels_are_not_split():
    assert not len(Proposals.from_boxes([[10, 20, 26, 40]], coarseness=2).split())


def test_near_duplicates_are_those_of_the_same_view():
    boxes = [[10, 20, 50, 60], [11, 20, 51, 60], [10, 20, 50, 60], [90, 20, 130, 60]]
    proposals = Proposals.from_boxes(boxes, view=[0, 0, 1, 0])
    first, group = proposals.near_duplicate_groups()
    assert first.tolist() == [0, 2, 3]
    assert group.tolist() == [0, 0, 1, 2]
    assert len(proposals.distinct()) == 3
    known = Proposals.from_boxes(boxes[:1])
    assert proposals.without_duplicates_of(known).boxes.tolist() == boxes[2:]


def test_of_two_that_touch_each_is_a_part():
    image = np.maximum(
        square((50, 60), (10, 10, 24, 32)), square((50, 60), (24, 12, 38, 34))
    )
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    views = Views([Raster.from_tensor(pixels)])
    settings = ProposalSettings(source="grey", n_thresholds=31, whole_images=False)
    found = propose(views, settings)
    assert boxes_of(found) == {(10, 10, 38, 34)}
    assert {(10, 10, 24, 34), (24, 10, 38, 34)} <= boxes_of(found.split())
