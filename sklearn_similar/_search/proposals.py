"""Region proposals: boxes in views of images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

# Axis along which a region is split, number of parts, and the minimum length as a
# multiple of the other side. Objects stand next to each other more often than on top of
# each other. Chosen on rows of touching training digits.
CUTS = ((0, 2, 0.8), (0, 3, 1.2), (1, 2, 2.0))


@dataclass(frozen=True)
class Proposals:
    """Boxes in some views of images.

    Attributes
    ----------
    boxes : ndarray of shape (n_proposals, 4), float32
        x_min, y_min, x_max, y_max in pixels, half-open.
    view : ndarray of int of shape (n_proposals,)
        Index of the view that each box is in.
    coarseness : ndarray of int of shape (n_proposals,)
        How inexact each box is, in pixels: the downsampling factor of the channel that
        it comes from, and 1 for refined boxes.
    """

    boxes: np.ndarray
    view: np.ndarray
    coarseness: np.ndarray

    @classmethod
    def from_boxes(
        cls, boxes: np.ndarray, view: int | np.ndarray = 0, coarseness: int = 1
    ) -> "Proposals":
        """Proposals of one coarseness; a single view stands for all boxes."""
        n = len(boxes)
        return cls(
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            view=np.broadcast_to(np.asarray(view, np.int64), n).copy(),
            coarseness=np.full(n, coarseness, np.int64),
        )

    @classmethod
    def concatenate(cls, parts: Iterable["Proposals"]) -> "Proposals":
        """The proposals of all parts, in order."""
        parts = [cls.from_boxes(np.empty((0, 4))), *parts]
        return cls(
            boxes=np.concatenate([part.boxes for part in parts]),
            view=np.concatenate([part.view for part in parts]),
            coarseness=np.concatenate([part.coarseness for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def longer_side(self) -> np.ndarray:
        """Longer side of each box in pixels."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1, initial=0)

    def select(self, rows: np.ndarray | slice) -> "Proposals":
        """The proposals at some rows, or where a mask is true."""
        return Proposals(self.boxes[rows], self.view[rows], self.coarseness[rows])

    def near_duplicate_groups(
        self, max_shift: float = 0.1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Group proposals of one view whose boxes are nearly the same.

        Parameters
        ----------
        max_shift : float, default=0.1
            Difference of the corners, as a share of the box's width and height. With
            0.1, near-duplicates have an IoU of about 0.8.

        Returns
        -------
        first : ndarray of shape (n_groups,)
            First row of each group, in ascending order.
        group : ndarray of shape (n_proposals,)
            Group of each proposal.
        """
        octave = np.floor(np.log2(self.boxes[:, 2:] - self.boxes[:, :2]))
        cell = np.rint(self.boxes / np.tile(max_shift * 2**octave, 2))
        key = np.hstack([self.view[:, np.newaxis], octave, cell])
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return first[order], rank[group.ravel()]

    def distinct(self) -> "Proposals":
        """The first proposal of each group of near-duplicates."""
        first, _ = self.near_duplicate_groups()
        return self.select(first)

    def without_duplicates_of(self, known: "Proposals") -> "Proposals":
        """The distinct proposals that are near-duplicates of no known, distinct one."""
        together = Proposals.concatenate([known, self]).distinct()
        return together.select(slice(len(known), None))

    def split(
        self,
        cuts: Sequence[tuple[int, int, float]] = CUTS,
        min_side: int = 7,
    ) -> "Proposals":
        """Parts of the proposals that may show several objects.

        Objects that touch are one region. It is split into equal parts, side by side or
        on top of each other; box regression then moves each part to its object. Only
        regions of the full resolution are split, as coarser channels show the same
        objects.

        Parameters
        ----------
        cuts : sequence of (int, int, float)
            Axis, number of parts, and minimum length of what is split along the axis,
            as a multiple of its other side.
        min_side : int, default=7
            Minimum length in pixels of the longer side of a part.
        """
        fine = self.full_resolution()
        parts = [fine.select(slice(0))]
        for axis, n_parts, min_ratio in cuts:
            parts += fine._split_along(axis, n_parts, min_ratio, min_side)
        return Proposals.concatenate(parts)

    def _split_along(
        self, axis: int, n_parts: int, min_ratio: float, min_side: int
    ) -> list["Proposals"]:
        sides = self.boxes[:, 2:].astype(np.float64) - self.boxes[:, :2]
        long = self.select(sides[:, axis] >= min_ratio * sides[:, 1 - axis])
        low = long.boxes[:, axis].astype(np.float64)
        length = long.boxes[:, axis + 2] - low
        parts = []
        for number in range(n_parts):
            boxes = long.boxes.copy()
            boxes[:, axis] = np.floor(low + length * number / n_parts)
            boxes[:, axis + 2] = np.ceil(low + length * (number + 1) / n_parts)
            is_large = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= min_side
            part = Proposals(boxes, long.view, long.coarseness)
            parts.append(part.select(is_large))
        return parts

    def full_resolution(self) -> "Proposals":
        """The proposals that come from channels of the full resolution."""
        return self.select(self.coarseness == 1)

    def with_coarseness(self, coarseness: int) -> "Proposals":
        """The same boxes with another coarseness."""
        return Proposals.from_boxes(self.boxes, self.view, coarseness)

    def in_view(self, view: int) -> "Proposals":
        """The same boxes in another view."""
        return replace(self, view=np.full(len(self), view))

    def clip(self, sizes: np.ndarray) -> "Proposals":
        """The boxes clipped to their views, whose heights and widths are given."""
        height, width = sizes[self.view].T.astype(np.float32)
        limit = np.stack([width, height, width, height], axis=1)
        return Proposals(self.boxes.clip(0, limit), self.view, self.coarseness)
