"""Tables of instances for tests, and naive references of IoU and matching."""

import numpy as np
import pandas as pd

BOX = ["x_min", "y_min", "x_max", "y_max"]


def make_truth(*rows):
    return pd.DataFrame(rows, columns=["image", "label", *BOX])


def make_detections(*rows):
    return pd.DataFrame(rows, columns=["image", "label", "score", *BOX])


def random_boxes(rng, n, size=24):
    corner = rng.integers(0, size - 8, (n, 2))
    return np.hstack([corner, corner + rng.integers(3, 9, (n, 2))])


def random_instances(seed, n_images=6, n_labels=3):
    """Truth, and detections near it: equal scores, duplicates, misses, false ones."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(10, 30))
    truth = pd.DataFrame(random_boxes(rng, n), columns=BOX)
    truth["image"] = rng.integers(0, n_images, n)
    truth["label"] = rng.integers(0, n_labels, n)
    detections = pd.concat([truth.sample(frac=0.8, random_state=seed)] * 2)
    detections[BOX] += rng.integers(-1, 2, (len(detections), 4))
    false = pd.DataFrame(random_boxes(rng, 8), columns=BOX)
    false["image"] = rng.integers(0, n_images + 1, 8)
    false["label"] = rng.integers(0, n_labels + 1, 8)
    detections = pd.concat([detections, false], ignore_index=True)
    detections = detections.sample(frac=1, random_state=seed)
    detections["score"] = rng.integers(0, 12, len(detections)) / 12
    return truth, detections


def iou_of_pixels(a, b):
    """Count the pixels of two integer boxes one by one."""
    covered = [
        {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        for box in (tuple(map(int, a)), tuple(map(int, b)))
    ]
    union = len(covered[0] | covered[1])
    return len(covered[0] & covered[1]) / union if union else 0.0


def naive_matches(truth, detections, iou_threshold, match_label=True):
    """Greedy matching as COCO describes it: {index of detection: is matched}."""
    matched = dict.fromkeys(detections.index, False)
    taken = set()
    order = detections.sort_values("score", ascending=False, kind="stable").index
    for i in order:
        best, choice = iou_threshold, None
        for j in truth.index:
            if j in taken or truth.image[j] != detections.image[i]:
                continue
            if match_label and truth.label[j] != detections.label[i]:
                continue
            iou = iou_of_pixels(truth.loc[j, BOX], detections.loc[i, BOX])
            if iou >= best:
                best, choice = iou, j
        if choice is not None:
            taken.add(choice)
            matched[i] = True
    return matched
