"""Training of a small backbone on photographs with boxes, from nothing.

The network sees each photograph once a step, boxes of its feature maps are pooled, and
a head learns their classes and the offsets to objects together (Fast R-CNN, Girshick,
2015). The head is thrown away: afterwards the backbone serves as a pretrained one does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from .._images.images import batch_slices
from .._network.backbone import Backbone, FeatureMap
from .._network.isolation import random_seed, seeded
from .._progress import with_progress
from .._search.linear_regression import offsets
from .._search.pooled_recognizer import resize
from .._search.pooling import PooledMaps, PoolingRecipe
from .._tables.boxes import iou_matrix, jitter, max_share_inside, mirrored
from .annotated import MAX_CROWD_SHARE, AnnotatedPhotographs
from .recipe import BackboneRecipe


class SmallBackbone(nn.Module):
    """Five convolutions, with feature maps of stride 4 and of stride 8.

    Parameters
    ----------
    in_channels : int
    """

    # Layers with feature maps.
    LAYERS = ("fine", "coarse")

    def __init__(self, in_channels: int):
        super().__init__()
        self.fine = nn.Sequential(
            *_block(in_channels, 24, stride=2),
            *_block(24, 48, stride=2),
            *_block(48, 64),
        )
        self.coarse = nn.Sequential(*_block(64, 96, stride=2), *_block(96, 96))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The coarse feature maps of images n x in_channels x height x width."""
        return self.coarse(self.fine(images))


def _block(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


@dataclass(frozen=True)
class _Photograph:
    """A resized photograph; its objects and crowds in its pixels, and their classes."""

    pixels: torch.Tensor
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))


def train_backbone(
    data: AnnotatedPhotographs,
    scale: float,
    recipe: BackboneRecipe,
    rng: np.random.RandomState,
    verbose: int,
) -> Backbone:
    """Train a small backbone on photographs, resized by a factor.

    Parameters
    ----------
    data : AnnotatedPhotographs
    scale : float
    recipe : BackboneRecipe
    rng : RandomState
    verbose : int
        1 shows a progress bar.
    """
    photographs = [
        _Photograph(resize(image.whole(), scale), boxes * scale, labels, crowds * scale)
        for image, boxes, labels, crowds in zip(
            data.images, data.boxes, data.labels, data.crowds, strict=True
        )
    ]
    n_channels = data.images.n_channels
    n_classes = 1 + max(int(labels.max(initial=0)) for labels in data.labels)
    boxes = np.concatenate([photo.boxes for photo in photographs])
    # Single precision with gradients, in whatever mode the caller is.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
    ):
        with torch.device("cpu"), seeded(random_seed(rng)):
            network = SmallBackbone(n_channels).float()
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            trainer = _Trainer(
                network,
                n_classes,
                boxes[:, 2:] - boxes[:, :2],
                recipe,
                data.is_complete,
                rng,
            )
        trainer.run(photographs, verbose)
    return Backbone.of(network, n_channels, SmallBackbone.LAYERS)


