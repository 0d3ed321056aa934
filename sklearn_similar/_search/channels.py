"""Channels of an image in which objects may stand out: grey levels, colours, edges.

An object is proposed only if it is one bright region of some channel. Objects that
differ in colour only are regions of an opponent channel; objects of uneven brightness
with an outline are regions of few edges. Neumann and Matas (2012) do the same for text.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from .._images.images import to_grey
from .._images.rasters import Window

# Standard deviation in pixels of an image of half the size.
_SMOOTHING = 0.5
# Edges saturate at a gradient of half the range of grey levels in a pixel.
_GRADIENT_GAIN = 2.0


class Channel(NamedTuple):
    """Values between 0 and 1, height x width, in which objects are bright.

    `downsampling` is the number of the image's pixels in one of the channel's, along
    each axis.
    """

    values: np.ndarray
    downsampling: int

    def crop(self, window: Window) -> "Channel":
        """The part of the channel in a window of the image."""
        rows, columns = (
            slice(part.start // self.downsampling, -(-part.stop // self.downsampling))
            for part in window
        )
        return Channel(self.values[rows, columns], self.downsampling)


def grey_channel(pixels: torch.Tensor) -> Channel:
    """Grey levels of an image n_channels x height x width."""
    return Channel(to_grey(pixels).numpy(), 1)


def smooth_channel(pixels: torch.Tensor) -> Channel:
    """Grey levels at half the size, smoothed.

    Noise splits an object into several regions; smoothing rejoins them.
    """
    return Channel(_smooth(_halve(pixels)), 2)


def shared_channels(pixels: torch.Tensor) -> list[Channel]:
    """Channels that are the same for an image and its negative, at half the size.

    Absence of edges; in colour images also red against green, blue against yellow and
    saturation, each channel and its negative.
    """
    coarse = _halve(pixels)
    smooth = _smooth(coarse)
    slope = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)) / 4
    channels = [1 - np.minimum(_GRADIENT_GAIN * slope, 1)]
    if len(pixels) == 3:
        sigma = (0, _SMOOTHING, _SMOOTHING)
        colours = ndimage.gaussian_filter(coarse.numpy(), sigma)
        red, green, blue = colours
        red_green = np.clip(0.5 + red - green, 0, 1)
        blue_yellow = np.clip(0.5 + blue - (red + green) / 2, 0, 1)
        saturation = np.ptp(colours, axis=0)
        for values in (red_green, blue_yellow, saturation):
            channels += [values, 1 - values]
    return [Channel(values, 2) for values in channels]


def _smooth(pixels: torch.Tensor) -> np.ndarray:
    return ndimage.gaussian_filter(to_grey(pixels).numpy(), _SMOOTHING)


def _halve(pixels: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(pixels[None], 2, ceil_mode=True, count_include_pad=False)[0]
