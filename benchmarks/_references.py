"""Reference methods for object detection: sliding windows, and the image centre."""

from itertools import product

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from sklearn_similar._scenes.rendering import resize
from sklearn_similar._tables.boxes import BOX_COLUMNS
from sklearn_similar.metrics import box_iou

STRIDE, PADDING, NMS_THRESHOLD, MIN_CONTRAST = 4, 8, 0.3, 0.15


def slide(model, score_threshold, images, scenes):
    """Detections by sliding windows."""
    low, high = scenes.scale
    zooms = low * 2 ** np.arange(0, np.log2(high / low) + 0.26, 0.5)
    tables = []
    for number, image in enumerate(images):
        bright = image / np.float32(255)
        views = {"bright": [bright], "dark": [1 - bright]}
        views["both"] = [bright, 1 - bright]
        windows = [
            windows_at(model, score_threshold, pixels, zoom)
            for pixels, zoom in product(views[scenes.polarity], zooms)
        ]
        tables.append(nms(pd.concat(windows)).assign(image=number))
    return pd.concat(tables, ignore_index=True)


def windows_at(model, score_threshold, pixels, zoom):
    """Detections in the windows of a pyramid level."""
    side = model.image_shape_[0]
    height, width = (max(1, round(length / zoom)) for length in pixels.shape)
    small = torch.from_numpy(resize(pixels, (height, width)))
    small = F.pad(small[None], [PADDING] * 4, mode="replicate")[0]
    if min(small.shape) < side:
        return pd.DataFrame(columns=["label", "score", *BOX_COLUMNS])
    windows = small.unfold(0, side, STRIDE).unfold(1, side, STRIDE)
    n_columns = windows.shape[1]
    windows = windows.reshape(-1, side, side)
    # Contrast-normalised like our crops, except for windows with low contrast.
    low, high = windows.amin((1, 2)), windows.amax((1, 2))
    windows -= low[:, None, None]
    windows /= (high - low).clamp(min=MIN_CONTRAST)[:, None, None]
    windows = windows.numpy()
    proba = model.predict_proba(windows)
    proba[(high - low < MIN_CONTRAST).numpy()] = 0
    proba[:, model.classes_ == model.background] = 0
    rows = np.flatnonzero(proba.max(axis=1) >= score_threshold)
    if not len(rows):
        return pd.DataFrame(columns=["label", "score", *BOX_COLUMNS])
    top, left = np.divmod(rows, n_columns)
    confident = windows[rows]
    peak = confident.max(axis=(1, 2), keepdims=True)
    ink = confident > (np.median(confident, axis=(1, 2), keepdims=True) + peak) / 2
    table = {"label": model.classes_[proba[rows].argmax(axis=1)]}
    table["score"] = proba[rows].max(axis=1)
    for axis, corner, first in (("x", left, 1), ("y", top, 2)):
        hit = ink.any(axis=first)
        start = corner * STRIDE - PADDING
        table[f"{axis}_min"] = zoom * (start + hit.argmax(axis=1))
        table[f"{axis}_max"] = zoom * (start + side - hit[:, ::-1].argmax(axis=1))
    return pd.DataFrame(table)


def nms(table):
    """Greedy non-maximum suppression of a table of detections."""
    table = table.sort_values("score", ascending=False, ignore_index=True)
    boxes = table[list(BOX_COLUMNS)].to_numpy(float)
    remaining, selected = np.arange(len(table)), []
    while len(remaining):
        selected.append(remaining[0])
        overlap = box_iou(boxes[remaining[:1]], boxes[remaining[1:]])[0]
        remaining = remaining[1:][overlap <= NMS_THRESHOLD]
    return table.loc[selected]


def centre(model, side, images, scenes):
    """A detection in the centre of each image, labelled by the network."""
    rows = []
    for number, image in enumerate(images):
        height, width = image.shape
        y, x = (height - side) // 2, (width - side) // 2
        part = image[y : y + side, x : x + side] / np.float32(255)
        crop = resize(part, model.image_shape_)[np.newaxis]
        score = model.predict_proba(crop).max()
        rows.append([number, model.predict(crop)[0], score, x, y, x + side, y + side])
    return pd.DataFrame(rows, columns=["image", "label", "score", *BOX_COLUMNS])


def centre_heatmaps(images):
    """Heatmaps that decrease with the distance from the centre."""
    height, width = images[0].shape[:2]
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return [1 - distance / distance.max()] * len(images)


def attention_rollout(network, images):
    """How much each token gets from each other one, through all layers of attention.

    The product over the layers of (A + 1) / 2, with A the attention averaged over the
    heads and 1 for the residual (Abnar and Zuidema, 2020). It depends on no class. The
    map of a network with a class token is its row; that of a network with a mean over
    the tokens is the mean of the rows.

    Parameters
    ----------
    network : torch.nn.Module
        With layers of `torch.nn.MultiheadAttention` that each run once, in this order.
    images : tensor of shape (n_images, n_channels, height, width)

    Returns
    -------
    tensor of shape (n_images, n_tokens, n_tokens)
        Rows sum to 1.
    """
    matrices = []

    def ask_for_weights(_module, args, kwargs):
        return args, {**kwargs, "need_weights": True, "average_attn_weights": True}

    def keep(_module, _args, output):
        matrices.append(output[1])

    handles = []
    for module in network.modules():
        if isinstance(module, torch.nn.MultiheadAttention):
            ask = module.register_forward_pre_hook(ask_for_weights, with_kwargs=True)
            handles += [ask, module.register_forward_hook(keep)]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    rollout = torch.eye(matrices[0].shape[1]).expand_as(matrices[0])
    for matrix in matrices:
        rollout = (matrix @ rollout + rollout) / 2
    return rollout
