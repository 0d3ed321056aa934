"""Draw the pictures of the README, the home page and the user guide.

    python docs/draw_pictures.py             # all pictures
    python docs/draw_pictures.py iou terms   # some of them

Pictures are written to docs/_static/pictures and committed, so that the documentation
is built without drawing them. Needs the extras plot, images and pretrained, and
scikit-image. Takes about two minutes on one core.
"""

import sys
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image
from skimage.data import chelsea, coffee, coins
from skimage.measure import label, regionprops

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar._network.pretrained import efficientnet_lite0
from sklearn_similar.datasets import load_annotations, load_mnist_sample, make_scenes
from sklearn_similar.metrics import box_iou

DOCS = Path(__file__).parent
FOLDER = DOCS / "_static" / "pictures"
RESULTS = DOCS.parent / "benchmarks" / "results"
BOARD = DOCS / "board"
# Left and upper edge of the annotated parts on the board.
PARTS = {"part_1": (0, 44), "part_2": (372, 192), "part_3": (590, 0)}
COLOURS = {"capacitor": "#ffd60a", "chip resistor": "#4cc9f0"}
# Accuracy at two learning rates, with BatchNorm that drifts, and frozen.
FINE_TUNING = (0.584, 0.608), (0.800, 0.792)
BLUE, PINK, GREY = "#1f77b4", "#c2185b", "#6c757d"


def draw_box(axes, box, color, text=None, **settings):
    """A box, half-open in pixels, with a text above it."""
    x_min, y_min, x_max, y_max = box
    settings = {"linewidth": 1.6, **settings}
    axes.add_patch(
        Rectangle(
            (x_min - 0.5, y_min - 0.5),
            x_max - x_min,
            y_max - y_min,
            fill=False,
            edgecolor=color,
            **settings,
        )
    )
    if text:
        axes.text(x_min - 0.5, y_min - 1.5, text, color=color, fontsize=8, va="bottom")


def without_axes(figure):
    """A figure of images alone."""
    for axes in figure.axes:
        axes.axis("off")
    figure.tight_layout()
    return figure


def boxes_of(table):
    """The boxes of a table, row by row."""
    return table[["x_min", "y_min", "x_max", "y_max"]].to_numpy()


def detect_on_board(threshold=0.85):
    """Detections on the circuit board, learnt from its annotated parts."""
    photographs, boxes = load_annotations(BOARD / "annotated")
    localizer = InstanceLocalizer(backbone="efficientnet_lite0", random_state=0)
    localizer.fit(photographs, boxes).set_params(score_threshold=threshold)
    return photographs, boxes, localizer.localize([BOARD / "board.jpg"])


def draw_board(axes, detections):
    """The board with its detections and annotated parts, and their numbers."""
    axes.imshow(Image.open(BOARD / "board.jpg"))
    for name, (left, top) in PARTS.items():
        width, height = Image.open(BOARD / "annotated" / f"{name}.png").size
        part = left + 1, top + 1, left + width - 1, top + height - 1
        draw_box(axes, part, "white", linestyle=":", linewidth=1.8)
    for detection in detections.itertuples():
        box = detection.x_min, detection.y_min, detection.x_max, detection.y_max
        draw_box(axes, box, COLOURS[detection.label])
    for name, color in COLOURS.items():
        number = (detections["label"] == name).sum()
        axes.plot([], [], color=color, linewidth=4, label=f"{number} {name}s")
    axes.plot([], [], ":", color="0.5", label="annotated parts: 26 boxes")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False)
    axes.axis("off")


def photographs_of_two_classes():
    """A cat and a cup of coffee, 224 x 224 pixels, with ImageNet's labels."""
    images = []
    for photograph in (chelsea(), coffee()):
        image = Image.fromarray(photograph)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        images.append(np.asarray(image.resize((224, 224), Image.BICUBIC)))
    return np.stack(images), np.array([285, 967])


def heatmaps_of_classes(images, labels):
    """Heatmaps of a network that was trained on ImageNet."""
    model = SimilarNetClassifier(
        efficientnet_lite0(),
        classes=range(1000),
        max_epochs=0,
        validation_fraction=None,
    )
    model.fit(images, labels).fit_importance(images, labels)
    return model.heatmap(images, labels=labels)


