"""Data for object detection: photographs, Fashion-MNIST, scenes of one or two objects.

Training scenes use the two photographs of scikit-learn as background, test scenes the
photographs of scikit-image, which are never in the training data.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from _common import first_images, load_mnist
from PIL import Image
from sklearn.datasets import fetch_openml, load_sample_images
from sklearn.utils import Bunch

from sklearn_similar._images.images import VISIBLE_SHARE
from sklearn_similar._tables.boxes import BOX_COLUMNS
from sklearn_similar.datasets import fetch_mnist, make_scenes

PHOTOGRAPHS = (
    *("astronaut.png", "camera.png", "coins.png", "grass.png", "hubble_deep_field.jpg"),
    *("ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
FASHION_HOME = Path("/usr/share/datasets/fashion-mnist")
SIZE = (64, 64)


class Labelled(NamedTuple):
    """Images, and a table with the label and the box of each object in them."""

    images: np.ndarray
    truth: pd.DataFrame

    @property
    def labels(self):
        # A copy, because PyTorch warns of read-only arrays.
        return self.truth["label"].to_numpy(copy=True)

    def first(self, n_images):
        truth = self.truth[self.truth["image"] < n_images]
        return Labelled(self.images[:n_images], truth)


def unseen_photographs(mode="L"):
    """Photographs of scikit-image, grey or "RGB"; an empty list without it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None:
        print("scikit-image is not installed: scenes on photographs are skipped.")
        return []
    paths = [Path(spec.origin).parent / "data" / name for name in PHOTOGRAPHS]
    return [np.asarray(Image.open(p).convert(mode)) for p in paths if p.exists()]


def training_photographs(mode="L"):
    """The two photographs of scikit-learn, grey or "RGB"."""
    images = load_sample_images().images
    return [np.asarray(Image.fromarray(image).convert(mode)) for image in images]


def load_fashion(arguments, default_home: Path = FASHION_HOME) -> tuple[str, Bunch]:
    """Fashion-MNIST and its name; MNIST with --quick if Fashion-MNIST is missing."""
    folder = arguments.fashion_home
    if not folder and default_home.exists():
        folder = default_home
    if folder:
        fashion = fetch_mnist(folder)
        return "Fashion-MNIST", first_images(fashion) if arguments.quick else fashion
    if arguments.quick:
        print("Fashion-MNIST is not available: digits of MNIST are used instead.")
        return "MNIST", load_mnist(arguments)
    data, target = fetch_openml(
        "Fashion-MNIST", version=1, as_frame=False, parser="pandas", return_X_y=True
    )
    images, labels = data.astype(np.uint8).reshape(-1, 28, 28), target.astype(np.int64)
    parts = {"X_train": images[:60_000], "X_test": images[60_000:]}
    return "Fashion-MNIST", Bunch(
        **parts, y_train=labels[:60_000], y_test=labels[60_000:]
    )


def tint(images, random_state):
    """Grey images, each tinted with a random bright colour."""
    rng = np.random.RandomState(random_state)
    colours = rng.uniform(0.3, 1, size=(len(images), 3))
    colours /= colours.max(axis=1, keepdims=True)
    tinted = images[..., np.newaxis] * colours[:, np.newaxis, np.newaxis]
    return np.rint(tinted).astype(np.uint8)


def single_scenes(X, y, n_scenes, photographs, random_state):
    """Scenes of one object on dimmed photographs, or on noise without photographs."""
    return Labelled(
        *make_scenes(
            X,
            y,
            n_scenes=n_scenes,
            size=SIZE,
            n_instances=1,
            scale=(0.8, 1.6),
            background_images=photographs or "noise",
            random_state=random_state,
        )
    )


def pair_scenes(X, y, n_scenes, photographs, random_state):
    """At most `n_scenes` scenes of two objects of different classes."""
    scenes, truth = make_scenes(
        X,
        y,
        n_scenes=n_scenes,
        size=SIZE,
        n_instances=(2, 2),
        scale=(0.8, 1.2),
        background_images=photographs or "noise",
        random_state=random_state,
    )
    return of_two_classes(scenes, truth)


