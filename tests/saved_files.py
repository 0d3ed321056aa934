"""Small files of each kind that `save` writes, to be kept for each format.

After a change of `FORMAT`, run ``python tests/saved_files.py``.
"""

import sys
from pathlib import Path

import numpy as np
from painted_photographs import (
    make_head,
    make_photographs,
    small_photograph_recipe,
    tiny_backbone,
)
from sklearn.frozen import FrozenEstimator
from torch import nn

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier, save
from sklearn_similar._saving.versions import FORMAT


class Scores(nn.Module):
    """Network with few weights."""

    def __init__(self, n_classes, in_channels, width=4):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.ReLU())
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.fc(self.norm(self.features(x)).mean(dim=(2, 3)))


class QuickLocalizer(InstanceLocalizer):
    """Learns from few boxes."""

    _choose_recipe = staticmethod(small_photograph_recipe)


def make_lines():
    """Images of a bright line in one of three rows, and their labels."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 60, (30, 6, 6), dtype=np.uint8)
    X[np.arange(30), 2, np.repeat([1, 2, 3], 10)] = 255
    return X, np.repeat([3, 5, 8], 10)


def write_files(folder):
    """Write a classifier, a localizer of crops and one of photographs."""
    X, y = make_lines()
    classifier = SimilarNetClassifier(
        Scores, max_epochs=1, batch_size=10, random_state=0
    ).fit(X, y)
    localizer = InstanceLocalizer(
        FrozenEstimator(classifier), score_threshold=0.0, heat_threshold=0.0
    ).fit(X, y)
    of_photographs = QuickLocalizer(
        make_head(),
        backbone=tiny_backbone(),
        n_mining_rounds=0,
        score_threshold=0.0,
        random_state=0,
    ).fit(*make_photographs(4))
    of_photographs.__class__ = InstanceLocalizer
    for name, estimator in (
        ("classifier", classifier),
        ("localizer", localizer),
        ("photographs", of_photographs),
    ):
        save(estimator, Path(folder) / f"format-{FORMAT}-{name}.safetensors")


if __name__ == "__main__":
    sys.exit(write_files(Path(__file__).parent / "saving" / "data"))