def draw_heatmap(axes, image, heatmap, title):
    """A heatmap over an image."""
    axes.imshow(image, cmap="gray")
    axes.imshow(heatmap, cmap="inferno", alpha=0.55)
    axes.set_title(title, fontsize=11)
    axes.axis("off")


def overview():
    """Detections and heatmaps: the picture of the README and the home page."""
    _, _, detections = detect_on_board()
    images, labels = photographs_of_two_classes()
    heatmaps = heatmaps_of_classes(images, labels)
    figure = plt.figure(figsize=(11, 6.3))
    grid = figure.add_gridspec(2, 2, width_ratios=(2.6, 1), wspace=0.03, hspace=0.14)
    axes = figure.add_subplot(grid[:, 0])
    draw_board(axes, detections)
    axes.set_title("Detect: learnt from 26 boxes", fontsize=11)
    for row, name in enumerate(("Egyptian cat", "espresso")):
        axes = figure.add_subplot(grid[row, 1])
        title = f"Explain: {name}"
        draw_heatmap(axes, images[row], heatmaps[row], title)
    return figure


def card_detect():
    """Detections on a part of the board."""
    _, _, detections = detect_on_board()
    figure, axes = plt.subplots(figsize=(4, 2.6))
    draw_board(axes, detections)
    axes.get_legend().remove()
    axes.set_xlim(0, 300)
    axes.set_ylim(280, 85)
    return figure


def card_explain():
    """Two heatmaps side by side."""
    images, labels = photographs_of_two_classes()
    heatmaps = heatmaps_of_classes(images, labels)
    figure, axes = plt.subplots(1, 2, figsize=(4, 2.6))
    for one, image, heatmap in zip(axes, images, heatmaps, strict=True):
        draw_heatmap(one, image, heatmap, "")
    figure.subplots_adjust(wspace=0.03)
    return figure


def card_recognise():
    """A digit of each class, with its prediction."""
    X, X_test, y, _ = load_mnist_sample(return_X_y=True)
    model = SimilarNetClassifier(random_state=0).fit(X, y)
    figure, axes = plt.subplots(2, 4, figsize=(4, 2.6))
    chosen = X_test[:1000:125]
    predicted = model.predict(chosen)
    for one, image, name in zip(axes.flat, chosen, predicted, strict=True):
        one.imshow(image, cmap="gray")
        one.set_title(str(name), fontsize=10, pad=2)
        one.axis("off")
    return figure


def method():
    """From an image over its activations to the heatmap."""
    X, X_test, y, _ = load_mnist_sample(return_X_y=True)
    model = SimilarNetClassifier(random_state=0).fit(X, y)
    image = X_test[203]
    heatmap = model.transform(image[None])[0]
    network = model.net_.module_
    activations = {}
    layer = dict(network.named_modules())[model.layer_]
    hook = layer.register_forward_hook(
        lambda _module, _input, output: activations.update(maps=output[0])
    )
    model.predict(image[None])
    hook.remove()
    figure = plt.figure(figsize=(10, 2.6))
    grid = figure.add_gridspec(1, 4, width_ratios=(1, 1.25, 1.3, 1), wspace=0.45)
    first = figure.add_subplot(grid[0])
    first.imshow(image, cmap="gray")
    first.set_title("image", fontsize=10)
    first.axis("off")
    maps = grid[1].subgridspec(4, 4, wspace=0.08, hspace=0.08)
    for index, values in enumerate(activations["maps"].detach().numpy()):
        axes = figure.add_subplot(maps[index // 4, index % 4])
        axes.imshow(values.clip(0), cmap="inferno")
        axes.axis("off")
        if index == 1:
            axes.set_title("      activations of 16 filters", fontsize=10)
    bars = figure.add_subplot(grid[2])
    bars.bar(range(16), model.filter_importances_, color=BLUE)
    bars.set_title("importance: increase of the loss\nwithout the filter", fontsize=10)
    bars.set_xlabel("filter")
    last = figure.add_subplot(grid[3])
    draw_heatmap(last, image, heatmap, "heatmap: weighted sum")
    last.title.set_fontsize(10)
    return figure


def localization():
    """Thresholds of a photograph, the stable regions, and the detections."""
    photograph = coins()[:150, :184]
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.7))
    for one, threshold in zip(axes[:3], (80, 110, 140), strict=True):
        regions = label(photograph > threshold)
        one.imshow(regions > 0, cmap="gray")
        for region in regionprops(regions):
            y_min, x_min, y_max, x_max = region.bbox
            if min(y_max - y_min, x_max - x_min) > 15:
                draw_box(one, (x_min, y_min, x_max, y_max), PINK)
        one.set_title(f"regions above {threshold}", fontsize=10)
    sides = ((20, 32, 48), (78, 34, 44), (132, 28, 48), (24, 103, 44), (82, 106, 40))
    whole = Image.fromarray(coins())
    crops = [whole.crop((x, y, x + s, y + s)).resize((28, 28)) for x, y, s in sides]
    localizer = InstanceLocalizer(
        n_instance_crops=1000,
        n_background_crops=1000,
        n_mining_rounds=0,
        random_state=0,
    ).fit(crops, ["coin"] * len(crops))
    axes[3].imshow(photograph, cmap="gray")
    for detection in localizer.localize([photograph]).itertuples():
        box = detection.x_min, detection.y_min, detection.x_max, detection.y_max
        draw_box(axes[3], box, "#ff7f0e", f"{detection.score:.2f}")
    axes[3].set_title("detections", fontsize=10)
    return without_axes(figure)


