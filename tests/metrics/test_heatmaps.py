"""Heatmaps and true boxes that cannot be used are named by each metric of them."""

import numpy as np
import pandas as pd
import pytest
from instances import (
    make_truth,
)

from sklearn_similar.metrics import (
    max_box_accuracy,
    pixel_average_precision,
    pointing_game,
)


@pytest.mark.parametrize(
    "metric", [max_box_accuracy, pixel_average_precision, pointing_game]
)
@pytest.mark.parametrize(
    ("heatmaps", "boxes", "message"),
    [
        ([], [], "heatmaps is empty"),
        ([[1.0, 2.0]], [[0, 0, 1, 1]], r"Heatmap 0 has shape \(2,\)"),
        ([np.ones((2, 2)), [[np.nan]]], [[0, 0, 1, 1]] * 2, "Heatmap 1 contains NaN"),
        (pd.DataFrame(np.ones((2, 4))), [[0, 0, 1, 1]] * 2, "reshape its rows"),
        (np.ones((2, 3, 3)), [[0, 0, 1, 1]], "1 rows for 2 heatmaps"),
        (
            np.ones((1, 3, 3)),
            [[0, 0, 4, 1]],
            r"Row 0 .*box \(0, 0, 4, 1\) outside .* 3",
        ),
        (np.ones((1, 3, 3)), [[-0.5, 0, 2, 1]], "Row 0 .*outside its image"),
        (np.ones((1, 3, 3)), make_truth([1, 0, 0, 0, 1, 1]), "image=1, which is none"),
        (np.ones((1, 3, 3)), make_truth(), "no box of any image"),
        ({0: np.ones((3, 3))}, [[0, 0, 1, 1]], "heatmaps is a dict; pass an array of"),
        ([[[1, 2], [3]]], [[0, 0, 1, 1]], "Heatmap 0 is a list that makes no array"),
        ([np.full((3, 3), 1j)], [[0, 0, 1, 1]], "Heatmap 0 has dtype complex128; pass"),
        (np.ones((1, 3, 3)), {0: [0, 0, 1, 1]}, "(boxes|masks) is a dict; pass"),
    ],
)
def test_heatmap_metrics_name_what_is_wrong(metric, heatmaps, boxes, message):
    if metric is pixel_average_precision and message.startswith("1 rows"):
        message = "1 (rows|entries) for 2"
    with pytest.raises(ValueError, match=message):
        metric(heatmaps, boxes)
