"""Connect to Ray: to the cluster that RAY_ADDRESS names, or to a private local one."""

import logging
import os

import ray

LEVELS = {
    "ray.data": logging.WARNING,
    "ray.train": logging.WARNING,
    "ray.serve": logging.WARNING,
    # They warn of what is as it should be: token authentication is on, Ray's own bars are off.
    "ray._private.authentication": logging.ERROR,
    "ray.data._internal.progress": logging.ERROR,
}


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names (Ray jobs set it), or start a local one.

    A local cluster ends with this process. Another Ray that runs on this machine is never joined.
    """
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
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