def photographs():
    """Boxes, windows and detections on the board."""
    images, boxes, detections = detect_on_board()
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1))
    axes[0].imshow(Image.open(images[0]))
    first = boxes[boxes["image"] == 0]
    for name, box in zip(first["label"], boxes_of(first), strict=True):
        draw_box(axes[0], box, COLOURS[name])
    axes[0].set_title("boxes in training photographs", fontsize=10)
    board = Image.open(BOARD / "board.jpg").crop((320, 90, 602, 280))
    axes[1].imshow(board)
    for side, color in ((36, COLOURS["capacitor"]), (17, COLOURS["chip resistor"])):
        for x in np.arange(60, 60 + 4 * side, side / 3):
            for y in np.arange(30, 30 + 3 * side, side / 3):
                box = x, y, x + side, y + side
                draw_box(axes[1], box, color, linewidth=0.5)
    axes[1].set_title("windows of the sizes of the boxes", fontsize=10)
    axes[2].imshow(board)
    for detection in detections.itertuples():
        box = np.array(
            (detection.x_min, detection.y_min, detection.x_max, detection.y_max)
        ) - (320, 90, 320, 90)
        if (box[:2] >= 0).all() and box[2] <= 282 and box[3] <= 190:
            draw_box(axes[2], box, COLOURS[detection.label])
    axes[2].set_title("recognised, moved and selected", fontsize=10)
    return without_axes(figure)


