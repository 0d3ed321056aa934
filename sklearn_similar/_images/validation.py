"""The gate of the estimators: X and y in, `Images` and class indices out."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .._compat import get_output_config
from .crops import crops_of_one_size
from .images import Images
from .labels import check_classes, check_labels, check_sample_weight, encode
from .messages import ImageNames, shape_text, warn_user
from .pillow_images import is_pillow_image
from .reading import (
    check_images_of_any_size,
    check_numeric,
    check_one_size,
    is_images,
    is_list_of_images,
    read_image,
    read_images,
    to_numpy,
)
from .rows import infer_image_shape, readable_rows, rows_as_images
from .scaling import BY_TYPE, Scaling, extremes, learn_scaling
from .transparency import Fill, fill_for
from .value_range import (
    check_value_range,
    learnt_scaling,
    training_range,
    warn_if_unlike_learnt,
)


def check_training_data(
    estimator,
    X,
    y,
    image_shape,
    classes=None,
    min_classes: int = 2,
    known: Scaling = BY_TYPE,
    learns_scaling: bool = True,
    sample_weight=None,
    fill: Fill | None = None,
) -> tuple[Images, np.ndarray, np.ndarray]:
    """Labelled images of one size; sets the attributes that come from them.

    These are `classes_`, `image_shape_`, `n_features_in_`, `scaling_`, `value_range_`
    and the type of the pixels, `_dtype`. The scaling of a type is learnt unless it is
    known; nothing is learnt from images of weight 0. Transparent pixels get a fill;
    without one, the alpha channel of an array is a channel like others.

    Returns
    -------
    images : Images
    y : ndarray of shape (n_images,)
        Index of each image's label in `classes_`.
    weights : ndarray of shape (n_images,)
        See `check_sample_weight`.
    """
    if fill is None and is_list_of_images(X) and any(map(is_pillow_image, X)):
        counted = check_sample_weight(sample_weight, len(X)) > 0
        X = _without_pillow_images(X, counted, known, learns_scaling)
    rows, layout, shape_in_X = _training_rows(X, fill)
    check_labels(y, rows.shape[0], "y")
    rows, y = validate_data(
        estimator, rows, y, ensure_all_finite=False, ensure_min_samples=2
    )
    check_numeric(rows, "X")
    estimator.classes_, y_index = _index_classes(y, classes, min_classes)
    shape = infer_image_shape(shape_in_X, rows.shape[1], image_shape)
    estimator.image_shape_ = shape
    images = rows_as_images(rows, shape, layout)
    weights = check_sample_weight(sample_weight, len(images))
    has_weight = weights > 0
    warn = _checks_range(estimator)
    if learns_scaling:
        scaling = learnt_scaling(images, has_weight, known)
    else:
        scaling = known.with_range_of(images.dtype)
        warn = warn and not warn_if_unlike_learnt(images, has_weight, known)
    # A dict of the package's own, of types that a file of `save` holds.
    estimator.scaling_ = dict(scaling.ranges)
    images = replace(images, scaling=scaling)
    estimator.value_range_ = training_range(images, has_weight, warn=warn)
    # The name of the type, so that files of estimators hold no type to be trusted.
    estimator._dtype = images.dtype.name
    return images, y_index, weights


def _training_rows(X, fill: Fill | None) -> tuple[Any, str, tuple[int, ...] | None]:
    """X as rows, its layout, and the shape of its images if they are not rows."""
    if not is_images(X):
        return readable_rows(X), "rows", None
    images = read_images(X, fill=fill)
    pixels = check_one_size(images)
    shape = pixels.shape[1:]
    # An axis of one channel is the user's, or made here.
    has_axis = not is_pillow_image(X[0]) and np.shape(X[0])[2:] == (1,)
    if shape[2] == 1 and not has_axis:
        shape = shape[:2]
    return pixels.reshape(len(pixels), -1), images.layout, shape


def _without_pillow_images(
    X: Sequence[Any], counted: np.ndarray, known: Scaling, learns_scaling: bool
) -> list[Any]:
    """A list of images, in which those of Pillow are arrays without alpha.

    What stands behind them is learnt from the images in the mask `counted`.
    """
    names = [f"Image {index} of X" for index in range(len(X))]
    if learns_scaling:
        visible = Fill(None, known)
        # The alpha channel of an array is a channel like others.
        arrays = (
            np.asarray(
                read_image(x, name, fill=visible if is_pillow_image(x) else None)
            )
            for x, name, counts in zip(X, names, counted, strict=True)
            if counts
        )
        known = learn_scaling(extremes(arrays, set()), known)
    return [
        to_numpy(x, name, Fill(scaling=known)) if is_pillow_image(x) else x
        for x, name in zip(X, names, strict=True)
    ]


def scaled_crops(X: Any, size: int | None, fill: Fill) -> Any:
    """Crops of a size, or of one size if there are several; see `crops_of_one_size`.

    Others are given back as they are. An axis of one channel is lost in scaling.
    """
    if not is_images(X):
        if size is not None:
            raise ValueError(
                f"crop_size={size} scales images, but X holds rows; pass images, (n, "
                "height, width) or a list of them, or crop_size=None."
            )
        return X
    pixels = read_images(X, fill=fill).pixels
    sizes = {image.shape[:2] for image in pixels}
    if len(sizes) == 1 and (size is None or sizes == {(size, size)}):
        return X
    images = [np.asarray(image) for image in pixels]
    return crops_of_one_size(
        [image[..., 0] if image.shape[2] == 1 else image for image in images], size
    )[0]


def _index_classes(
    y: np.ndarray, classes: Any, min_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and the index of each label in them.

    Parameters
    ----------
    y : ndarray of shape (n_images,)
    classes : array-like or None
        The classes that the user gave; None: those in y.
    min_classes : int
    """
    try:
        classes_in_y, y_index = np.unique(y, return_inverse=True)
    except TypeError as error:
        types = sorted({type(label).__name__ for label in y})
        raise ValueError(
            f"y holds labels of the types {', '.join(types)}; make them all the same."
        ) from error
    check_classification_targets(y)
    if classes is None:
        classes = classes_in_y
    else:
        classes = check_classes(classes)
        y_index = encode(classes, classes_in_y, "y", "classes")[y_index]
    if len(classes) < min_classes:
        raise ValueError(
            f"y holds one class, {classes.tolist()[0]!r}; a classifier needs images of "
            "at least 2 classes."
        )
    return classes, y_index


