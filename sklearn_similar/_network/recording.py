"""Activations for some images, recorded while a network runs on more of them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from .._images.images import batch_slices
from .activations import FeatureMaps, extract_activations
from .forward import at_least_single, output_hook
from .trained import TrainedNetwork

# Values of activations that are held, so that they need not be extracted again, and
# those that heatmaps are made of at once.
MAX_HELD = 2**24
_MAX_VALUES = 2**22
# Path of the network itself.
_NETWORK = ""


class Recording(NamedTuple):
    """What was recorded for some images of a size.

    Attributes
    ----------
    indices : ndarray of shape (n_images,)
        Positions of the images.
    size : (int, int)
        Their height and width.
    feature_maps : list of FeatureMaps
        One for each of the layers, and for the outline's.
    output : tensor of shape (n_images, n_classes), or None
    """

    indices: np.ndarray
    size: Sequence[int]
    feature_maps: list[FeatureMaps]
    output: torch.Tensor | None


class ActivationRecorder:
    """Records the activations for some images of the trained size, at layers' strides.

    Parameters
    ----------
    network : TrainedNetwork
        In evaluation mode while it is run.
    layers : sequence of str
    outline_layer : str or None
        Another layer; with one, the network's output is recorded, too.
    indices : ndarray of int
        Positions of the images to record.
    """

    def __init__(
        self,
        network: TrainedNetwork,
        layers: Sequence[str],
        outline_layer: str | None,
        indices: np.ndarray,
    ):
        self._network = network
        self._paths = [*layers] if outline_layer is None else [*layers, outline_layer]
        self._is_scored = outline_layer is not None
        self._indices = frozenset(indices.tolist())
        self._parts: list[tuple[np.ndarray, dict[str, torch.Tensor]]] = []
        self._n_values = 0
        self._maps: list[FeatureMaps] = []
        self._size: Sequence[int] = ()

    @contextmanager
    def recording(self, indices: np.ndarray, images: torch.Tensor) -> Iterator[None]:
        """Record in a block in which the network runs once, on these images.

        Parameters
        ----------
        indices : ndarray of shape (n_images,)
            Positions of the images.
        images : tensor of shape (n_images, n_channels, height, width)
        """
        # NumPy's isin takes many times as long for a batch.
        rows = [row for row, i in enumerate(indices.tolist()) if i in self._indices]
        if not rows or self._n_values > MAX_HELD:
            yield
            return
        module, chosen = self._network.module, torch.tensor(rows, device=images.device)
        if not self._maps:
            # Where the activations lie, which does not depend on the image.
            known = self._network.known_fields
            self._maps = extract_activations(
                module, self._paths, images[:1], "pooled", known_fields=known
            )
            self._size = images.shape[2:]
        found: dict[str, torch.Tensor] = {}

        def note(path: str, output: torch.Tensor) -> None:
            found[path] = at_least_single(output[chosen])

        with ExitStack() as stack:
            for path in [*self._paths, _NETWORK] if self._is_scored else self._paths:
                stack.enter_context(output_hook(module, path, partial(note, path)))
            yield
        self._n_values += sum(found[path].numel() for path in self._paths)
        self._parts.append((indices[rows], found))
        if self._n_values > MAX_HELD:
            self._parts.clear()

    def recordings(self) -> list[Recording] | None:
        """What was recorded; None unless all images were, and could be held."""
        if not self._parts:
            return None
        indices = np.concatenate([indices for indices, _ in self._parts])
        if sorted(indices.tolist()) != sorted(self._indices):
            return None
        found = {
            path: torch.cat([values[path] for _, values in self._parts])
            for path in self._parts[0][1]
        }
        n_at_once = max(1, _MAX_VALUES * len(indices) // self._n_values)
        return [
            self._part(indices[part], {path: found[path][part] for path in found})
            for part in batch_slices(len(indices), n_at_once)
        ]

    def _part(self, indices: np.ndarray, found: dict[str, torch.Tensor]) -> Recording:
        maps = [
            FeatureMaps(found[path], one.receptive_field, is_dense=False)
            for path, one in zip(self._paths, self._maps, strict=True)
        ]
        return Recording(
            indices=indices,
            size=self._size,
            feature_maps=maps,
            output=found.get(_NETWORK),
        )
