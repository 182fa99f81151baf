"""Connect to Ray: to the cluster that RAY_ADDRESS names, or to a private local one."""

import logging
import os

import ray

NOISY_LOGGERS = ("ray.data", "ray.train", "ray.serve")


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names (Ray jobs set it), or start a local one.

    A local cluster ends with this process. Another Ray that runs on this machine is never joined.
    """
    for name in NOISY_LOGGERS:
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
