"""Accuracy and speed of object detection in photographs, compared with other detectors.

    tox -e benchmark-photographs         (about 2 hours on 2 cores)
    tox -e benchmark-photographs -- --datasets playing_cards --methods pretrained crops
    tox -e benchmark-photographs -- --quick

The folder `photographs` in SKLEARN_SIMILAR_DATA (or in --data-home) has `blood_cells`
and `playing_cards`, each with `train` and `test`, and `everyday`, with annotations that
`load_annotations` reads. Detectors learn from `train`; figures are those of `test`.
Some blood cells have no box, in training and in the test.

Methods in photographs.csv:

- pretrained: `InstanceLocalizer` with backbone="efficientnet_lite0";
- pretrained, 5 photographs: the same, trained on 5 of the photographs of cells;
- trained from nothing: backbone=None, a small network is trained on the photographs;
- crops: `InstanceLocalizer` on crops of the objects (`cut_instances`, 48 x 48 pixels)
  and on parts of the photographs without boxes, with 10,000 synthetic crops of objects
  and of background;
- template matching: normalised cross-correlation with mean grey crops, three sizes for
  each class;
- HOG + SVM: histograms of oriented gradients of windows of five sizes, a linear SVM,
  and one round of hard negatives;
- frozen features: features of the same pretrained network, pooled in windows of five
  sizes, with ridge and logistic regression; a plain program without this package.

All get the same training photographs and boxes. The first four have their default
threshold, 0.5. The others have the threshold with the best F1 on a quarter of the
training photographs, which is held out for that and for calibration; then they are
trained on all. Non-maximum suppression is at an IoU of 0.3 for all.

Columns: average precision at an IoU of 0.5, of detections with a score of at least
0.02; at the threshold, F1, precision and recall with the correct label, the mean of
|detected - true| / true over the photographs, the expected calibration error of the
scores, and false detections per megapixel of every other photograph of `everyday`,
which shows neither cells nor cards; CPU seconds of `fit`, with calibration and choice
of the threshold, and of `localize` per megapixel of these photographs.

photographs-stages.csv has the shares of the true objects that are left after each stage
of the first three methods: proposed (a box has an IoU of 0.5 with the object), after
each move of the boxes, recognised with the correct label, confident (above the
threshold), and kept in non-maximum suppression.
"""

import sys

import pandas as pd
from _common import parse_arguments, report
from _detectors import CalibratedDetector, HogWindows, TemplateMatching
from _frozen_features import FrozenFeatures
from _photographs import (
    CropDetector,
    PackageDetector,
    measure,
    photographs_folder,
    read_photographs,
    reason_to_skip,
)
from _stages import photograph_stages

DATASETS = ("blood_cells", "playing_cards")
PRETRAINED = {"backbone": "efficientnet_lite0"}
N_CROPS = 10_000
METHODS = (
    "pretrained",
    "pretrained, 5 photographs",
    "trained from nothing",
    "crops",
    "template matching",
    "HOG + SVM",
    "frozen features",
)


def make_detectors(dataset, quick):
    """Untrained detectors by name; the methods with stages first."""
    sizes = {"n_instance_crops": N_CROPS, "n_background_crops": N_CROPS}
    if quick:
        sizes = dict(n_instance_crops=50, n_background_crops=50, n_mining_rounds=0)
    few = {"pretrained, 5 photographs": PackageDetector(5, **PRETRAINED)}
    return {
        "pretrained": PackageDetector(**PRETRAINED),
        **(few if dataset == "blood_cells" and not quick else {}),
        "trained from nothing": PackageDetector(),
        "crops": CropDetector(**sizes),
        "template matching": CalibratedDetector(TemplateMatching),
        "HOG + SVM": CalibratedDetector(HogWindows),
        "frozen features": CalibratedDetector(FrozenFeatures),
    }


def rows_of(dataset, methods, folder, quick):
    """Rows of both tables for some methods on a data set."""
    train = read_photographs(folder / dataset / "train", 4 if quick else None)
    test = read_photographs(folder / dataset / "test", 1 if quick else None)
    others = read_photographs(folder / "everyday", 1 if quick else 36)
    rows, stage_rows = [], []
    for method, detector in make_detectors(dataset, quick).items():
        if method not in methods:
            continue
        names = {"data set": dataset, "method": method}
        rows.append(names | measure(detector, train, test, others))
        print(pd.Series(rows[-1]).to_frame().T.to_string(index=False), flush=True)
        if isinstance(detector, PackageDetector) and method != "crops":
            detector.localizer.set_params(score_threshold=detector.threshold)
            stage_rows.append(names | photograph_stages(detector.localizer, *test))
    return rows, stage_rows


def main():
    """Run from the command line."""
    arguments = parse_arguments(
        __doc__, choices={"datasets": DATASETS, "methods": METHODS}
    )
    folder = photographs_folder(arguments.data_home)
    if reason := reason_to_skip(folder):
        if arguments.quick:
            print(f"skipped: {reason}")
            return
        sys.exit(reason)
    rows, stage_rows = [], []
    # Cards are the fastest.
    for dataset in arguments.datasets[-1:] if arguments.quick else arguments.datasets:
        for table, of_dataset in zip(
            (rows, stage_rows),
            rows_of(dataset, arguments.methods, folder, arguments.quick),
            strict=True,
        ):
            table += of_dataset
    for name, table in (("photographs", rows), ("photographs-stages", stage_rows)):
        print()
        report(name, table, arguments.quick, replace_by=["data set", "method"])


if __name__ == "__main__":
    main()
