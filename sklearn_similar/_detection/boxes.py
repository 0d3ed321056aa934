"""Arithmetic of boxes in structured arrays with x_min, y_min, x_max and y_max."""

import numpy as np

BOX = ("x_min", "y_min", "x_max", "y_max")


def area(boxes: np.ndarray) -> np.ndarray:
    """Area of each box."""
    return (boxes["x_max"] - boxes["x_min"]) * (boxes["y_max"] - boxes["y_min"])


def longer_side(boxes: np.ndarray) -> np.ndarray:
    """The greater of width and height of each box."""
    return np.maximum(boxes["x_max"] - boxes["x_min"], boxes["y_max"] - boxes["y_min"])


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area that boxes share, pair by pair."""
    width = np.minimum(a["x_max"], b["x_max"]) - np.maximum(a["x_min"], b["x_min"])
    height = np.minimum(a["y_max"], b["y_max"]) - np.maximum(a["y_min"], b["y_min"])
    return np.clip(width, 0, None) * np.clip(height, 0, None)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, pair by pair."""
    shared = intersection(a, b)
    return shared / (area(a) + area(b) - shared)
