"""Time of `localize` with one worker, two threads, two processes, two Dask workers.

    tox -e benchmark-workers             # 2,000 scenes of 160x160, twenty minutes
    tox -e benchmark-workers -- --quick  # 60 scenes, a minute or two

The backends take turns, and their tables of detections must be equal. All backends read
the scenes from a memory-mapped file. Workers are started and search a few scenes before
the clock starts; Dask's cluster is closed before the turn of the next backend.

The benchmark also measures the unit costs of an image, a task and a worker, from which
`cost.py` computes the costs of many. Finally, it kills a Dask worker at a random time
and checks that the table is complete.
"""

import math
import os
import pickle
import signal
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import joblib
import numpy as np
import torch
from _common import interleave, load_mnist, parse_arguments, report, seconds_of
from distributed import Client, LocalCluster
from pandas.testing import assert_frame_equal
from sklearn.utils import gen_batches

from sklearn_similar import InstanceLocalizer
from sklearn_similar.datasets import make_scenes

SIZE = (160, 160)
N_SCENES = 2000


def train(mnist, quick):
    """A localizer trained on few crops, because accuracy does not affect its time."""
    n = 500 if quick else 4000
    localizer = InstanceLocalizer(
        n_instance_crops=n, n_background_crops=n, n_mining_rounds=1, random_state=0
    )
    return localizer.fit(mnist.X_train[:5000], mnist.y_train[:5000])


