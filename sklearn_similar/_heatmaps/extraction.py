"""Extraction of activations for heatmaps, and their heat before normalisation."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from .._ablation.graph import LayerGraph, NotTraceable
from .._compat import is_out_of_memory
from .._images.images import Images, batch_slices
from .._network.activations import extract_activations
from .._network.attention import find_heads
from .._network.forward import first_line, forward_hook
from .._network.tile_halo import NotLocalError, TileHalo, find_tile_halo
from .._network.trained import TrainedNetwork
from .class_map import ClassMap, ClassMapState, ImageActivations
from .class_probability import ClassHead, window_probabilities

# Dense activations are many; in parts of this many pixels they are up to three times as
# fast on a CPU, as they fit into its caches.
_MAX_DENSE_PIXELS = 2**14


@dataclass(frozen=True, kw_only=True)
class HeatmapSpecification:
    """Which layers heatmaps are made from, and how.

    The heatmap of all classes is the geometric mean over the layers of a weighted sum
    of their activations. The heatmap of some classes is what the class map makes.

    Attributes
    ----------
    layers : tuple of str
    filter_weights : tuple of ndarray of shape (n_filters,)
        Weights of the filters of each layer in the heatmap of all classes.
    class_map : ClassMap
    class_state : ClassMapState
        What the class map has learnt.
    resolution : {"pooled", "dense"}
    """

    layers: tuple[str, ...]
    filter_weights: tuple[np.ndarray, ...]
    class_map: ClassMap
    class_state: ClassMapState
    resolution: str


class ActivationExtractor:
    """Runs a network, in evaluation mode, and extracts what heatmaps are made from.

    Parameters
    ----------
    network : TrainedNetwork
    specification : HeatmapSpecification
    for_classes : bool
        Whether heatmaps of some classes are going to be computed, for which the class
        map may need an early layer and the class probabilities.
    """

    def __init__(
        self,
        network: TrainedNetwork,
        specification: HeatmapSpecification,
        for_classes: bool,
    ):
        self.network = network
        self.specification = specification
        class_map, state = specification.class_map, specification.class_state
        self._layers = specification.layers
        self._runs_head = for_classes and class_map.runs_head(state)
        self._needs_whole_image = for_classes and (
            class_map.needs_whole_image(state)
            or class_map.reads_probabilities(state)
            or class_map.runs_head(state)
        )
        self._has_outline = for_classes and state.outline_layer is not None
        self._n_mid_level = 0
        if for_classes:
            self._n_mid_level = len(state.mid_level_layers)
            self._layers = (*specification.layers, *state.mid_level_layers)
        if for_classes and state.outline_layer is not None:
            self._layers = (*self._layers, state.outline_layer)
        self._reads_probabilities = (
            for_classes
            and specification.resolution == "pooled"
            and class_map.reads_probabilities(state)
        )

    @cached_property
    def locality(self) -> TileHalo:
        """Halo and size of tiles; NotLocalError if heat in tiles would differ."""
        if self._needs_whole_image:
            raise NotLocalError(
                "heatmaps of some classes depend on all of an image with this "
                "class_heatmap (but not with 'contrastive')"
            )
        network = self.network
        return find_tile_halo(
            network.module,
            self._layers,
            self.specification.resolution,
            network.n_channels,
            network.device,
            network.memory_format,
        )

    @cached_property
    def _head(self) -> ClassHead | None:
        size = self.specification.class_state.trained_size
        return ClassHead.trace(self.network, self.specification.layers[-1], size)

    @property
    def _use_of_head(self) -> str:
        """What a class map does for which not every network will do."""
        name = type(self.specification.class_map).__name__
        layer = self.specification.layers[-1]
        return f"The class map {name} runs the layers after {layer!r}"

    @cached_property
    def _layers_after(self) -> Callable[..., torch.Tensor]:
        """Class scores from activations of the last layer and the images of these."""
        network, layer = self.network, self.specification.layers[-1]
        size = (network.n_channels, *self.specification.class_state.trained_size)
        probe = torch.linspace(0, 1, math.prod(size), device=network.device)
        try:
            graph = LayerGraph.trace(network.module, layer, probe.reshape(1, *size))
        except NotTraceable as error:
            raise ValueError(
                f"{self._use_of_head} separately, but this network cannot be traced; "
                "choose another one."
            ) from error
        values = graph.bypasses()
        bypasses = graph.part([graph.images], values)
        head = graph.part([graph.activations, *values], [graph.output])
        return lambda activations, images: head(activations, *bypasses(images))[0]

    def _class_scores(
        self, images: torch.Tensor, activations: torch.Tensor, rows: np.ndarray
    ) -> torch.Tensor:
        """Class scores; the activations are those of some rows of the images."""
        layers_after = self._layers_after
        # Copies of an image would take longer than the layers.
        is_one = len(rows) > 0 and (rows == rows[0]).all()
        images_of_rows = images[rows[:1]].expand(len(rows), -1, -1, -1)
        if not is_one:
            images_of_rows = images[rows]
        try:
            return layers_after(activations, images_of_rows)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            height, width = self.specification.class_state.trained_size
            raise ValueError(
                f"{self._use_of_head}, which fail for images of this size "
                f"({first_line(error)}); pass images of {height}x{width} "
                "pixels, the trained size, or choose another one."
            ) from error

    def batches(
        self, images: Images, indices: np.ndarray | None = None
    ) -> Iterator[ImageActivations]:
        """Extract the activations for images, batch by batch."""
        for batch_indices, batch in self.network.batches(images, indices):
            yield from self.parts(batch, batch_indices)

    def parts(
        self, batch: torch.Tensor, indices: np.ndarray
    ) -> Iterator[ImageActivations]:
        """Extract the activations for images of one size, as many at a time as fit."""
        n_at_once = len(batch)
        if self.specification.resolution == "dense" and batch.device.type == "cpu":
            n_at_once = max(1, _MAX_DENSE_PIXELS // batch.shape[2:].numel())
        for part in batch_slices(len(batch), n_at_once):
            yield self.extract(batch[part], indices[part])

    def extract(self, batch: torch.Tensor, indices: np.ndarray) -> ImageActivations:
        """Extract the activations for images of one size.

        Parameters
        ----------
        batch : tensor of shape (n_images, n_channels, height, width)
            On the network's device.
        indices : ndarray of shape (n_images,)
            Positions of the images in their array.
        """
        specification = self.specification
        trained_size = specification.class_state.trained_size
        # Images of the trained size have one probability, which the network returns.
        is_to_end = self._reads_probabilities and (
            tuple(batch.shape[2:]) == tuple(trained_size)
        )
        outputs: list[torch.Tensor] = []
        with (
            forward_hook(
                self.network.module, lambda _inputs, output: outputs.append(output)
            )
            if is_to_end
            else nullcontext()
        ):
            feature_maps = extract_activations(
                self.network.module,
                self._layers,
                batch,
                specification.resolution,
                to_end=is_to_end,
                known_fields=self.network.known_fields,
            )
        # A network may run its layers on further images, such as flipped copies, which
        # follow those that it is given.
        feature_maps = [
            maps._replace(activations=maps.activations[: len(batch)])
            for maps in feature_maps
        ]
        outline_maps = feature_maps.pop() if self._has_outline else None
        n_layers = len(feature_maps) - self._n_mid_level
        mid_level_maps = tuple(feature_maps[n_layers:])
        feature_maps = feature_maps[:n_layers]
        last = self.network.module.get_submodule(self._layers[n_layers - 1])
        is_changeable = feature_maps[-1].layout.is_channels_first
        if self._runs_head and (find_heads(last) or not is_changeable):
            raise ValueError(
                f"{self._use_of_head} on changed activations, which is possible for "
                "outputs n_images x n_filters x height x width alone; choose "
                'another class_heatmap, such as "cam".'
            )
        class_probabilities = windows = None
        if outputs:
            class_probabilities = self.network.log_probabilities(outputs[0]).exp()
        elif self._reads_probabilities and self._head is not None:
            windows = window_probabilities(self._head, feature_maps[-1])
        return ImageActivations(
            indices=indices,
            size=batch.shape[2:],
            feature_maps=feature_maps,
            filter_weights=specification.filter_weights,
            outline_maps=outline_maps,
            mid_level_maps=mid_level_maps,
            head=partial(self._class_scores, batch) if self._runs_head else None,
            class_probabilities=class_probabilities,
            window_probabilities=windows,
        )


def compute_heatmaps(
    activations: ImageActivations,
    specification: HeatmapSpecification,
    classes: np.ndarray | None = None,
) -> np.ndarray:
    """Heatmaps, before normalisation.

    Parameters
    ----------
    activations : ImageActivations
    specification : HeatmapSpecification
    classes : ndarray of shape (n_images, n_targets), default=None
        Classes to show for each image; None: all of them together.

    Returns
    -------
    ndarray of shape (n_images, height, width), float32

    Raises
    ------
    ValueError
        If the class map gives heat of another shape.
    """
    if classes is None:
        heat = activations.heat()
    else:
        class_map = specification.class_map
        heat = class_map.heat(activations, classes, specification.class_state)
        expected = (len(classes), 1, *activations.size)
        if tuple(heat.shape) != expected:
            raise ValueError(
                f"class_heatmap, {class_map!r}, gives heat of shape "
                f"{tuple(heat.shape)}; return a tensor of shape {expected}, "
                "(n_images, 1, height, width)."
            )
    return heat[:, 0].cpu().numpy()
