"""Detectors to compare with: template matching, and HOG with a linear SVM.

A detector has two methods: `fit(images, truth)` takes RGB images and a table of their
boxes, and `candidates(image)` returns boxes n x 4, labels and scores of any range.
`CalibratedDetector` adds what all detectors need: suppression, probabilities and a
threshold. Nothing here is code of the package, except for the metric of the threshold.
"""

import numpy as np
import pandas as pd
from _stages import boxes_of, scored_outcomes
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from sklearn_similar.metrics import detection_f1_score

BOX = ["x_min", "y_min", "x_max", "y_max"]
# The default of `InstanceLocalizer`.
NMS_THRESHOLD = 0.3
# Every fourth training photograph is held out for the threshold.
HELD_OUT = 4
THRESHOLDS = np.linspace(0.05, 0.95, 19)


def overlaps(boxes, others):
    """Intersection over union of boxes n x 4 and m x 4."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, others)]
    return common / (areas[0][:, np.newaxis] + areas[1] - common)


def nearest(boxes, objects):
    """IoU with the nearest object, and its index; 0 and -1 without objects."""
    if len(objects) == 0:
        return np.zeros(len(boxes)), np.full(len(boxes), -1)
    iou = overlaps(boxes, objects)
    return iou.max(axis=1), iou.argmax(axis=1)


def suppress(boxes, scores):
    """Rows that remain after greedy non-maximum suppression, whatever their labels."""
    remaining, selected = np.argsort(-scores, kind="stable"), []
    while len(remaining):
        selected.append(remaining[0])
        iou = overlaps(boxes[remaining[:1]], boxes[remaining[1:]])[0]
        remaining = remaining[1:][iou <= NMS_THRESHOLD]
    return np.array(selected, dtype=int)


def cluster_sizes(boxes, n_sizes):
    """Typical widths and heights of boxes (k-means of logarithms), and their rows."""
    sides = np.log(boxes[:, 2:] - boxes[:, :2])
    n_sizes = min(n_sizes, len(np.unique(sides, axis=0)))
    means = KMeans(n_sizes, n_init=3, random_state=0).fit(sides)
    return np.exp(means.cluster_centers_), means.labels_


def as_grey(image):
    """Grey levels in [0, 1] of an RGB image."""
    from skimage.color import rgb2gray

    return rgb2gray(image)


class CalibratedDetector:
    """A detector with suppression, probabilities and a threshold.

    A quarter of the training photographs is held out. Logistic regression turns scores
    of the detections in them into probabilities (Platt, 1999), and the threshold is the
    best F1 on them. Then the detector learns anew from all training photographs.

    Parameters
    ----------
    make : callable
        Makes a detector.
    """

    def __init__(self, make):
        self.make = make

    def fit(self, images, truth):
        is_held_out = np.arange(len(images)) % HELD_OUT == HELD_OUT - 1
        held_out, held_out_truth = subset(images, truth, is_held_out)
        self.detector = self.make().fit(*subset(images, truth, ~is_held_out))
        raw = self._raw(held_out)
        score, is_right = scored_outcomes(held_out_truth, raw)
        # One more right and one more wrong detection, as both must exist.
        score, is_right = np.append(score, [1.0, 0.0]), np.append(is_right, [1.0, 0.0])
        self.calibration = LogisticRegression(C=1e6)
        self.calibration.fit(score[:, np.newaxis], is_right)
        scored = self._scored(raw)
        f1 = [
            detection_f1_score(
                held_out_truth, scored[scored["score"] >= value], zero_division=0.0
            )
            for value in THRESHOLDS
        ]
        self.threshold = THRESHOLDS[np.argmax(f1)]
        self.detector = self.make().fit(images, truth)
        return self

    def localize(self, images, min_score):
        """A table of detections with a minimum score."""
        table = self._scored(self._raw(images))
        return table[table["score"] >= min_score]

    def _raw(self, images):
        tables = []
        for number, image in enumerate(images):
            boxes, labels, scores = self.detector.candidates(image)
            rows = suppress(boxes, scores)
            table = pd.DataFrame(boxes[rows], columns=BOX)
            tables.append(
                table.assign(image=number, label=labels[rows], score=scores[rows])
            )
        return pd.concat(tables, ignore_index=True)

    def _scored(self, table):
        if table.empty:
            return table
        score = table[["score"]].to_numpy()
        return table.assign(score=self.calibration.predict_proba(score)[:, 1])


def subset(images, truth, selection):
    """Some of the images, by a mask or their rows, and their boxes."""
    rows = np.arange(len(images))[selection]
    number_of = {row: number for number, row in enumerate(rows)}
    of_rows = truth[truth["image"].isin(rows)]
    table = of_rows.assign(image=of_rows["image"].map(number_of))
    return [images[row] for row in rows], table


class TemplateMatching:
    """Normalised cross-correlation with the mean grey crop of each class and size."""

    N_SIZES = 3
    MIN_CORRELATION = 0.2

    def fit(self, images, truth):
        from skimage.transform import resize

        grey = [as_grey(image) for image in images]
        self.templates = []
        for label, table in truth.groupby("label"):
            boxes, numbers = table[BOX].to_numpy(float), table["image"].to_numpy()
            sizes, cluster = cluster_sizes(boxes, self.N_SIZES)
            for row, (width, height) in enumerate(sizes.round().astype(int)):
                members = cluster == row
                crops = [
                    grey[number][y_min:y_max, x_min:x_max]
                    for number, (x_min, y_min, x_max, y_max) in zip(
                        numbers[members],
                        boxes[members].round().astype(int),
                        strict=True,
                    )
                ]
                resized = [
                    resize(crop, (height, width), anti_aliasing=True) for crop in crops
                ]
                self.templates.append((label, np.mean(resized, axis=0)))
        return self

    def candidates(self, image):
        from skimage.feature import match_template, peak_local_max

        grey = as_grey(image)
        boxes, labels, scores = [np.empty((0, 4))], [], [np.empty(0)]
        for label, template in self.templates:
            height, width = template.shape
            if height > grey.shape[0] or width > grey.shape[1]:
                continue
            response = match_template(grey, template, pad_input=True, mode="edge")
            y, x = peak_local_max(
                response,
                min_distance=max(1, min(height, width) // 8),
                threshold_abs=self.MIN_CORRELATION,
                exclude_border=False,
            ).T
            left, top = x - width // 2, y - height // 2
            found = np.stack([left, top, left + width, top + height], axis=1)
            boxes.append(found.clip(0, [*grey.shape[::-1], *grey.shape[::-1]]))
            labels += [label] * len(y)
            scores.append(response[y, x])
        return np.concatenate(boxes), np.array(labels), np.concatenate(scores)


class HogWindows:
    """Histograms of oriented gradients of windows, and a linear SVM.

    The image is resized so that windows of a size have 64 x 64 pixels, with a step of a
    quarter (Dalal and Triggs, 2005). Positives are the boxes, their mirror images, and
    windows near them. There is one round of hard negatives.
    """

    N_SIZES, CELL, N_CELLS, STEP = 5, 8, 8, 2
    N_ORIENTATIONS, N_NEGATIVES, N_HARD = 9, 100, 50

    def fit(self, images, truth):
        rng = np.random.default_rng(0)
        self.sizes, _ = cluster_sizes(truth[BOX].to_numpy(float), self.N_SIZES)
        self.classes, codes = np.unique(truth["label"], return_inverse=True)
        truth = truth.assign(label=codes)
        features, labels = [], []
        for number, image in enumerate(images):
            windows, boxes = self._windows(image)
            code, is_background = _codes(boxes, *boxes_of(truth, number))
            some = rng.permutation(np.flatnonzero(is_background))[: self.N_NEGATIVES]
            rows = np.concatenate([np.flatnonzero(code >= 0), some])
            features.append(windows[rows])
            labels.append(code[rows])
            exact, code = self._exact(image, *boxes_of(truth, number))
            features.append(exact)
            labels.append(code)
        self._train(features, labels)
        for number, image in enumerate(images):
            windows, boxes = self._windows(image)
            _, is_background = _codes(boxes, *boxes_of(truth, number))
            _, scores = self._classify(windows)
            hard = np.flatnonzero(is_background & (scores > 0))
            hard = hard[np.argsort(-scores[hard])][: self.N_HARD]
            features.append(windows[hard])
            labels.append(np.full(len(hard), -1))
        self._train(features, labels)
        return self

    def candidates(self, image):
        windows, boxes = self._windows(image)
        code, scores = self._classify(windows)
        rows = np.flatnonzero(scores > -1)
        return boxes[rows], self.classes[code[rows]], scores[rows]

    def _train(self, features, labels):
        self.svm = LinearSVC(C=0.001, class_weight="balanced", random_state=0)
        self.svm.fit(np.concatenate(features), np.concatenate(labels))

    def _classify(self, windows):
        """The best class of windows, and how far it exceeds background."""
        # Background, -1, is the first class.
        decision = self.svm.decision_function(windows)
        if decision.ndim == 1:
            return np.zeros(len(windows), dtype=int), decision
        classes = self.svm.classes_[1:]
        best = decision[:, 1:].argmax(axis=1)
        return classes[best], decision[:, 1:].max(axis=1) - decision[:, 0]

    def _exact(self, image, boxes, labels):
        """Features of boxes and of their mirror images, and their labels."""
        from skimage.transform import resize

        side, grey = self.CELL * self.N_CELLS, as_grey(image)
        features = []
        for x_min, y_min, x_max, y_max in boxes.round().astype(int):
            crop = grey[y_min:y_max, x_min:x_max]
            crop = resize(crop, (side, side), anti_aliasing=True)
            features += [self._hog(crop)[0, 0], self._hog(crop[:, ::-1])[0, 0]]
        n_features = self.N_ORIENTATIONS * 4 * (self.N_CELLS - 1) ** 2
        return np.reshape(features, (-1, n_features)), np.repeat(labels, 2)

    def _windows(self, image):
        """Features and boxes of the windows of all sizes."""
        grey = as_grey(image)
        of_sizes = [self._of_size(grey, size) for size in self.sizes]
        features, boxes = zip(*of_sizes, strict=True)
        limits = [*grey.shape[::-1], *grey.shape[::-1]]
        return np.concatenate(features), np.concatenate(boxes).clip(0, limits)

    def _of_size(self, grey, size):
        from skimage.transform import resize

        side, overhang = self.CELL * self.N_CELLS, self.CELL * self.STEP
        factor = side / size[::-1]
        resized = resize(
            grey, np.maximum(1, np.rint(grey.shape * factor)), anti_aliasing=True
        )
        factor = np.array(resized.shape) / grey.shape
        # A quarter of a window may lie outside; images are at least a window large.
        missing = np.maximum(0, side - 2 * overhang - np.array(resized.shape))
        padding = [(overhang, overhang + int(more)) for more in missing]
        windows = self._hog(np.pad(resized, padding, mode="edge"))
        windows = windows[:: self.STEP, :: self.STEP]
        rows, columns = np.indices(windows.shape[:2]).reshape(2, -1)
        corner = self.STEP * self.CELL * np.stack([columns, rows], 1) - overhang
        boxes = np.hstack([corner, corner + side]) / np.tile(factor[::-1], 2)
        return windows.reshape(len(boxes), -1), boxes

    def _hog(self, grey):
        """Features of the windows at all cells, n_rows x n_columns x n_features."""
        from skimage.feature import hog

        blocks = hog(
            grey,
            orientations=self.N_ORIENTATIONS,
            pixels_per_cell=(self.CELL, self.CELL),
            cells_per_block=(2, 2),
            feature_vector=False,
        ).astype(np.float32)
        windows = sliding_window_view(blocks, (self.N_CELLS - 1,) * 2, axis=(0, 1))
        return windows.reshape(*windows.shape[:2], -1)


def _codes(boxes, objects, labels):
    """The class of each window, -1 without any, and whether it is background."""
    iou, index = nearest(boxes, objects)
    code = np.full(len(boxes), -1)
    code[iou >= 0.6] = labels[index[iou >= 0.6]]
    return code, iou < 0.3
