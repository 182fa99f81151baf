"""How does the scoring speed scale with the number of workers of this cluster?

    ray job submit --address http://HEAD:8265 --working-dir . -- \
        python -m jobs.bench --storage s3://bucket/bench --rows 10000000 --workers 1 2 4 8 16

The cluster creates a pool of features once and scores it with each number of workers. The result is
printed as a table and stored as scaling.json.
"""

import argparse
import sys

from benchmarks.scaling import actor_speed
from benchmarks.scoring import FeatureMaker, parts_of, write_ensemble
from umc_ray.cluster.connect import connect
from umc_ray.cluster.stream import Compute, stream
from umc_ray.errors import UmcError
from umc_ray.storage import Storage

ROWS_PER_PART = 100_000
"""An actor gets one part at a time, and handing it over takes as long as scoring 5,000 rows."""


def main() -> None:
    """Measure the speeds; exits with an error if a pass fails."""
    parser = argparse.ArgumentParser(description="Measure how scoring scales with the workers.")
    parser.add_argument(
        "--storage", required=True, help="folder or s3:// URI that all nodes can access"
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    if arguments.rows < 2 * ROWS_PER_PART:
        parser.error(f"--rows must be {2 * ROWS_PER_PART} or more: a speed takes two parts")
    storage, parts = Storage(arguments.storage), parts_of(arguments.rows, ROWS_PER_PART)
    try:
        connect()
        stream(FeatureMaker(storage), parts, Compute())
        write_ensemble(storage)
        speeds = {workers: actor_speed(storage, parts, workers) for workers in arguments.workers}
        storage.write_json("scaling.json", {"rows": arguments.rows, "rows_per_s": speeds})
    except UmcError as error:
        sys.exit(f"error: {error}")
    first, *_ = speeds
    print("workers    rows/s  of linear")
    for workers, speed in speeds.items():
        print(f"{workers:7d} {speed:9,.0f} {speed / speeds[first] * first / workers:10.2f}")


if __name__ == "__main__":
    main()