def terms():
    """Terms of the glossary on a photograph."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    axes.imshow(coins()[20:145, 10:250], cmap="gray")
    draw_box(axes, (12, 12, 57, 55), "#ffd60a", "box (ground truth)")
    draw_box(axes, (70, 16, 114, 56), "#ff7f0e", "detection: coin 0.98")
    draw_box(axes, (112, 0, 178, 64), "#4cc9f0", linestyle="--")
    axes.text(180, 8, "crop: box\nwith context", color="#4cc9f0", fontsize=8)
    draw_box(axes, (122, 8, 169, 55), "#4cc9f0")
    for x in (20, 35, 50, 65, 80):
        draw_box(axes, (x, 80, x + 44, 124), "#f28482", linewidth=0.9)
    axes.text(20, 77, "windows: region proposals", color="#f28482", fontsize=8)
    draw_box(axes, (176, 84, 222, 124), "white")
    draw_box(axes, (184, 78, 232, 120), "#ff7f0e")
    axes.text(130, 74, "overlap: intersection over union", color="white", fontsize=8)
    axes.axis("off")
    figure.tight_layout()
    return figure


def iou():
    """Intersection over union of three pairs of boxes."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6))
    columns = ["x_min", "y_min", "x_max", "y_max"]
    true = pd.DataFrame([[10, 10, 50, 40]], columns=columns).assign(image=0, label="a")
    for one, shift in zip(axes, (4, 10, 22), strict=True):
        moved = true.copy()
        moved[columns] += [shift, shift // 2, shift, shift // 2]
        value = box_iou(true, moved)[0, 0]
        draw_box(one, boxes_of(true)[0], BLUE, "true")
        draw_box(one, boxes_of(moved)[0], "#ff7f0e")
        verdict = "correct" if value >= 0.5 else "false, and the true box is missed"
        one.set_title(f"IoU {value:.2f}: {verdict}", fontsize=9)
        one.set_xlim(0, 80)
        one.set_ylim(60, 0)
        one.set_aspect("equal")
        one.set_xticks([])
        one.set_yticks([])
    figure.tight_layout()
    return figure


def training():
    """The learning rate over the updates, and accuracy with label smoothing."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8))
    updates = np.linspace(0, 1, 200)
    rising = updates < 0.1
    decay = 0.5 * (1 + np.cos(np.pi * (updates - 0.1) / 0.9))
    rates = 0.002 * np.where(rising, updates / 0.1, decay)
    axes[0].plot(10 * updates, rates, color=BLUE)
    axes[0].set_xlabel("epoch")
    axes[0].set_title("learning rate of the defaults", fontsize=10)
    names = ["600\ndigits", "5,000\ndigits", "40,000\ndigits"]
    without, smoothed = [89.9, 97.1, 98.8], [91.3, 97.6, 99.0]
    places = np.arange(3)
    axes[1].bar(places - 0.2, without, 0.38, color=GREY, label="without")
    axes[1].bar(places + 0.2, smoothed, 0.38, color=BLUE, label="label smoothing 0.05")
    axes[1].set_ylim(88, 100)
    axes[1].set_xticks(places, names)
    axes[1].set_title("accuracy on held-out digits, %", fontsize=10)
    axes[1].legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    return figure


def fine_tuning():
    """Accuracy after two epochs with a frozen backbone, and without freezing BatchNorm.

    EfficientNet-Lite0 at 96 pixels, 1,000 images of clothes for training and 500 for
    the test; measured once, as the page says.
    """
    figure, axes = plt.subplots(figsize=(6, 2.6))
    places = np.arange(2)
    drifting, frozen = FINE_TUNING
    labels = "requires_grad_(False)", "and in evaluation mode"
    for values, shift, color, name in zip(
        (drifting, frozen), (-0.2, 0.2), (GREY, BLUE), labels, strict=True
    ):
        bars = axes.bar(places + shift, values, 0.38, color=color, label=name)
        axes.bar_label(bars, fmt="%.2f")
    axes.set_xticks(places, ["lr=0.001", "lr=0.01"])
    axes.set_ylim(0, 1.05)
    axes.set_title("accuracy on test images", fontsize=10)
    axes.legend(fontsize=8, loc="upper left", ncols=2)
    figure.tight_layout()
    return figure


def polarity():
    """Digits bright on dark and dark on bright, and the setting for each."""
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.3))
    for one, name in zip(axes, ("bright", "dark"), strict=True):
        (scene,), _ = make_scenes(
            X,
            y,
            n_scenes=1,
            size=(70, 160),
            n_instances=6,
            polarity=name,
            random_state=1,
        )
        one.imshow(scene, cmap="gray", vmin=0, vmax=255)
        one.set_title(f'polarity="{name}"', family="monospace", fontsize=10)
        one.axis("off")
    figure.tight_layout()
    return figure


def networks():
    """Class heatmaps of a pretrained network."""
    images, labels = photographs_of_two_classes()
    heatmaps = heatmaps_of_classes(images, labels)
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.8))
    names = "Egyptian cat", "espresso"
    for index, name in enumerate(names):
        axes[2 * index].imshow(images[index])
        axes[2 * index].axis("off")
        draw_heatmap(axes[2 * index + 1], images[index], heatmaps[index], name)
    figure.tight_layout()
    return figure


def workers():
    """How many times as fast two workers are, from the table of the benchmark."""
    table = pd.read_csv(RESULTS / "workers.csv").set_index("backend")["times as fast"]
    names = {
        "n_jobs=2, processes": "n_jobs=2\n(processes)",
        "two Dask workers": "two Dask\nworkers",
        "n_jobs=2, threads": "n_jobs=2\n(threads)",
    }
    figure, axes = plt.subplots(figsize=(7, 2.6))
    axes.barh(list(names.values()), table[list(names)], color=BLUE)
    axes.axvline(1, color=GREY, linestyle=":")
    axes.set_xlabel("times as fast as one worker, 2,000 images on two cores")
    axes.invert_yaxis()
    figure.tight_layout()
    return figure


def draw_steps(steps, returns=None, width=10):
    """Boxes of text from left to right, with arrows between them.

    `returns` is the text of an arrow from the last box back to the first.
    """
    figure, axes = plt.subplots(figsize=(width, 1.9 if returns is None else 2.4))
    for index, (title, text) in enumerate(steps):
        axes.add_patch(
            FancyBboxPatch(
                (index * 1.35, 0),
                1,
                0.6,
                boxstyle="round,pad=0.06",
                facecolor="#eef4fb",
                edgecolor=BLUE,
            )
        )
        center = index * 1.35 + 0.5
        axes.text(center, 0.47, title, ha="center", va="center", weight="bold", size=10)
        axes.text(center, 0.2, text, ha="center", va="center", size=8)
        if index:
            ends = (index * 1.35 - 0.27, 0.3), (index * 1.35 - 0.08, 0.3)
            axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=14))
    last = (len(steps) - 1) * 1.35 + 0.5
    if returns is not None:
        axes.add_patch(
            FancyArrowPatch(
                (last, -0.1),
                (0.5, -0.1),
                connectionstyle=f"arc3,rad={-0.6 / len(steps)}",
                arrowstyle="-|>",
                mutation_scale=14,
                color=PINK,
            )
        )
        axes.text(last / 2 + 0.25, -0.62, returns, ha="center", size=9, color=PINK)
    axes.set_xlim(-0.15, last + 0.65)
    axes.set_ylim(-0.15 if returns is None else -0.8, 0.75)
    axes.axis("off")
    figure.tight_layout()
    return figure


def annotations():
    """The path from a photograph to boxes."""
    steps = (
        ("draw", "boxes in a few\nphotographs, in a tool"),
        ("load", "load_annotations"),
        ("fit", "InstanceLocalizer"),
        ("localize", "new photographs"),
        ("write", "dump_annotations"),
    )
    return draw_steps(steps, "correct the boxes in the tool, and fit again")


def persistence():
    """What is in a file, and what is passed to load."""
    steps = (
        ("fitted estimator", "weights, parameters,\nattributes, code"),
        ("save", "data alone,\nwith a checksum"),
        ("model.safetensors", "no code"),
        ("load", "checks types and shapes;\npass your own network"),
        ("same results", "bit for bit on the\nsame machine"),
    )
    return draw_steps(steps)


def reliability():
    """What happens to the state of an estimator in fit."""
    steps = (
        ("fit", "estimator keeps\nits old state"),
        ("train", "in a copy; seeds, hooks\nand modes are restored"),
        ("after an error\nor Ctrl-C", "\nold state,\nunchanged"),
        ("otherwise", "new state,\nat once"),
    )
    return draw_steps(steps, width=8.5)


PICTURES = (
    overview,
    card_detect,
    card_explain,
    card_recognise,
    method,
    localization,
    photographs,
    terms,
    iou,
    training,
    fine_tuning,
    polarity,
    networks,
    workers,
    annotations,
    persistence,
    reliability,
)
# Pictures that are photographs take less space as JPEG.
PHOTOGRAPHS = (overview, card_detect, card_explain, photographs, networks)


def main(names):
    """Draw the pictures of these names, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for draw in PICTURES:
        if names and draw.__name__ not in names:
            continue
        figure = draw()
        suffix = ".jpg" if draw in PHOTOGRAPHS else ".png"
        path = FOLDER / f"{draw.__name__}{suffix}"
        figure.savefig(path, dpi=110, bbox_inches="tight", pad_inches=0.05)
        plt.close(figure)
        print(path.relative_to(DOCS.parent), f"{path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