def two_digits(X, y, n_scenes, random_state=3):
    """At most `n_scenes` scenes of two digits of different classes on black."""
    return of_two_classes(
        *make_scenes(
            X,
            y,
            n_scenes=n_scenes,
            size=(48, 72),
            n_instances=(2, 2),
            scale=(0.9, 1.1),
            random_state=random_state,
        )
    )


def of_two_classes(scenes, truth):
    """Scenes whose objects are of two classes."""
    n_labels = truth.groupby("image")["label"].nunique()
    selected = n_labels.index[n_labels == 2].to_numpy()
    truth = truth[truth["image"].isin(selected)].reset_index(drop=True)
    return Labelled(
        scenes[selected], truth.assign(image=np.searchsorted(selected, truth["image"]))
    )


def stroke_scenes(X, y, n_scenes, height, random_state):
    """Images of two digits each, in lines a pixel wide, `height` pixels high or wide.

    Empty without scikit-image, which thins the strokes.
    """
    if importlib.util.find_spec("skimage") is None:
        return Labelled(np.empty((0, 160, 160), np.uint8), _instances([]))
    from skimage.morphology import skeletonize

    rng = np.random.RandomState(random_state)
    side = max(160, int(2.4 * height))
    scenes, rows = np.zeros((n_scenes, side, side), np.uint8), []
    for number, scene in enumerate(scenes):
        for corner in (0, side // 2):
            row = rng.randint(len(X))
            large = Image.fromarray(X[row]).resize((height * 28 // 20,) * 2)
            line = skeletonize(np.asarray(large) > 100)
            line = line[_extent(line)]
            room = side // 2 - 4 - np.array(line.shape[::-1])
            x, y0 = corner + rng.randint(4, np.maximum(room, 5))
            rows.append((number, y[row], *_paste(scene, 255 * np.uint8(line), x, y0)))
    return Labelled(scenes, _instances(rows))


def touching_scenes(X, y, n_scenes, overlap, random_state):
    """Pairs of digits on black whose strokes touch or overlap by some pixels."""
    rng = np.random.RandomState(random_state)
    scenes, rows = np.zeros((n_scenes, 160, 160), np.uint8), []
    for number, scene in enumerate(scenes):
        side = int(28 * rng.uniform(1, 2))
        x = rng.randint(5, 30)
        for row in rng.randint(len(X), size=2):
            large = np.asarray(Image.fromarray(X[row]).resize((side, side)))
            digit = large[_extent(large > VISIBLE_SHARE * 255)]
            y0 = 80 - len(digit) // 2
            x = _touching_position(scene[y0 : y0 + len(digit)], digit, x) - overlap
            rows.append((number, y[row], *_paste(scene, digit, x, y0)))
    return Labelled(scenes, _instances(rows))


def _touching_position(band, digit, default):
    """Leftmost position of a digit right of all strokes in a band of its height."""
    ink, new_ink = (image > VISIBLE_SHARE * 255 for image in (band, digit))
    if not ink.any():
        return default
    last = np.where(ink.any(axis=1), band.shape[1] - ink[:, ::-1].argmax(axis=1), 0)
    first = np.where(new_ink.any(axis=1), new_ink.argmax(axis=1), band.shape[1])
    return max(0, int((last - first).max()))


def _extent(ink):
    """The rows and columns of the bounding box of a mask."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _paste(scene, image, x, y):
    """Add an image to a scene and return its box."""
    part = scene[y : y + image.shape[0], x : x + image.shape[1]]
    np.maximum(part, image[: part.shape[0], : part.shape[1]], out=part)
    return x, y, x + part.shape[1], y + part.shape[0]


def _instances(rows):
    return pd.DataFrame(rows, columns=["image", "label", *BOX_COLUMNS])


def with_ink_boxes(X, y):
    """Images of an object on black, with the bounding box of its visible pixels."""
    peak = X.max(axis=(1, 2), keepdims=True)
    ink = X / peak > VISIBLE_SHARE
    truth = pd.DataFrame({"image": np.arange(len(X)), "label": y})
    for name, axis in (("x", 1), ("y", 2)):
        hit = ink.any(axis=axis)
        truth[f"{name}_min"] = hit.argmax(axis=1)
        truth[f"{name}_max"] = hit.shape[1] - hit[:, ::-1].argmax(axis=1)
    return Labelled(X, truth[["image", "label", *BOX_COLUMNS]])


def object_masks(make, X, y, n_scenes, random_state):
    """Masks of all objects in the scenes that `make` returns.

    Objects are placed before the background is chosen, so the same scenes on black
    show only the objects. As for boxes, a pixel is visible from a fifth of the maximum
    on. The opacity of a pixel is its brightness, so its value on black is the square.
    """
    on_black = make(X, y, n_scenes, "black", random_state)
    values = on_black.images if on_black.images.ndim == 3 else on_black.images.max(3)
    return values > 255 * VISIBLE_SHARE**2


SHAPES = ("disc", "square", "triangle")
TEXTURES = ("stripes", "checks", "dots")


def textured_scenes(n_scenes, n_objects, photographs, random_state):
    """Scenes of coloured shapes with a texture, on undimmed photographs.

    A class is a shape with a texture, in two random colours at a random angle, so that
    neither outline nor colour tells it.

    Returns
    -------
    Labelled, and the masks of the objects, those of a scene together
    """
    rng = np.random.RandomState(random_state)
    images = np.empty((n_scenes, *SIZE, 3), dtype=np.uint8)
    masks = np.zeros((n_scenes, *SIZE), dtype=bool)
    rows = []
    for number in range(n_scenes):
        photograph = photographs[rng.randint(len(photographs))]
        top, left = (
            rng.randint(length - side + 1)
            for length, side in zip(photograph.shape, SIZE, strict=False)
        )
        images[number] = photograph[top : top + SIZE[0], left : left + SIZE[1]]
        labels = rng.permutation(len(SHAPES) * len(TEXTURES))[:n_objects]
        for label in labels:
            mask, pixels = _free_shape(rng, label, masks[number])
            images[number][mask] = pixels[mask]
            masks[number] |= mask
            (y,), (x,) = (np.nonzero(mask.any(axis=axis)) for axis in (1, 0))
            rows.append((number, label, x[0], y[0], x[-1] + 1, y[-1] + 1))
    truth = pd.DataFrame(rows, columns=["image", "label", *BOX_COLUMNS])
    return Labelled(images, truth), masks


def _free_shape(rng, label, taken):
    """Mask and pixels of a shape that does not overlap `taken`."""
    while True:
        # The second shape is smaller, so that there is room for it.
        radius = rng.uniform(9, 18 if not taken.any() else 12)
        centre = [rng.uniform(radius, side - radius) for side in SIZE]
        y, x = np.mgrid[: SIZE[0], : SIZE[1]] - np.reshape(centre, (2, 1, 1))
        angle = rng.uniform(0, 2 * np.pi)
        u, v = (
            np.cos(angle) * x + np.sin(angle) * y,
            np.cos(angle) * y - np.sin(angle) * x,
        )
        mask = _shape(SHAPES[label // len(TEXTURES)], u / radius, v / radius)
        if not (mask & taken).any():
            break
    is_first_colour = _texture(TEXTURES[label % len(TEXTURES)], u, v)
    colours = rng.randint(256, size=(2, 3))
    return mask, np.where(is_first_colour[..., np.newaxis], *colours)


def _shape(name, u, v):
    """Whether points are inside a shape within the unit circle."""
    if name == "disc":
        return np.hypot(u, v) < 0.9
    if name == "square":
        return np.maximum(abs(u), abs(v)) < 0.7
    return np.maximum(abs(u) * np.sqrt(3) - v, 2 * v) < 1


def _texture(name, u, v, period=6):
    """Whether pixels have the first of the two colours of a texture."""
    across, along = np.sin(2 * np.pi * u / period), np.sin(2 * np.pi * v / period)
    if name == "stripes":
        return across > 0
    return across * along > 0 if name == "checks" else across + along > 0.8