class _Trainer:
    """Trains a backbone with a head for classes and offsets.

    Parameters
    ----------
    network : SmallBackbone
    n_classes : int
        Without background.
    sizes : ndarray of shape (n_objects, 2)
        Width and height of the objects, of which boxes of background have one.
    recipe : BackboneRecipe
    is_complete : bool
        Whether all objects have boxes.
    rng : RandomState
    """

    def __init__(
        self,
        network: SmallBackbone,
        n_classes: int,
        sizes: np.ndarray,
        recipe: BackboneRecipe,
        is_complete: bool,
        rng: np.random.RandomState,
    ):
        self._network = network
        self._n_classes = n_classes
        self._sizes = sizes
        self._recipe = recipe
        self._is_complete = is_complete
        self._rng = rng
        backbone = Backbone.of(network, layers=SmallBackbone.LAYERS)
        probe = torch.zeros(backbone.n_channels, 64, 64)
        self._fields = backbone.feature_maps(probe)
        pooling = PooledMaps(self._fields, 1.0, (0, 0), PoolingRecipe())
        self._head = nn.Sequential(
            nn.Linear(pooling.n_features, recipe.n_hidden),
            nn.ReLU(),
            nn.Linear(recipe.n_hidden, n_classes + 1 + 4),
        )

    def run(self, photographs: Sequence[_Photograph], verbose: int) -> None:
        """Train on photographs with objects, and on those without any."""
        recipe, rng = self._recipe, self._rng
        n_pixels = sum(photograph.pixels[0].numel() for photograph in photographs)
        n_epochs = int(np.clip(recipe.max_pixels / n_pixels, *recipe.n_epochs))
        parameters = [*self._network.parameters(), *self._head.parameters()]
        optimizer = torch.optim.AdamW(
            parameters, recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        n_steps = n_epochs * math.ceil(len(photographs) / recipe.batch_size)
        schedule = OneCycleLR(optimizer, recipe.learning_rate, total_steps=n_steps)
        self._network.train()
        for _ in with_progress(range(n_epochs), "backbone", n_epochs, "epoch", verbose):
            order = rng.permutation(len(photographs))
            for rows in batch_slices(len(order), recipe.batch_size):
                loss = self._loss([photographs[row] for row in order[rows]])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self._network.eval().requires_grad_(False)

    def _loss(self, photographs: Sequence[_Photograph]) -> torch.Tensor:
        """Cross-entropy of classes plus smooth L1 of offsets, in boxes of photographs.

        Photographs of several sizes share a batch, padded by zeros.
        """
        photographs = [_mirrored(photo, self._rng) for photo in photographs]
        sizes = [photo.pixels.shape[1:] for photo in photographs]
        height, width = np.max(sizes, axis=0).tolist()
        batch = torch.stack(
            [
                F.pad(photo.pixels, (0, width - size[1], 0, height - size[0]))
                for photo, size in zip(photographs, sizes, strict=True)
            ]
        )
        fine = self._network.fine(batch.contiguous(memory_format=torch.channels_last))
        maps = fine, self._network.coarse(fine)
        feature_maps = [
            FeatureMap(values, field.stride, field.start)
            for values, field in zip(maps, self._fields, strict=True)
        ]
        pooled = PooledMaps(feature_maps, 1.0, (0, 0), PoolingRecipe())
        samples = [self._sample(photo) for photo in photographs]
        boxes, labels, targets = zip(*samples, strict=True)
        number = np.repeat(np.arange(len(samples)), [len(label) for label in labels])
        output = self._head(pooled.pool(np.concatenate(boxes), number))
        label = torch.from_numpy(np.concatenate(labels))
        target = torch.from_numpy(np.concatenate(targets).astype(np.float32))
        if len(label) == 0:
            # Of all boxes it is unknown what they show; a mean would be NaN.
            return output.sum()
        is_object = label < self._n_classes
        loss = F.cross_entropy(output[:, :-4], label)
        if is_object.any():
            moves = output[is_object, -4:]
            loss = loss + self._recipe.box_weight * F.smooth_l1_loss(
                moves, target[is_object], beta=self._recipe.beta
            )
        return loss

    def _sample(self, photo: _Photograph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes to learn from, their classes (the last is background), and offsets."""
        recipe, rng = self._recipe, self._rng
        objects = photo.boxes
        height, width = photo.pixels.shape[1:]
        limit = [width, height, width, height]
        near = np.repeat(objects, recipe.n_jittered, axis=0)
        near = jitter(near, recipe.jitter, rng)
        size = self._sizes[rng.randint(len(self._sizes), size=recipe.n_far)]
        centre = rng.uniform(0, 1, size.shape) * [width, height]
        far = np.hstack([centre - size / 2, centre + size / 2]).clip(0, limit)
        far = far[max_share_inside(far, photo.crowds) < MAX_CROWD_SHARE]
        boxes = np.concatenate([near.clip(0, limit), far])
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= 2).all(axis=1)]
        label = np.full(len(boxes), self._n_classes)
        target = np.zeros((len(boxes), 4))
        if len(objects) == 0:
            return boxes, label, target
        iou = iou_matrix(boxes, objects)
        nearest, iou = iou.argmax(axis=1), iou.max(axis=1)
        is_object = iou >= recipe.object_iou
        label[is_object] = photo.labels[nearest[is_object]]
        target[is_object] = offsets(boxes[is_object], objects[nearest[is_object]])
        is_known = is_object | (iou < recipe.background_iou)
        if not self._is_complete:
            # Elsewhere there may be objects without boxes.
            is_known &= iou >= recipe.part_iou
        return boxes[is_known], label[is_known], target[is_known]


def _mirrored(photo: _Photograph, rng: np.random.RandomState) -> _Photograph:
    """A photograph, or its mirror image."""
    if rng.randint(2):
        return photo
    width = photo.pixels.shape[2]
    boxes, crowds = mirrored(photo.boxes, width), mirrored(photo.crowds, width)
    return _Photograph(photo.pixels.flip(2), boxes, photo.labels, crowds)