def start_cluster(n_workers):
    """A cluster of single-threaded worker processes.

    By default, Dask workers return freed memory to the system at once, which slows the
    search down, also in processes that start later; this setting is removed.
    """
    dask.config.set({"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1}})
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
    )


@contextmanager
def one_worker(localizer):
    """Yields a function from scenes to a table of detections, like all backends."""
    yield localizer.localize


@contextmanager
def joblib_workers(localizer, backend):
    """Two workers of joblib."""
    with joblib.parallel_config(backend=backend, n_jobs=2):
        yield localizer.localize


@contextmanager
def dask_workers(localizer):
    """Two Dask workers, which read the memory-mapped file themselves."""
    with start_cluster(2) as cluster, Client(cluster) as client:

        def localize(scenes):
            detections = localizer.localize(lazy_blocks(scenes, 20))
            return detections.compute(scheduler=client).reset_index(drop=True)

        yield localize


def lazy_blocks(scenes, n_at_once):
    """A Dask array that reads the file of a memory map."""
    blocks = []
    for part in gen_batches(len(scenes), n_at_once):
        read = dask.delayed(read_scenes)(scenes.filename, part.start, part.stop)
        shape = (part.stop - part.start, *SIZE)
        blocks.append(da.from_delayed(read, shape, scenes.dtype))
    return da.concatenate(blocks)


def read_scenes(path, start, stop):
    """Read a range of scenes from a file."""
    return np.asarray(np.load(path, mmap_mode="r")[start:stop])


BACKENDS = {
    "one worker": one_worker,
    "n_jobs=2, threads": partial(joblib_workers, backend="threading"),
    "n_jobs=2, processes": partial(joblib_workers, backend="loky"),
    "two Dask workers": dask_workers,
}


def compare(localizer, scenes, n_repeats):
    """Rows of the table of backends."""
    expected = localizer.localize(scenes)
    seconds = {name: [] for name in BACKENDS}
    for _ in range(n_repeats):
        for name, backend in BACKENDS.items():
            with backend(localizer) as localize:
                # Enough scenes for all workers.
                localize(scenes[:200])
                start = time.perf_counter()
                table = localize(scenes)
                seconds[name].append(time.perf_counter() - start)
            assert_frame_equal(table, expected)
    rows = []
    for name, times in seconds.items():
        ratios = np.array(seconds["one worker"]) / times
        rows.append(
            {
                "backend": name,
                "scenes": len(scenes),
                "instances": len(expected),
                "seconds": float(np.median(times)),
                "times as fast": float(np.median(ratios)),
                "minimum": float(ratios.min()),
                "maximum": float(ratios.max()),
            }
        )
    return rows


def resident_bytes():
    """Resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def search_bytes_per_pixel(localizer, image):
    """Growth of the peak memory of this process during the search of a large image."""
    import resource

    before = resident_bytes()
    localizer.localize([image])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - before) / image.size


def add_one(number):
    """A task with negligible work."""
    return number + 1


def measure_units(localizer, scenes, mnist, client):
    """Unit costs of an image, a task and a worker."""
    classifier, n_tasks = localizer.estimator_, 2000
    digits, crops = mnist.X_test[:1000], scenes[:60]
    seconds = interleave(
        {
            "localize": lambda: localizer.localize(crops),
            "predict_proba": lambda: classifier.predict_proba(digits),
            "transform": lambda: classifier.transform(digits),
        },
        3,
    )
    table = localizer.localize(crops)
    tasks = [
        dask.delayed(add_one)(number, dask_key_name=f"t{number}")
        for number in range(n_tasks)
    ]
    no_work = seconds_of(lambda: dask.compute(tasks, scheduler=client))
    block = np.random.default_rng(0).integers(0, 256, 2**26, dtype=np.uint8)
    address, other = list(client.scheduler_info()["workers"])[:2]
    sent = client.scatter(block, workers=[address], hash=False)
    moved = client.submit(len, sent, workers=[other], pure=False)
    transfer = seconds_of(moved.result)
    memory = max(client.run(resident_bytes).values())
    n = math.isqrt(len(scenes[:60]))
    rows = [np.concatenate(list(scenes[k * n : (k + 1) * n]), axis=1) for k in range(n)]
    large = np.tile(np.concatenate(rows), (2, 2))
    search_bytes = client.submit(search_bytes_per_pixel, localizer, large).result()
    return {
        "localize, s per megapixel": seconds["localize"].min() / (crops.size / 1e6),
        "predict_proba, s per 1,000 images": seconds["predict_proba"].min(),
        "transform, s per 1,000 images": seconds["transform"].min(),
        "estimator, bytes": len(pickle.dumps(localizer)),
        "instances per megapixel": len(table) / (crops.size / 1e6),
        "instance, bytes": len(pickle.dumps(table)) / max(1, len(table)),
        "task, s in the scheduler": no_work / n_tasks,
        "transfer, bytes per s": len(block) / transfer,
        "worker, bytes": memory,
        "localize, bytes per pixel": search_bytes,
    }


def kill_workers(localizer, scenes, n_times):
    """Count complete tables after a worker was killed at a random time."""
    rng, expected = np.random.default_rng(0), localizer.localize(scenes)
    lazy = localizer.localize(da.from_array(scenes, chunks=(4, *SIZE)))
    n_complete = n_during_search = 0
    duration = None
    for _ in range(n_times):
        # A new cluster each time: replacing a worker takes long on a busy machine.
        with start_cluster(2) as cluster, Client(cluster) as client:
            if duration is None:
                client.compute(lazy).result()
                duration = seconds_of(lambda: client.compute(lazy).result())
            pids = list(client.run(os.getpid).values())
            future = client.compute(lazy)
            time.sleep(rng.uniform(0, duration))
            n_during_search += not future.done()
            os.kill(pids[rng.integers(len(pids))], signal.SIGKILL)
            table = future.result(timeout=600).reset_index(drop=True)
            n_complete += table.equals(expected)
            print(
                f"{n_complete} complete, {n_during_search} during the search",
                flush=True,
            )
            del future
    return {
        "killed": n_times,
        "during the search": n_during_search,
        "complete": n_complete,
    }


def main():
    """Run from the command line."""
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(1)
    mnist = load_mnist(arguments)
    localizer = train(mnist, arguments.quick)
    n_scenes = 60 if arguments.quick else N_SCENES
    scenes, _ = make_scenes(
        mnist.X_test, mnist.y_test, n_scenes=n_scenes, size=SIZE, random_state=0
    )
    packages = ["dask", "joblib"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.npy"
        np.save(path, scenes)
        mapped = np.load(path, mmap_mode="r")
        rows = compare(localizer, mapped, 2 if arguments.quick else 5)
    report("workers", rows, arguments.quick, packages=packages)
    with start_cluster(2) as cluster, Client(cluster) as client:
        units = measure_units(localizer, scenes, mnist, client)
    rows = [{"measure": name, "value": value} for name, value in units.items()]
    report("workers-units", rows, arguments.quick, packages=packages)
    row = kill_workers(localizer, scenes[:60], 2 if arguments.quick else 20)
    report("workers-killed", [row], arguments.quick, packages=packages)


if __name__ == "__main__":
    main()
