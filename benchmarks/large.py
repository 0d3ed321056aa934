"""Memory and time for large images and for many images, over their size.

    tox -e benchmark-large               (about an hour on 2 cores)
    tox -e benchmark-large -- --quick

Each call runs in a separate process, after a call of the same method on small input,
which excludes one-time loading. Large images are memory-mapped 8-bit files that repeat
a scene of 1,000 x 1,000 pixels: digits of the package's sample on synthetic textures.

- localize: an `InstanceLocalizer` that was trained on few crops, because its accuracy
  does not affect its costs;
- transform: its `SimilarNetClassifier`, into a memory-mapped file of floats;
- suppression: non-maximum suppression of a thousand boxes per megapixel.

Many images are memory-mapped files that repeat the sample's digits:

- predict_proba, and transform into a memory-mapped file of floats;
- fit: an epoch of LeNet in batches of 64, including importances.

Peak memory is the growth of the resident memory of the process. A slope is that of a
straight line through the logarithms of time and size: 1 if the time doubles with the
size.
"""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from _common import parse_arguments, report, with_slopes
from _memory import forget_peak, peak_memory

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar._search.suppression import nms
from sklearn_similar.datasets import load_mnist_sample, make_scenes

SIDE = 1000
MEGAPIXELS = (1, 4, 16, 100, 900)
N_IMAGES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_MEGAPIXELS, QUICK_N_IMAGES = (1, 2), (500, 1_000)
BOXES_OF_A_MEGAPIXEL = 1000


def write_image(path, n_megapixels):
    """Write a scene repeatedly, side by side, and return height and width."""
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    scenes, _ = make_scenes(
        X, y, n_scenes=1, size=(SIDE, SIDE), n_instances=40, random_state=0
    )
    n_rows = int(np.sqrt(n_megapixels))
    n_columns = n_megapixels // n_rows
    shape = n_rows * SIDE, n_columns * SIDE
    image = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for row in range(n_rows):
        image[row * SIDE : (row + 1) * SIDE] = np.tile(scenes[0], n_columns)
    return shape


def localizer():
    """A localizer that is trained in seconds."""
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    network = SimilarNetClassifier(lr=2e-3, batch_size=50, max_epochs=3)
    return InstanceLocalizer(
        network, n_instance_crops=800, n_background_crops=800, random_state=0
    ).fit(X[::2], y[::2])


def make_localize(path, folder):
    """Prepare the measured call."""
    model = localizer()
    model.localize([np.zeros((1100, 1100), np.uint8)])
    return lambda: len(model.localize([np.load(path, mmap_mode="r")]))


def make_transform(path, folder):
    """Prepare the measured call."""
    model = localizer().estimator_
    model.transform([np.zeros((1100, 1100), np.uint8)])
    image = np.load(path, mmap_mode="r")
    out = np.lib.format.open_memmap(folder / "heat.npy", "w+", np.float32, image.shape)
    return lambda: len(model.transform([image], out=[out])[0])


def make_suppression(path, folder):
    """Prepare the measured call."""
    height, width = np.load(path, mmap_mode="r").shape
    rng = np.random.RandomState(0)
    n_boxes = height * width * BOXES_OF_A_MEGAPIXEL // 10**6
    corner = np.floor(rng.uniform(size=(n_boxes, 2)) * [width, height])
    size = np.floor(np.exp(rng.uniform(np.log(7), np.log(100), (n_boxes, 2))))
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    rank = rng.uniform(size=n_boxes)
    return lambda: len(nms(boxes, rank, 0.3))


def write_images(path, n_images):
    """Write the sample's digits repeatedly to a file, and their labels to another."""
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (n_images, *X.shape[1:]))
    for first in range(0, n_images, len(X)):
        part = images[first : first + len(X)]
        part[:] = X[: len(part)]
    np.save(path.with_name("labels.npy"), np.resize(y, n_images))


def classifier(**params):
    """A classifier that was trained in a second."""
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    params = {"max_epochs": 1, "batch_size": 64, "random_state": 0} | params
    return SimilarNetClassifier(**params).fit(X[:1000], y[:1000])


def make_predict(path, folder):
    """Prepare the measured call."""
    model, images = classifier(), np.load(path, mmap_mode="r")
    model.predict_proba(images[:100])
    return lambda: model.predict_proba(images)


def make_transform_many(path, folder):
    """Prepare the measured call."""
    model, images = classifier(), np.load(path, mmap_mode="r")
    model.transform(images[:100])
    out = np.lib.format.open_memmap(folder / "heat.npy", "w+", np.float32, images.shape)
    return lambda: model.transform(images, out=out)


def make_fit(path, folder):
    """Prepare the measured call."""
    model, images = classifier(), np.load(path, mmap_mode="r")
    labels = np.load(path.with_name("labels.npy"))
    return lambda: model.fit(images, labels)


METHODS = {
    "megapixels": {
        "localize": make_localize,
        "transform": make_transform,
        "suppression": make_suppression,
    },
    "images": {
        "predict_proba": make_predict,
        "transform": make_transform_many,
        "fit": make_fit,
    },
}
WRITERS = {"megapixels": write_image, "images": write_images}


def measure(unit, method, path, folder):
    """Growth of the peak memory in MiB, and seconds, in this process."""
    torch.set_num_threads(1)
    call = METHODS[unit][method](path, folder)
    forget_peak()
    before, start = peak_memory(), time.perf_counter()
    call()
    return (peak_memory() - before) / 2**20, time.perf_counter() - start


def rows_of(unit, size, folder):
    """Rows of all methods."""
    path = folder / "image.npy"
    WRITERS[unit](path, size)
    rows = []
    for method in METHODS[unit]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            peak, seconds = pool.submit(measure, unit, method, path, folder).result()
        rows.append(
            {
                "method": method,
                "unit": unit,
                "size": size,
                "peak MiB": peak,
                "seconds": seconds,
            }
        )
        print(f"{method}, {size:,} {unit}: {peak:.0f} MiB, {seconds:.3g} s", flush=True)
    return rows


def draw(table, path):
    """Draw time and memory, with a row of axes for each unit."""
    figure, axes = plt.subplots(2, 2, figsize=(8, 6.4), layout="constrained")
    for row, (unit, lines) in zip(axes, table.groupby("unit", sort=False), strict=True):
        for method, line in lines.groupby("method", sort=False):
            label = f"{method}, {line['slope'].iloc[0]:.2f}"
            row[0].loglog(line["size"], line["seconds"], "o-", label=label)
            # The logarithmic axis cannot show 0.
            row[1].loglog(line["size"], line["peak MiB"].clip(lower=1), "o-")
        row[0].set(xlabel=unit, ylabel="seconds")
        row[1].set(xlabel=unit, ylabel="peak memory, MiB")
        row[0].legend(title="method, slope", fontsize="small")
    figure.savefig(path, dpi=80)
    print(f"picture in {path}")


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    sizes = {"megapixels": MEGAPIXELS, "images": N_IMAGES}
    if arguments.quick:
        sizes = {"megapixels": QUICK_MEGAPIXELS, "images": QUICK_N_IMAGES}
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for unit, values in sizes.items()
            for size in values
            for row in rows_of(unit, size, Path(folder))
        ]
    table = with_slopes(rows, by=["method", "unit"], count="size")
    print()
    path = report("large", table.to_dict("records"), arguments.quick)
    draw(table, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