def check_images(
    estimator, X, layout: str = "rows", check_range: bool | None = None
) -> Images:
    """Images of any size, or rows of the trained size.

    Parameters
    ----------
    estimator : SimilarNetClassifier or InstanceLocalizer
    X : array, DataFrame or list of images
    layout : {"rows", "grey", "colour"}
        Layout of the images in `fit`; if not "rows", an array of rows gets a warning,
        as it may be an image.
    check_range : bool, optional
        Whether to warn of values unlike those of the training images; by default,
        unless the estimator is told not to.
    """
    if check_range is None:
        check_range = _checks_range(estimator)
    images = replace(_read(estimator, X, layout), scaling=Scaling.of(estimator))
    dtype = np.dtype(estimator._dtype)
    check_value_range(images, estimator.value_range_, dtype, warn=check_range)
    return images


def image_names(estimator) -> ImageNames:
    """What messages of an estimator call the images in X."""
    # Set on a copy that gets a part of X; see `blockwise`.
    return getattr(estimator, "_image_names", ImageNames())


def _checks_range(estimator) -> bool:
    # Set on an estimator whose caller has checked the range.
    return getattr(estimator, "_check_range", True)


def _read(estimator, X, layout: str) -> Images:
    names, trained = image_names(estimator), estimator.image_shape_
    if trained is None:
        check_images_of_any_size(X)
    if is_images(X):
        return read_images(X, trained, names, fill_for(estimator))
    rows = readable_rows(X)
    if isinstance(rows, np.ndarray):
        _check_not_one_image(estimator, rows, layout)
    rows = validate_data(estimator, rows, reset=False, ensure_all_finite=False)
    check_numeric(rows, "X")
    return rows_as_images(rows, trained, names=names)


def _check_not_one_image(estimator, rows: np.ndarray, layout: str) -> None:
    """Raise ValueError or warn for rows that may be an image."""
    if rows.shape[1] != estimator.n_features_in_ and layout != "rows":
        raise ValueError(
            f"X has shape {shape_text(rows.shape)}, and rows would have "
            f"{estimator.n_features_in_} values; if X is one image, pass [X]."
        )
    if rows.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {rows.shape[1]} features, but {type(estimator).__name__} is "
            f"expecting {estimator.n_features_in_} features as input; if X is one "
            "image, pass [X]."
        )
    if layout != "rows":
        warn_user(
            f"X has shape {rows.shape} and is read as {len(rows)} rows of "
            f"{shape_text(estimator.image_shape_)} pixels; if X is one image, pass "
            "[X].",
        )


