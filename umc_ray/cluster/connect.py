"""Where Ray runs: the cluster that RAY_ADDRESS names, or a private one in this process's care."""

import logging
import os

import ray

NOISY = ("ray.data", "ray.train", "ray.serve")


def connect() -> None:
    """Join the cluster of RAY_ADDRESS (set inside a Ray job), or start a local one.

    A local one ends with this process. It never joins another Ray that happens to run here.
    """
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            logging_level=logging.WARNING,
            log_to_driver=False,
        )
