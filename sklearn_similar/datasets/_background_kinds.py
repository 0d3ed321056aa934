"""The kinds of background images, one function each.

Each takes the background images, the crops, the number of images, their shape and a
generator, and returns float32 images of that shape between 0 and 1. A new kind is a new
function and a line in `KINDS`; `NEEDS` names the images it is made of.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .._images.images import VISIBLE_SHARE
from .._scenes.resampling import resize


def _patches(background_images, crops, n, shape, rng):
    del crops
    patches = np.empty((n, *shape), dtype=np.float32)
    for i, choice in enumerate(rng.randint(len(background_images), size=n)):
        patches[i] = _random_part(background_images[choice], shape, rng)
    return _vary_brightness(patches / 255, rng)


def _random_part(image, shape, rng):
    limit = min(image.shape[0] / shape[0], image.shape[1] / shape[1])
    # Uniform on a log scale: halving is as frequent as doubling.
    factor = np.exp(rng.uniform(np.log(min(0.5, limit)), np.log(min(8.0, limit))))
    side = np.maximum(np.rint(factor * np.array(shape[:2])).astype(int), 1)
    side = np.minimum(side, image.shape[:2])
    y, x = rng.randint(0, np.array(image.shape[:2]) - side + 1)
    part = image[y : y + side[0], x : x + side[1]]
    return resize(part, shape[:2])


def _noise(background_images, crops, n, shape, rng):
    del background_images, crops
    noise = rng.random_sample((n, *shape)).astype(np.float32)
    for grain, part in zip((0.0, 1.0, 2.0, 4.0), np.array_split(noise, 4), strict=True):
        if grain and len(part):
            sigma = (0, grain, grain, 0)[: part.ndim]
            part[:] = ndimage.gaussian_filter(part, sigma, mode="reflect")
    axes = tuple(range(1, noise.ndim))
    noise -= noise.min(axis=axes, keepdims=True)
    noise /= np.maximum(noise.max(axis=axes, keepdims=True), 1e-6)
    return _vary_brightness(noise, rng)


def _shifted(background_images, crops, n, shape, rng):
    del background_images, shape
    direction, distance = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.35, 0.65, n)
    dy, dx = distance * np.sin(direction), distance * np.cos(direction)
    return _view(_choose(crops, n, rng), np.ones(n), dy, dx)


def _enlarged(background_images, crops, n, shape, rng):
    del background_images, shape
    images, zoom = _choose(crops, n, rng), rng.uniform(1.7, 3, n)
    y, x = _visible_points(images, rng)
    return _view(images, zoom, -zoom * y, -zoom * x)


def _shrunken(background_images, crops, n, shape, rng):
    del background_images, shape
    dy, dx = rng.uniform(-0.25, 0.25, (2, n))
    return _view(_choose(crops, n, rng), rng.uniform(0.25, 0.5, n), dy, dx)


def _neighbours(background_images, crops, n, shape, rng):
    del background_images, shape
    # From two small ones in full to the facing halves of two of full size.
    zoom = rng.uniform(0.45, 1, n)
    along, across = zoom * rng.uniform(0.3, 0.5, n), rng.uniform(-0.05, 0.05, n)
    beside = rng.random_sample(n) < 0.75
    dy, dx = np.where(beside, across, along), np.where(beside, along, across)
    first = _view(_choose(crops, n, rng), zoom, -dy, -dx)
    return np.maximum(first, _view(_choose(crops, n, rng), zoom, dy, dx))


def _fragments(background_images, crops, n, shape, rng):
    del background_images
    images = _choose(crops, n, rng)
    y, x = _visible_points(images, rng)
    extent = rng.uniform(0.6, 0.8, n)
    zoom = extent / rng.uniform(0.25, 0.5, n)
    views = _view(images, zoom, -zoom * y, -zoom * x)
    inside_y = np.abs(_centres(shape[0])) < extent[:, None] / 2
    inside_x = np.abs(_centres(shape[1])) < extent[:, None] / 2
    mask = inside_y[:, :, None] & inside_x[:, None, :]
    return views * mask.reshape(mask.shape + (1,) * (views.ndim - 3))


def _choose(crops, n, rng):
    return crops[rng.randint(len(crops), size=n)].astype(np.float32) / 255


def _vary_brightness(images, rng):
    per_image = (len(images),) + (1,) * (images.ndim - 1)
    gain = rng.uniform(0.2, 1, per_image).astype(np.float32)
    offset = rng.uniform(0, 1 - gain).astype(np.float32)
    return np.clip(offset + gain * images, 0, 1)


def _visible_points(images, rng):
    """Draw a visible pixel of each image; return its place, -0.5 to 0.5 of the side."""
    strength = images.max(axis=3) if images.ndim == 4 else images
    flat = strength.reshape(len(strength), -1)
    visible = flat > VISIBLE_SHARE * flat.max(axis=1, keepdims=True)
    chosen = np.argmax(rng.random_sample(flat.shape) * visible, axis=1)
    y, x = np.unravel_index(chosen, strength.shape[1:])
    return _centres(strength.shape[1])[y], _centres(strength.shape[2])[x]


def _centres(n):
    return (np.arange(n) + 0.5) / n - 0.5


def _view(images, zoom, dy, dx):
    """Enlarge each image by `zoom` and move it by (`dy`, `dx`) sides; 0 beyond it."""
    rows = _viewing(images.shape[1], zoom, dy)[:, None]
    columns = _viewing(images.shape[2], zoom, dx)[:, None]
    planes = np.moveaxis(images.reshape(*images.shape[:3], -1), 3, 1)
    views = np.matmul(np.matmul(rows, planes), columns.swapaxes(2, 3))
    return np.clip(np.moveaxis(views, 1, 3).reshape(images.shape), 0, 1)


def _viewing(n, zoom, shift):
    """Return the matrices (n_images, n, n) that resample one axis of each image."""
    place = (_centres(n) - shift[:, None]) / zoom[:, None]
    distance = np.abs(np.arange(n) - ((place + 0.5) * n - 0.5)[..., None])
    # Linear interpolation that averages as many pixels as it skips.
    reach = np.maximum(1, 1 / zoom)[:, None, None]
    return (np.maximum(0, 1 - distance / reach) / reach).astype(np.float32)


KINDS: dict[str, Callable] = {
    "patch": _patches,
    "noise": _noise,
    "shifted": _shifted,
    "enlarged": _enlarged,
    "shrunken": _shrunken,
    "neighbours": _neighbours,
    "fragment": _fragments,
}
NEEDS = {
    "patch": "background_images",
    "shifted": "crops",
    "enlarged": "crops",
    "shrunken": "crops",
    "neighbours": "crops",
    "fragment": "crops",
}
