"""Background images: synthetic textures, and other views of photographs."""

import numpy as np
from scipy import ndimage

from .rendering import resize


def make_textures(n_images: int, size: tuple[int, int], random_state) -> list:
    """Smooth noise, gratings, shapes, strands, leaves (two shares) and clouds, in turn.

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
    kinds = (_smooth_noise, _leaves, _gratings, _clouds, _strands, _leaves, _shapes)
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
            turned = np.rot90(image[:, :: -1 if view % 2 else 1], view // 2)
            zoom = np.exp(random_state.uniform(np.log(0.5), np.log(1.5)))
            height, width = (max(1, round(zoom * n)) for n in turned.shape[:2])
            resized = resize(turned, (height, width)) / 255
            views.append(_to_uint8(resized ** random_state.uniform(0.7, 1.4)))
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
        along, across = np.abs(_turned(x - x0, y - y0, angle))
        across /= aspect
        # Rectangle, ellipse and lozenge are balls of three norms.
        norm = (np.maximum(along, across), np.hypot(along, across), along + across)
        picture[norm[random_state.randint(3)] < radius] = random_state.uniform()
    return ndimage.gaussian_filter(picture, random_state.uniform(0, 1.5))


def _clouds(size, random_state) -> np.ndarray:
    """Noise of all scales, its power a falling power of the frequency."""
    noise = np.fft.rfft2(random_state.standard_normal(size))
    stretch = np.exp(random_state.uniform(-0.7, 0.7))
    frequency = np.hypot(
        np.fft.fftfreq(size[0])[:, np.newaxis], np.fft.rfftfreq(size[1]) * stretch
    )
    frequency[0, 0] = np.inf
    clouds = np.fft.irfft2(noise / frequency ** random_state.uniform(0.8, 1.8), size)
    # A single pixel has no deviation.
    clouds /= max(clouds.std(), 1e-6)
    return np.tanh(clouds * np.exp(random_state.uniform(-1, 1)))


def _leaves(size, random_state) -> np.ndarray:
    """Shaded shapes of all sizes that occlude one another, on clouds.

    There are as many pixels in small shapes as in large ones, as in photographs (the
    dead-leaves model).
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    picture = 0.5 + 0.5 * _clouds(size, random_state)
    small = np.exp(random_state.uniform(np.log(2.5), np.log(8)))
    large = np.exp(random_state.uniform(np.log(30), np.log(120)))
    thinnest = np.exp(random_state.uniform(np.log(0.06), np.log(0.5)))
    is_upright = random_state.uniform()
    share = random_state.uniform(size=random_state.randint(200, 600))
    for radius in 1 / np.sqrt(share / small**2 + (1 - share) / large**2):
        x0, y0 = random_state.uniform(0, width), random_state.uniform(0, height)
        angle = random_state.uniform(0, np.pi)
        if random_state.uniform() < is_upright:
            angle = np.pi / 2 * random_state.randint(2) + random_state.normal(0, 0.05)
        near = _near(x0, y0, 1.5 * radius)
        along, across = _turned(x[near] - x0, y[near] - y0, angle) / radius
        wide = across / np.exp(random_state.uniform(np.log(thinnest), 0))
        square, round_ = np.maximum(abs(along), abs(wide)), np.hypot(along, wide)
        wedge = np.maximum(abs(along), abs(wide) + 0.5 * along)
        leaf = (square, round_, wedge)[random_state.randint(3)] < 1
        slope = random_state.normal(0, 0.2, size=2)
        shade = random_state.uniform() + slope[0] * along + slope[1] * across
        picture[near][leaf] = shade[leaf]
    return ndimage.gaussian_filter(
        np.clip(picture, 0, 1), random_state.uniform(0.3, 1.2)
    )


def _strands(size, random_state) -> np.ndarray:
    """Thin, bent, shaded strokes that cross one another: grass, hair, twigs, wires.

    Many run about one way, in a few widths, and narrow towards their tips.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    ground, cloudiness = random_state.uniform(0, (1, 0.3))
    picture = ground + cloudiness * _clouds(size, random_state)
    direction, spread = random_state.uniform(0, np.pi), random_state.uniform(0.05, 1.2)
    typical = np.exp(random_state.uniform(np.log(0.7), np.log(4)))
    light = random_state.uniform(0.3, 1)
    for _ in range(random_state.randint(60, 250)):
        half_width = typical * np.exp(random_state.normal(0, 0.4))
        half_length = half_width * np.exp(random_state.uniform(np.log(8), np.log(50)))
        x0, y0 = random_state.uniform(0, width), random_state.uniform(0, height)
        near = _near(x0, y0, half_length)
        angle = random_state.normal(direction, spread)
        along, across = _turned(x[near] - x0, y[near] - y0, angle)
        along, across = along / half_length, across / half_width
        bend = random_state.normal(0, 0.1) * half_length / half_width
        taper = random_state.uniform(0, 0.5)
        off = np.abs(across - bend * along**2) / (1 - taper - taper * along + 1e-6)
        shade = light * random_state.uniform(0.5, 1)
        shade = shade + random_state.normal(0, 0.2) * along
        shade -= random_state.uniform(0, 0.3) * off
        strand = (off < 1) & (np.abs(along) < 1)
        picture[near][strand] = shade[strand]
    picture = ndimage.gaussian_filter(picture, np.exp(random_state.uniform(-1, 0.9)))
    return np.clip(picture, 0, 1)


def _turned(right: np.ndarray, down: np.ndarray, angle: float) -> np.ndarray:
    """Coordinates along a direction, and across it."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([right * cosine + down * sine, down * cosine - right * sine])


def _near(x0: float, y0: float, reach: float) -> tuple[slice, slice]:
    """Rows and columns, within the picture, at most so far from a point."""
    return (
        slice(max(0, int(y0 - reach)), int(y0 + reach) + 2),
        slice(max(0, int(x0 - reach)), int(x0 + reach) + 2),
    )


def _to_uint8(picture: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
