"""Background images: synthetic textures, and other views of photographs."""

import numpy as np
from scipy import ndimage


def make_textures(n_images: int, size: tuple[int, int], random_state) -> list:
    """Smooth noise, gratings and blurred shapes in equal shares.

    Parameters
    ----------
    n_images : int
    size : (int, int)
        Height and width in pixels.
    random_state : RandomState

    Returns
    -------
    list of ndarray of shape (height, width), uint8
    """
    kinds = (_smooth_noise, _gratings, _shapes)
    textures = []
    for number in range(n_images):
        texture = kinds[number % len(kinds)](size, random_state)
        texture = (texture - texture.min()) / max(np.ptp(texture), 1e-6)
        if random_state.uniform() < 0.5:
            grain = random_state.uniform(0, 0.15)
            texture = texture + grain * random_state.standard_normal(size)
        textures.append(_to_uint8(texture))
    return textures


def vary_views(images: list, random_state) -> list:
    """Each image turned, mirrored, resized and its tones changed: eight views."""
    views = []
    for image in images:
        for view in range(8):
            turned = np.rot90(image[:, :: -1 if view % 2 else 1], view // 2) / 255
            zoom = np.exp(random_state.uniform(np.log(0.5), np.log(1.5)))
            zooms = (zoom, zoom, 1)[: turned.ndim]
            turned = ndimage.zoom(turned, zooms, order=1)
            views.append(_to_uint8(turned ** random_state.uniform(0.7, 1.4)))
    return views


def _smooth_noise(size, random_state) -> np.ndarray:
    noise = random_state.standard_normal(size)
    return ndimage.gaussian_filter(noise, np.exp(random_state.uniform(-0.4, 2.5)))


def _gratings(size, random_state) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    grating = np.zeros(size)
    for _ in range(random_state.randint(1, 4)):
        angle, phase = random_state.uniform(0, (np.pi, 2 * np.pi))
        rate = np.exp(random_state.uniform(np.log(0.02), np.log(0.5)))
        grating += np.sin((np.cos(angle) * x + np.sin(angle) * y) * rate + phase)
    return grating


def _shapes(size, random_state) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.zeros(size)
    for _ in range(random_state.randint(5, 25)):
        x0, y0 = random_state.uniform(0, size[1]), random_state.uniform(0, size[0])
        radius = np.exp(random_state.uniform(np.log(4), np.log(max(5, min(size) / 3))))
        angle, aspect = random_state.uniform(0, np.pi), random_state.uniform(0.2, 1)
        along = np.abs((x - x0) * np.cos(angle) + (y - y0) * np.sin(angle))
        across = np.abs((y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)) / aspect
        # Rectangle, ellipse and lozenge are balls of three norms.
        norm = (np.maximum(along, across), np.hypot(along, across), along + across)
        picture[norm[random_state.randint(3)] < radius] = random_state.uniform()
    return ndimage.gaussian_filter(picture, random_state.uniform(0, 1.5))


def _to_uint8(picture: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