def check_trained_size(estimator, X, method: str) -> Images:
    """Images of the trained size, for a method of that name."""
    images = check_images(estimator, X)
    trained = estimator.image_shape_[:2]
    for index in (members[0] for members in images.group_by_shape()):
        size = images.pixels[index].shape[:2]
        if size != trained:
            raise ValueError(
                f"{images.names.name(index)} of X is {shape_text(size)}, but {method} "
                f"wants the trained size {shape_text(trained)}; resize it, or find "
                "what is in images of any size with InstanceLocalizer."
            )
    return images


def check_has_importances(estimator, attribute: str = "filter_weights_") -> None:
    """Raise NotFittedError unless an attribute of the importances is there."""
    # `check_is_fitted` takes long to tell that nothing is missing.
    if hasattr(estimator, "net_") and hasattr(estimator, attribute):
        return
    check_is_fitted(estimator, "net_")
    message = (
        "This %(name)s has no filter importances yet; call fit (with "
        "validation_fraction) or fit_importance first."
    )
    check_is_fitted(estimator, attribute, msg=message)


def check_image_size(image_size: Any) -> tuple[int, int] | None:
    """Height and width to which images are resized, or None.

    Raises ValueError unless they are integers above 0.
    """
    if image_size is None:
        return None
    is_pair = isinstance(image_size, tuple | list) and len(image_size) == 2
    size = tuple(image_size) if is_pair else (image_size, image_size)
    if not all(
        isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in size
    ):
        raise ValueError(
            f"image_size is {image_size!r}; pass a number of pixels, or (height, "
            "width), or None to take images as they are."
        )
    return int(size[0]), int(size[1])


def check_output_container(estimator, X) -> None:
    """Raise ValueError if `set_output` asks for a table, but X is not one."""
    container = get_output_config("transform", estimator)["dense"]
    if container != "default" and is_images(X):
        raise ValueError(
            f"set_output asks for {container}, but heatmaps of images are not a table; "
            "pass rows, X.reshape(len(X), -1), or call set_output(transform='default')."
        )


def check_out(out: Any, images: Images) -> Any:
    """Where the heatmap of each image is written; None if the user gave no array.

    Raises
    ------
    ValueError
        If `out` does not have the shapes of the heatmaps, or does not hold floats.
    """
    if out is None:
        return None
    shapes = [tuple(pixels.shape[:2]) for pixels in images.pixels]
    if images.layout == "list":
        if not isinstance(out, (list, tuple)) or len(out) != len(shapes):
            raise ValueError(
                f"out is a {type(out).__name__}, but X is a list of {len(shapes)} "
                "images; pass a list of as many arrays."
            )
        for index, (array, shape) in enumerate(zip(out, shapes, strict=True)):
            _check_writable(array, f"out[{index}]", shape)
        return out
    is_rows = images.layout == "rows"
    each = (int(np.prod(shapes[0])),) if is_rows else shapes[0]
    if not isinstance(out, np.ndarray):
        raise ValueError(
            f"out is a {type(out).__name__}; pass a NumPy array of the shape "
            f"{(len(shapes), *each)}, which may be a memory map."
        )
    _check_writable(out, "out", (len(shapes), *each))
    view = out if isinstance(out, np.memmap) else out.view(np.ndarray)
    # Splitting an axis never makes a copy.
    return view.reshape(len(shapes), *shapes[0]) if is_rows else out


def _check_writable(array: Any, name: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless heatmaps of a shape can be written into an array."""
    given = getattr(array, "shape", None)
    if given is None or tuple(given) != shape or not hasattr(array, "__setitem__"):
        kind = "not an array" if given is None else f"an array of {shape_text(given)}"
        raise ValueError(
            f"{name} is {kind}, but the heatmaps need {shape_text(shape)}; pass an "
            "array of that shape."
        )
    if np.dtype(array.dtype).kind != "f":
        raise ValueError(
            f"{name} has dtype {array.dtype}; pass an array of floats, such as float32."
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ValueError(f"{name} cannot be written to; open it with mode='r+'.")
