from dataclasses import dataclass, replace

import numpy as np
import torch

from . import training_scenes as old


@dataclass(frozen=True, kw_only=True)
class TrainingSceneRecipe:
    fills_frame: bool = False

    def for_frames(self, f):
        return replace(self, fills_frame=f)


@dataclass(frozen=True)
class Scene:
    pixels: torch.Tensor
    boxes: np.ndarray
    labels: np.ndarray

    @classmethod
    def empty(cls, image):
        if isinstance(image, np.ndarray):
            t = torch.from_numpy(image.astype(np.float32) / 255)
            image = t[None] if t.ndim == 2 else t.movedim(-1, 0)
        return cls(image, np.empty((0, 4)), np.empty(0, int))

    of = empty

    def negative(self):
        return Scene(1 - self.pixels, self.boxes, np.full(len(self.boxes), -1))


def make_backgrounds(n, images, n_channels, recipe, rng):
    return old.make_backgrounds(n, images, n_channels, rng)


def restyle(image, recipe, rng):
    return old.restyle(image, rng, recipe.fills_frame)


def n_scenes(images, n, recipe):
    return old.n_views(images, n, recipe.fills_frame)


def training_scenes(images, backgrounds, n, rotation, recipe, rng):
    b = []
    for x in backgrounds:
        if torch.is_tensor(x):
            x = (x * 255).round().to(torch.uint8)
            x = x[0].numpy() if len(x) == 1 else x.movedim(0, -1).numpy()
        b.append(x)
    for s in old.make_training_scenes(images, b, n, rotation, rng, recipe.fills_frame):
        yield Scene(Scene.empty(s.pixels).pixels, s.boxes.astype(float), s.labels)
