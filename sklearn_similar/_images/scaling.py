"""Which values of pixels become 0 and 1 in the network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from numbers import Real
from typing import Any, TypeVar, cast

import numpy as np

ValueRange = tuple[float, float]
Values = TypeVar("Values", bound=Any)

# The key of a range that holds for all types.
ANY = "any"
_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Floats up to this value are taken as they are: no camera has fewer bits.
_MAX_PLAIN = 255


@dataclass(frozen=True)
class Scaling:
    """Which values of pixels become 0 and 1, for each type.

    Attributes
    ----------
    ranges : dict of str to (float, float)
        By names of types. A range of "any" was given by the user: it holds for all
        types, except those of 8 bits if they cannot hold it, and values outside become
        0 and 1. Types without a range are scaled by `white_level`.
    """

    ranges: Mapping[str, ValueRange] = field(default_factory=dict)

    @classmethod
    def given(cls, value_range: Any) -> "Scaling | None":
        """The scaling of the parameter `value_range`; None if that is None.

        Raises
        ------
        ValueError
            Unless it is two finite numbers in ascending order.
        """
        if value_range is None:
            return None
        numbers = list(value_range)
        are_numbers = len(numbers) == 2 and all(
            isinstance(number, Real) and abs(cast(Any, number)) <= _FLOAT32_MAX
            for number in numbers
        )
        # In float32, as pixels are scaled.
        if not are_numbers or not np.diff(np.array(numbers, np.float32)) > 0:
            raise ValueError(
                f"value_range is {value_range!r}; pass two finite numbers, the values "
                "that become 0 and 1, the lower one first, as in (0, 4095)."
            )
        low, high = map(float, numbers)
        return cls({ANY: (low, high)})

    @classmethod
    def of(cls, estimator: Any) -> "Scaling":
        """The scaling that a fitted estimator has learnt or was given."""
        return cls(getattr(estimator, "scaling_", {}))

    def clips(self, dtype: np.dtype) -> bool:
        """Whether values of a type outside the range become 0 and 1."""
        if ANY not in self.ranges:
            return False
        if dtype.itemsize > 1:
            return True
        return self.ranges[ANY][1] <= (1 if dtype.kind == "b" else np.iinfo(dtype).max)

    def knows(self, dtype: np.dtype) -> bool:
        """Whether there is a range for a type."""
        return self.clips(dtype) or type_name(dtype) in self.ranges

    def agrees_with(self, other: "Scaling") -> bool:
        """Whether types that the other scaling knows have the same range in both."""
        if ANY in other.ranges:
            return self.ranges.get(ANY) == other.ranges[ANY]
        return all(
            self.limits(np.dtype(name)) == limits
            for name, limits in other.ranges.items()
        )

    def with_range_of(self, dtype: np.dtype) -> "Scaling":
        """The same scaling, in which a type has a range."""
        return Scaling({type_name(dtype): self.limits(dtype), **self.ranges})

    def limits(self, dtype: np.dtype) -> ValueRange:
        """The values of a type that become 0 and 1."""
        if self.clips(dtype):
            return self.ranges[ANY]
        return self.ranges.get(type_name(dtype), (0.0, float(white_level(dtype))))

    def scale(self, values: Values, dtype: np.dtype) -> Values:
        """Pixels of a type as floats, scaled: an array or a tensor."""
        low, high = self.limits(dtype)
        if low != 0:
            values = values - low
        if high - low != 1:
            # Users who divide by 255 get the same values; a product is rounded
            # differently.
            values = values / (high - low)
        return values.clip(0, 1) if self.clips(dtype) else values

    def unscale(self, values: Values, dtype: np.dtype) -> Values:
        """The inverse of `scale`; values of integers are rounded."""
        low, high = self.limits(dtype)
        values = values * (high - low) + low
        return values.round() if dtype.kind in "iub" else values

    def text(self, dtype: np.dtype) -> str:
        """A type, and the number that its values are divided by."""
        low, high = self.limits(dtype)
        if (low, high) == (0, 1):
            return f"{dtype}"
        if low == 0:
            return f"{dtype}, divided by {high:.6g}"
        return f"{dtype}, {low:.6g} to {high:.6g} scaled to 0 to 1"


BY_TYPE = Scaling()


def extremes(
    arrays: Iterable[np.ndarray], settled: set[np.dtype] | None = None
) -> dict[np.dtype, ValueRange]:
    """Minimum and maximum of pixels, for each type.

    If `settled` is given, types of 8 bits are not read: they have the limits by type,
    and are added to it.
    """
    values: dict[np.dtype, ValueRange] = {}
    for pixels in arrays:
        dtype = pixels.dtype.newbyteorder("=")
        if settled is not None and dtype.kind in "biu" and dtype.itemsize == 1:
            settled.add(dtype)
            values[dtype] = BY_TYPE.limits(dtype)
            continue
        low, high = values.get(dtype, (np.inf, -np.inf))
        values[dtype] = min(low, float(pixels.min())), max(high, float(pixels.max()))
    return values


def learn_scaling(
    values: dict[np.dtype, ValueRange], known: Scaling = BY_TYPE
) -> Scaling:
    """The scaling of images from the extremes of each type, unless it is known."""
    learnt = {
        type_name(dtype): learnt_range(dtype, low, high)
        for dtype, (low, high) in values.items()
        if not known.knows(dtype)
    }
    return Scaling({**learnt, **known.ranges})


def learnt_range(dtype: np.dtype, low: float, high: float) -> ValueRange:
    """The values of a type that become 0 and 1, from the minimum and maximum of images.

    Integers of more than 8 bits have an even number of bits, as cameras have: 8, 10,
    12, 14, 16 or more. So have floats without negative values that exceed 255.
    """
    is_wide = dtype.kind in "iu" and dtype.itemsize > 1
    is_raw = dtype.kind == "f" and low >= 0 and _MAX_PLAIN < high < np.inf
    if not (is_wide or is_raw):
        return 0.0, float(white_level(dtype))
    n_bits = max(8, int(np.ceil(max(abs(low), abs(high)))).bit_length())
    return 0.0, 2.0 ** (n_bits + n_bits % 2) - 1


@cache
def type_name(dtype: np.dtype) -> str:
    """The name of a type, which NumPy puts together anew each time."""
    return dtype.name


def white_level(dtype: np.dtype) -> int:
    """The value that counts as 1: integers are 8 bits deep, unsigned 16-bit ones 16."""
    if dtype.kind == "u" and dtype.itemsize == 2:
        return 65535
    return 255 if dtype.kind in "iu" else 1
