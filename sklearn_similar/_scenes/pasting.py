"""Scenes of labelled images that are pasted at random into a background."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .._images.messages import count, shape_text
from .._images.reading import with_channels
from .rendering import (
    blend,
    brightest_channel,
    may_fit,
    random_crop,
    render,
    resize_to_cover,
)
from .scene import Scene, SceneImages


@dataclass(frozen=True, kw_only=True)
class SceneRecipe:
    """How instances are placed, rendered and blended into a background.

    Ranges are (minimum, maximum), from which a value is drawn uniformly.

    Attributes
    ----------
    size : (int, int)
        Height and width of a scene in pixels.
    n_instances : (int, int)
        Range of the number of instances. Fewer are placed in a full scene, but
        never fewer than the minimum.
    scale : (float, float)
        Range of the factor by which an image is resized.
    background : {"black", "noise", "images"}, default="black"
    background_brightness : (float, float), default=(1.0, 1.0)
        Range of the factor of background images and noise.
    polarity : {"bright", "dark", "both"}, default="bright"
        A dark scene is the negative of a bright scene on the background's negative.
    contrast : (float, float), default=(1.0, 1.0)
        Range of the opacity of an instance as a whole.
    rotation : float, default=0.0
        Maximum angle of an instance in degrees, either way.
    allow_overlap : bool, default=False
        Whether boxes may intersect.
    is_8_bit : bool, default=False
        Whether pixels are rounded to multiples of 1 / 255.
    max_attempts : int, default=20
        Scenes that are begun before the recipe is given up: placed at random, the same
        number of instances fits in some of them only.
    max_misses : int, default=100
        Instances in a row without room after which a scene counts as full.
    """

    size: tuple[int, int]
    n_instances: tuple[int, int]
    scale: tuple[float, float]
    background: str = "black"
    background_brightness: tuple[float, float] = (1.0, 1.0)
    polarity: str = "bright"
    contrast: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    allow_overlap: bool = False
    is_8_bit: bool = False
    max_attempts: int = 20
    max_misses: int = 100


def paste_scenes(
    images: SceneImages, recipe: SceneRecipe, n_scenes: int, rng: np.random.RandomState
) -> Iterator[Scene]:
    """Scenes of one recipe, one after the other.

    A random generator for each scene keeps a scene the same however many follow it.
    """
    for seed in rng.randint(2**31 - 1, size=n_scenes):
        yield paste(images, recipe, np.random.RandomState(seed))


def paste(
    images: SceneImages, recipe: SceneRecipe, rng: np.random.RandomState
) -> Scene:
    """Paste images at random into a background.

    Parameters
    ----------
    images : SceneImages
        The backgrounds cover the scene, and have the channels of the instances.
    recipe : SceneRecipe
    rng : RandomState

    Returns
    -------
    Scene

    Raises
    ------
    ValueError
        If the minimum number of instances does not fit.
    """
    is_dark = recipe.polarity == "dark" or (
        recipe.polarity == "both" and bool(rng.randint(2))
    )
    placements = _place_instances(images, recipe, rng)
    levels = _make_background(images, recipe, is_dark, rng)
    for placement in placements:
        contrast = rng.uniform(*recipe.contrast)
        blend(levels, placement.patch, placement.opacity, placement.corner, contrast)
    if recipe.is_8_bit:
        levels = np.rint(levels)
    if is_dark:
        levels = 255 - levels
    boxes = [placement.box for placement in placements]
    return Scene.from_levels(levels, boxes, [placement.row for placement in placements])


def cover_scenes(
    backgrounds: Sequence[np.ndarray], size: tuple[int, int], n_channels: int | None
) -> list[np.ndarray]:
    """Backgrounds with the channels of the instances, enlarged to cover scenes."""
    return [
        resize_to_cover(
            with_channels(image, n_channels), size, f"background_images[{index}]"
        )
        for index, image in enumerate(backgrounds)
    ]


@dataclass(frozen=True)
class _Placement:
    """A rendered instance: row of its image, patch with opacity, (y, x) corner, box."""

    row: int
    patch: np.ndarray
    opacity: np.ndarray
    corner: np.ndarray
    box: np.ndarray


class _FreeSpace:
    """Where a scene is still free of instances."""

    def __init__(self, size: tuple[int, int], max_instances: int):
        self._size = size
        # First and last (y, x) corner of each patch, the last exclusive.
        self._corners = np.empty((max_instances, 2, 2), np.int64)
        self._n_patches = 0

    def find_corner(
        self,
        shape: tuple[int, ...],
        rng: np.random.RandomState,
        n_batches: int = 8,
        batch_size: int = 25,
    ) -> np.ndarray | None:
        """A random corner at which a patch overlaps no other, or None.

        At most n_batches * batch_size corners are tried.
        """
        room = np.subtract(self._size, shape)
        if room.min() < 0:
            return None
        first, last = self._corners[: self._n_patches].swapaxes(0, 1)
        for _ in range(n_batches):
            starts = rng.randint(0, room + 1, size=(batch_size, 2))
            stops = starts + shape
            meets = (starts[:, np.newaxis] < last) & (stops[:, np.newaxis] > first)
            is_free = ~meets.all(axis=2).any(axis=1)
            if is_free.any():
                return starts[is_free.argmax()]
        return None

    def occupy(self, corner: np.ndarray, shape: tuple[int, ...]) -> None:
        self._corners[self._n_patches] = corner, corner + shape
        self._n_patches += 1


def _place_instances(
    images: SceneImages, recipe: SceneRecipe, rng: np.random.RandomState
) -> list[_Placement]:
    """At least the minimum number of instances, in one of several attempts."""
    n_min = recipe.n_instances[0]
    best = 0
    for _ in range(recipe.max_attempts):
        placements = _fill_scene(images, recipe, rng)
        if len(placements) >= n_min:
            return placements
        best = max(best, len(placements))
    raise ValueError(
        f"A scene of {shape_text(recipe.size)} pixels has room for only {best} of at "
        f"least {count(n_min, 'instance')}: choose a larger size, a smaller scale, "
        "fewer n_instances or allow_overlap=True."
    )


def _fill_scene(
    images: SceneImages, recipe: SceneRecipe, rng: np.random.RandomState
) -> list[_Placement]:
    """A random number of instances; fewer than the minimum if the attempt fails."""
    n_min, n_max = recipe.n_instances
    n_wanted = rng.randint(n_min, n_max + 1)
    space = _FreeSpace(recipe.size, n_wanted)
    placements: list[_Placement] = []
    n_missed = n_missed_in_a_row = 0
    for row in rng.randint(len(images.instances), size=n_wanted):
        placement = _place(images, row, recipe, space, rng)
        if placement is not None:
            placements.append(placement)
            n_missed_in_a_row = 0
            continue
        n_missed += 1
        n_missed_in_a_row += 1
        if n_missed > n_wanted - n_min or n_missed_in_a_row == recipe.max_misses:
            break
    return placements


def _place(
    images: SceneImages,
    row: int,
    recipe: SceneRecipe,
    space: _FreeSpace,
    rng: np.random.RandomState,
) -> _Placement | None:
    """Rotate and resize an instance, and place it; None if no free space fits it."""
    angle = rng.uniform(-recipe.rotation, recipe.rotation)
    scale = rng.uniform(*recipe.scale)
    image = images.instances[row]
    mask = None if images.masks is None else images.masks[row]
    source_opacity = brightest_channel(image) if mask is None else mask
    if not may_fit(source_opacity, scale, recipe.size):
        return None
    patch, opacity, box = render(image, mask, scale, angle)
    corner = space.find_corner(opacity.shape, rng)
    if corner is None or not opacity.any():
        return None
    if not recipe.allow_overlap:
        space.occupy(corner, opacity.shape)
    return _Placement(row, patch, opacity, corner, box + np.tile(corner[::-1], 2))


def _make_background(
    images: SceneImages,
    recipe: SceneRecipe,
    is_dark: bool,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Grey levels of a background, a negative for a dark scene, float32."""
    shape = (*recipe.size, *images.instances.shape[3:])
    if recipe.background == "black":
        return np.zeros(shape, np.float32)
    brightness = rng.uniform(*recipe.background_brightness)
    if recipe.background == "noise":
        return (255 * brightness * rng.random_sample(shape)).astype(np.float32)
    image = images.backgrounds[rng.randint(len(images.backgrounds))]
    crop = random_crop(image, recipe.size, rng)
    return np.float32(brightness) * (255 - crop if is_dark else crop)
