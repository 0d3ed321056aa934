"""Arrays of the user, into which heatmaps are written."""

from typing import Any

import numpy as np

from .images import Images, shape_text


def check_out(out: Any, images: Images) -> Any:
    """Where the heatmap of each image goes; None if the user has given no array.

    Raises
    ------
    ValueError
        If `out` has not the shapes of the heatmaps, or is no array of floats.
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
            _check_array(array, f"out[{index}]", shape)
        return out
    is_rows = images.layout == "rows"
    each = (int(np.prod(shapes[0])),) if is_rows else shapes[0]
    if not isinstance(out, np.ndarray):
        raise ValueError(
            f"out is a {type(out).__name__}; pass a NumPy array of the shape "
            f"{(len(shapes), *each)}, which may be a memory map."
        )
    _check_array(out, "out", (len(shapes), *each))
    view = out.view(np.ndarray) if not isinstance(out, np.memmap) else out
    # An axis that is split is never copied.
    return view.reshape(len(shapes), *shapes[0]) if is_rows else out


def _check_array(array: Any, name: str, shape: tuple[int, ...]) -> None:
    found = getattr(array, "shape", None)
    if found is None or tuple(found) != shape or not hasattr(array, "__setitem__"):
        text = "no array" if found is None else f"an array of {shape_text(found)}"
        raise ValueError(
            f"{name} is {text}, but the heatmaps need {shape_text(shape)}; pass an "
            "array of that shape."
        )
    if np.dtype(array.dtype).kind != "f":
        raise ValueError(
            f"{name} has dtype {array.dtype}; pass an array of floats, such as float32."
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ValueError(f"{name} cannot be written to; open it with mode='r+'.")
