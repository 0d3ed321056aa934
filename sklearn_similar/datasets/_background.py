"""Images of a detector's background class: things that are no instance."""

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from .._compat import Interval, validate_params
from .._images.reading import to_numpy, uint8_image_list, uint8_images, with_channels
from ._background_kinds import KINDS, NEEDS
from ._checks import allocate, check_size

# Samples that are made together, and their pixels.
_CHUNK = 1000
_MAX_PIXELS = 2**24


@validate_params(
    {
        "background_images": ["array-like", None],
        "crops": ["array-like", None],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "kinds": ["array-like", Mapping, None],
        "size": ["array-like", None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def sample_background(
    background_images=None,
    crops=None,
    *,
    n_samples,
    kinds=None,
    size=None,
    random_state=None,
):
    """Sample images that show no instance, for a detector's background class.

    A recogniser trained on crops alone knows nothing but instances and gives every
    region proposal a label. Photographs supply clutter; the training crops themselves
    supply near misses, so that crops alone are enough to begin with.

    Parameters
    ----------
    background_images : array-like or list of array-like, default=None
        Images without instances: one, an array or a list of any sizes,
        ``(height, width)`` or ``(height, width, 3)``, uint8 or float between 0 and 1.
    crops : array-like of shape (n_crops, height, width) or \
            (n_crops, height, width, 3), default=None
        The training images of the instances, one in the middle of each, bright on
        black, uint8 or float between 0 and 1.
    n_samples : int
        Number of images to sample.
    kinds : sequence of str or mapping of str to float, default=None
        Kinds to sample, in equal numbers or, with a mapping, in these proportions.

        From background images:

        - ``"patch"``: a random part at a random scale, brightness and contrast.

        From crops:

        - ``"shifted"``: off-centre by a third to two thirds of the side;
        - ``"enlarged"``: 1.7 to 3 times too large, so that only a part is seen;
        - ``"shrunken"``: a quarter to half the size, anywhere;
        - ``"neighbours"``: two crops side by side, or one above the other;
        - ``"fragment"``: a small piece, enlarged to the size of an instance.

        From neither:

        - ``"noise"``: noise of random grain, brightness and contrast.

        None: all that the given images allow, with three times as many patches.
    size : (int, int), default=None
        Height and width of the samples in pixels. None: that of `crops`, or (28, 28)
        without them; it cannot differ from that of `crops`.
    random_state : int, RandomState instance or None, default=None
        Source of all random choices.

    Returns
    -------
    background : ndarray of shape (n_samples, height, width) or \
            (n_samples, height, width, 3)
        The samples in random order, with the channels of `crops`, or without them of
        `background_images`. uint8; float32 between 0 and 1 if these are float.

    Raises
    ------
    ValueError
        If neither background images nor crops are given, a kind is unknown or needs
        images that are not given, or there is no memory for the samples.

    See Also
    --------
    make_scenes : Scenes that show instances, with their boxes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_similar.datasets import load_mnist_sample, sample_background
    >>> digits = load_mnist_sample()
    >>> background = sample_background(
    ...     crops=digits.X_train, n_samples=500, random_state=0
    ... )
    >>> X = np.concatenate([digits.X_train, background])
    >>> y = np.concatenate([digits.y_train, np.full(500, -1)])
    >>> X.shape
    (5500, 28, 28)
    """
    if background_images is None and crops is None:
        raise ValueError(
            "background_images and crops are both None: pass background_images to cut "
            "from, crops to make near misses of, or both."
        )
    shares = _check_kinds(kinds, background_images, crops)
    as_float = _is_float(background_images if crops is None else crops)
    if background_images is not None:
        background_images = uint8_image_list(background_images, "background_images")
    if crops is not None:
        crops = uint8_images(crops, "crops")
    shape = _sample_shape(background_images, crops, size)
    if background_images is not None:
        n_channels = shape[2] if len(shape) == 3 else None
        background_images = [with_channels(p, n_channels) for p in background_images]

    dtype = np.float32 if as_float else np.uint8
    samples = allocate((n_samples, *shape), dtype, "n_samples")
    # Large samples are made in small numbers, but every grain of noise comes up.
    n_at_once = int(np.clip(_MAX_PIXELS // np.prod(shape[:2]), 4, _CHUNK))
    rng = check_random_state(random_state)
    order = rng.permutation(n_samples)
    # On matrices as small as these, the threads of BLAS only wait for each other.
    with threadpool_limits(1, user_api="blas"):
        for kind, count in _apportion(shares, n_samples).items():
            rows, order = order[:count], order[count:]
            for start in range(0, count, n_at_once):
                part = rows[start : start + n_at_once]
                pixels = KINDS[kind](background_images, crops, len(part), shape, rng)
                samples[part] = pixels if as_float else np.rint(255 * pixels)
    return samples


def _check_kinds(kinds, background_images, crops) -> dict[str, float]:
    given = {
        "background_images": background_images is not None,
        "crops": crops is not None,
    }
    if kinds is None:
        return {
            kind: 3.0 if kind == "patch" else 1.0
            for kind in KINDS
            if given.get(NEEDS.get(kind, ""), True)
        }
    if not isinstance(kinds, Mapping):
        unknown = [kind for kind in kinds if not isinstance(kind, str)]
        if unknown:
            raise ValueError(
                f"kinds must be among {', '.join(KINDS)}, found {unknown[0]!r}."
            )
        kinds = dict.fromkeys(kinds, 1.0)
    shares = dict(kinds)
    for kind, share in shares.items():
        if kind not in KINDS:
            raise ValueError(f"kinds must be among {', '.join(KINDS)}, found {kind!r}.")
        if not (isinstance(share, Real) and 0 <= float(share) < np.inf):
            raise ValueError(
                f"kinds[{kind!r}] must be a finite share of at least 0, found "
                f"{share!r}."
            )
        if share and not given.get(NEEDS.get(kind, ""), True):
            raise ValueError(
                f"kinds holds {kind!r}, which is made of {NEEDS[kind]}, but "
                f"{NEEDS[kind]} is None: pass them or leave the kind out."
            )
    largest = max(shares.values(), default=0)
    if not largest:
        raise ValueError(f"kinds must name at least one kind to sample, found {kinds}.")
    # The sum of large shares may overflow.
    return {kind: share / largest for kind, share in shares.items()}


def _is_float(images) -> bool:
    if isinstance(images, list | tuple):
        return any(_is_float(image) for image in images)
    return to_numpy(images).dtype.kind == "f"


def _sample_shape(background_images, crops, size) -> tuple[int, ...]:
    if crops is not None:
        if size is not None and check_size(size) != crops.shape[1:3]:
            raise ValueError(
                f"size is {tuple(size)}, but crops have {crops.shape[1:3]} pixels: "
                "leave size out or resize the crops."
            )
        return crops.shape[1:]
    height_width = (28, 28) if size is None else check_size(size)
    colour = any(image.ndim == 3 for image in background_images)
    return (*height_width, 3) if colour else height_width


def _apportion(shares: dict[str, float], n_samples: int) -> dict[str, int]:
    """Split `n_samples` by the shares, to the nearest sample."""
    bounds = np.cumsum([0.0, *shares.values()])
    counts = np.diff(np.rint(bounds / bounds[-1] * n_samples).astype(int))
    return dict(zip(shares, counts.tolist(), strict=True))
