"""Cost of 10^9 images, and of a slide of 10^10 pixels, on 1, 100 and 1,000 workers.

    tox -e benchmark-cost

The costs are computed, not measured: from the unit costs of an image, a task and a
worker in results/workers-units.csv, which `workers.py` writes. The user guide shows the
table.

Assumptions: a worker has one core; blocks have the size that the guide recommends; the
scheduler handles tasks one by one; and the network between storage and workers carries
10 Gbit/s.
"""

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from _provenance import read_results

RESULTS = Path(__file__).parent / "results"
N_WORKERS = (1, 100, 1000)
# Bytes per second between storage and workers; bytes of memory of the client.
NETWORK = 10e9 / 8
CLIENT_MEMORY = 16e9
# A worker holds the next block, the current block and the results.
BLOCKS_IN_MEMORY = 3


class Job(NamedTuple):
    """A computation on equal blocks."""

    name: str
    n_blocks: int
    seconds_of_block: float
    bytes_of_block: float
    result_bytes: float
    bytes_of_search: float = 0.0


def jobs(units):
    """The jobs, computed from the unit costs."""
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
        # The user cuts images of 4096x4096 pixels that overlap by a tenth.
        on_pixels(
            "localize in a slide of 10^10 pixels",
            n_pixels=1.1**2 * 10**10,
            pixels_of_block=4096**2,
            pixels_at_once=4096**2,
        ),
    ]


def cost(job, n_workers, units):
    """Time, traffic and memory of a job, and its bottleneck."""
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
    bottleneck = limit
    if job.n_blocks < n_workers:
        bottleneck = f"only {job.n_blocks} blocks for {n_workers} workers"
    if job.result_bytes > CLIENT_MEMORY:
        bottleneck = f"memory of the client, if it collects the results; then {limit}"
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
        "memory per worker, GB": f"{memory / 1e9:.1f}",
        "first bottleneck": bottleneck,
    }


def main():
    """Run from the command line."""
    measured = read_results(RESULTS / "workers-units.csv")
    units = dict(zip(measured["measure"], measured["value"], strict=True))
    rows = [cost(job, n, units) for job in jobs(units) for n in N_WORKERS]
    # The costs are as old as the units that they are computed from.
    table = pd.DataFrame(rows).assign(commit=measured["commit"].iloc[0])
    print(table.to_string(index=False))
    table.to_csv(RESULTS / "cost.csv", index=False)


if __name__ == "__main__":
    main()
