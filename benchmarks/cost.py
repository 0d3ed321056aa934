"""Cost of 10^9 images, and of a slide of 10^10 pixels, on 1, 100 and 1,000 workers.

    tox -e benchmark-cost

Computed from the figures of one image, one task and one worker that `workers.py`
measured (results/workers-units.csv): nothing is run. The table is that of the guide.

A worker has one core. Blocks are as large as the guide advises, the scheduler handles
one task after the other, and a network carries 10 Gbit/s from where the images are, and
to where the results go.
"""

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

RESULTS = Path(__file__).parent / "results"
N_WORKERS = (1, 100, 1000)
# Bytes per second from where the images are, and memory of whoever asks for results.
NETWORK = 10e9 / 8
CLIENT_MEMORY = 16e9
# A worker holds the block that it reads, the one it works on, and results.
BLOCKS_IN_MEMORY = 3


class Job(NamedTuple):
    """Work that is divided into equal blocks."""

    name: str
    n_blocks: int
    seconds_of_block: float
    bytes_of_block: float
    result_bytes: float
    bytes_of_search: float = 0.0


def jobs(units):
    """The jobs, from the figures of one."""
    images, block = 10**9, 10_000
    digits = 28 * 28

    def on_digits(method, result_bytes):
        seconds = units[f"{method}, s per 1,000 images"] / 1000
        n_blocks = images // block
        size = (block * seconds, block * digits, images * result_bytes)
        return Job(f"{method} of 10^9 images of 28x28", n_blocks, *size)

    def on_pixels(name, n_pixels, pixels_of_block, pixels_at_once):
        seconds = units["localize, s per megapixel"] * pixels_of_block / 1e6
        n_instances = units["instances per megapixel"] * n_pixels / 1e6
        result_bytes = n_instances * units["instance, bytes"]
        n_blocks = math.ceil(n_pixels / pixels_of_block)
        search = units["localize, bytes per pixel"] * pixels_at_once
        return Job(name, n_blocks, seconds, pixels_of_block, result_bytes, search)

    return [
        on_digits("predict_proba", 40),
        on_digits("transform", 4 * digits),
        on_pixels(
            "localize in 10^9 images of 160x160",
            n_pixels=160**2 * 10**9,
            pixels_of_block=160**2 * 1000,
            pixels_at_once=2**19,
        ),
        # Images of 4096x4096 with a tenth of overlap, which the user cuts.
        on_pixels(
            "localize in a slide of 10^10 pixels",
            n_pixels=1.1**2 * 10**10,
            pixels_of_block=4096**2,
            pixels_at_once=4096**2,
        ),
    ]


def cost(job, n_workers, units):
    """Time, traffic and memory of a job, and what limits it."""
    n_rounds = math.ceil(job.n_blocks / n_workers)
    scheduler = job.n_blocks * units["task, s in the scheduler"]
    read_bytes = job.n_blocks * job.bytes_of_block
    traffic = read_bytes + job.result_bytes + n_workers * units["estimator, bytes"]
    limits = {
        "the workers' cores": n_rounds * job.seconds_of_block,
        "the scheduler": scheduler,
        "the network": traffic / NETWORK,
    }
    limit = max(limits, key=limits.__getitem__)
    hours = limits[limit] / 3600
    breaks = limit
    if job.n_blocks < n_workers:
        breaks = f"only {job.n_blocks} blocks for {n_workers} workers"
    if job.result_bytes > CLIENT_MEMORY:
        breaks = f"memory of the caller, if all is computed there; then {limit}"
    memory = (
        units["worker, bytes"]
        + BLOCKS_IN_MEMORY * job.bytes_of_block
        + job.bytes_of_search
    )
    return {
        "job": job.name,
        "workers": n_workers,
        "blocks": job.n_blocks,
        "hours": f"{hours:,.3f}" if hours < 10 else f"{hours:,.0f}",
        "read, GB": f"{read_bytes / 1e9:,.0f}",
        "results, GB": f"{job.result_bytes / 1e9:,.1f}",
        "estimator sent, MB": f"{n_workers * units['estimator, bytes'] / 1e6:,.1f}",
        "memory of a worker, GB": f"{memory / 1e9:.1f}",
        "what breaks first": breaks,
    }


def main():
    """Run from the command line."""
    table = pd.read_csv(RESULTS / "workers-units.csv")
    units = dict(zip(table["measure"], table["value"], strict=True))
    rows = [cost(job, n, units) for job in jobs(units) for n in N_WORKERS]
    found = pd.DataFrame(rows)
    print(found.to_string(index=False))
    found.to_csv(RESULTS / "cost.csv", index=False)


if __name__ == "__main__":
    main()
