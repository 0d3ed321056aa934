"""Synthetic textures, which stand in for photographs behind training scenes.

A new texture is a function of a size and a random generator, and an entry in
`TEXTURES`.
"""

import numpy as np
from scipy import ndimage

from .rendering import to_uint8


def make_textures(
    n_images: int, size: tuple[int, int], rng: np.random.RandomState
) -> list[np.ndarray]:
    """Textures of all kinds in turn, half of them with grain.

    Parameters
    ----------
    n_images : int
    size : (int, int)
        Height and width in pixels.
    rng : RandomState

    Returns
    -------
    list of ndarray of shape (height, width), uint8
    """
    textures = []
    for index in range(n_images):
        texture = TEXTURES[index % len(TEXTURES)](size, rng)
        texture = (texture - texture.min()) / max(np.ptp(texture), 1e-6)
        if rng.uniform() < 0.5:
            grain = rng.uniform(0, 0.15)
            texture = texture + grain * rng.standard_normal(size)
        textures.append(to_uint8(texture))
    return textures


def _smooth_noise(size: tuple[int, int], rng: np.random.RandomState) -> np.ndarray:
    noise = rng.standard_normal(size)
    return ndimage.gaussian_filter(noise, np.exp(rng.uniform(-0.4, 2.5)))


def _gratings(size: tuple[int, int], rng: np.random.RandomState) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    grating = np.zeros(size)
    for _ in range(rng.randint(1, 4)):
        angle, phase = rng.uniform(0, (np.pi, 2 * np.pi))
        rate = np.exp(rng.uniform(np.log(0.02), np.log(0.5)))
        grating += np.sin((np.cos(angle) * x + np.sin(angle) * y) * rate + phase)
    return grating


def _shapes(size: tuple[int, int], rng: np.random.RandomState) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.zeros(size)
    for _ in range(rng.randint(5, 25)):
        x0, y0 = rng.uniform(0, size[1]), rng.uniform(0, size[0])
        radius = np.exp(rng.uniform(np.log(4), np.log(max(5, min(size) / 3))))
        angle, aspect = rng.uniform(0, np.pi), rng.uniform(0.2, 1)
        along, across = np.abs(_rotate(x - x0, y - y0, angle))
        across /= aspect
        # Rectangle, ellipse and lozenge are balls of three norms.
        norm = (np.maximum(along, across), np.hypot(along, across), along + across)
        image[norm[rng.randint(3)] < radius] = rng.uniform()
    return ndimage.gaussian_filter(image, rng.uniform(0, 1.5))


def _clouds(size: tuple[int, int], rng: np.random.RandomState) -> np.ndarray:
    """Noise of all scales: its power falls with a power of the frequency."""
    noise = np.fft.rfft2(rng.standard_normal(size))
    stretch = np.exp(rng.uniform(-0.7, 0.7))
    frequency = np.hypot(
        np.fft.fftfreq(size[0])[:, np.newaxis], np.fft.rfftfreq(size[1]) * stretch
    )
    frequency[0, 0] = np.inf
    clouds = np.fft.irfft2(noise / frequency ** rng.uniform(0.8, 1.8), size)
    # A single pixel has no deviation.
    clouds /= max(clouds.std(), 1e-6)
    return np.tanh(clouds * np.exp(rng.uniform(-1, 1)))


def _leaves(size: tuple[int, int], rng: np.random.RandomState) -> np.ndarray:
    """Shaded shapes of all sizes that occlude each other, on clouds.

    Small shapes have as many pixels as large ones, as in photographs (the dead-leaves
    model).
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    image = 0.5 + 0.5 * _clouds(size, rng)
    small = np.exp(rng.uniform(np.log(2.5), np.log(8)))
    large = np.exp(rng.uniform(np.log(30), np.log(120)))
    thinnest = np.exp(rng.uniform(np.log(0.06), np.log(0.5)))
    is_upright = rng.uniform()
    share = rng.uniform(size=rng.randint(200, 600))
    for radius in 1 / np.sqrt(share / small**2 + (1 - share) / large**2):
        x0, y0 = rng.uniform(0, width), rng.uniform(0, height)
        angle = rng.uniform(0, np.pi)
        if rng.uniform() < is_upright:
            angle = np.pi / 2 * rng.randint(2) + rng.normal(0, 0.05)
        window = _window(x0, y0, 1.5 * radius)
        along, across = _rotate(x[window] - x0, y[window] - y0, angle) / radius
        width_unit = np.exp(rng.uniform(np.log(thinnest), 0))
        leaf = _leaf_norms(along, across / width_unit)[rng.randint(3)] < 1
        slope = rng.normal(0, 0.2, size=2)
        shade = rng.uniform() + slope[0] * along + slope[1] * across
        image[window][leaf] = shade[leaf]
    return ndimage.gaussian_filter(np.clip(image, 0, 1), rng.uniform(0.3, 1.2))


def _leaf_norms(along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, ...]:
    """Norms whose unit balls are a square, a disc and a wedge."""
    square = np.maximum(abs(along), abs(across))
    wedge = np.maximum(abs(along), abs(across) + 0.5 * along)
    return square, np.hypot(along, across), wedge


def _strands(size: tuple[int, int], rng: np.random.RandomState) -> np.ndarray:
    """Thin, bent, shaded strokes that cross each other: grass, hair, twigs, wires.

    Most have a similar direction and width, and narrow towards their tips.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    brightness, cloudiness = rng.uniform(0, (1, 0.3))
    image = brightness + cloudiness * _clouds(size, rng)
    direction, deviation = rng.uniform(0, np.pi), rng.uniform(0.05, 1.2)
    median_width = np.exp(rng.uniform(np.log(0.7), np.log(4)))
    light = rng.uniform(0.3, 1)
    for _ in range(rng.randint(60, 250)):
        half_width = median_width * np.exp(rng.normal(0, 0.4))
        half_length = half_width * np.exp(rng.uniform(np.log(8), np.log(50)))
        x0, y0 = rng.uniform(0, width), rng.uniform(0, height)
        window = _window(x0, y0, half_length)
        angle = rng.normal(direction, deviation)
        along, across = _rotate(x[window] - x0, y[window] - y0, angle)
        along, across = along / half_length, across / half_width
        bend = rng.normal(0, 0.1) * half_length / half_width
        taper = rng.uniform(0, 0.5)
        offset = np.abs(across - bend * along**2) / (1 - taper - taper * along + 1e-6)
        shade = light * rng.uniform(0.5, 1)
        shade = shade + rng.normal(0, 0.2) * along
        shade -= rng.uniform(0, 0.3) * offset
        strand = (offset < 1) & (np.abs(along) < 1)
        image[window][strand] = shade[strand]
    image = ndimage.gaussian_filter(image, np.exp(rng.uniform(-1, 0.9)))
    return np.clip(image, 0, 1)


def _rotate(right: np.ndarray, down: np.ndarray, angle: float) -> np.ndarray:
    """Coordinates along a direction and across it."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([right * cosine + down * sine, down * cosine - right * sine])


def _window(x0: float, y0: float, distance: float) -> tuple[slice, slice]:
    """Rows and columns of an image within a distance of a point."""
    return (
        slice(max(0, int(y0 - distance)), int(y0 + distance) + 2),
        slice(max(0, int(x0 - distance)), int(x0 + distance) + 2),
    )


# Leaves have two shares.
TEXTURES = (_smooth_noise, _leaves, _gratings, _clouds, _strands, _leaves, _shapes)
