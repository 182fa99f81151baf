"""Connect to Ray: to the cluster that RAY_ADDRESS names, or to a private local one."""

import logging
import os

import ray

from umc_ray.cluster.loopback import on_loopback, protect_token
from umc_ray.cluster.watch import watch_servers
from umc_ray.errors import StageError

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

    A local cluster ends with this process, and only this machine reaches it. Another Ray that runs
    on this machine is never joined.

    Raises:
        StageError: it cannot be started or joined.
    """
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(logging_level=logging.WARNING, log_to_driver=False)
        else:
            protect_token()
            with on_loopback():
                ray.init(
                    address="local",
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                    log_to_driver=False,
                )
    except Exception as error:  # Ray raises plain ones: a slow start, a full disk, a wrong address
        where = f"at RAY_ADDRESS={address}" if address else "on this machine"
        raise StageError(
            f"cannot start or join Ray {where}: {error!s:.500}; run again, and see Ray's logs if "
            "it stays so"
        ) from error
    if not address:
        watch_servers()
