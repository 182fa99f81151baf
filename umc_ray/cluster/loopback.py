"""A local Ray that only this machine reaches, and a token that only its owner reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray._private import ray_constants

from umc_ray.atomic import make_private


@contextmanager
def on_loopback() -> Iterator[None]:
    """Have a Ray that is started in the block listen on 127.0.0.1 only.

    `ray.init` has no option for it: on Linux it takes the address of the machine instead of
    127.0.0.1, because other nodes could join, and then listens on all interfaces.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def protect_token() -> None:
    """Make Ray's token, which lets one run code, readable for its owner only.

    Ray writes it into this file if the file is empty, and leaves it readable for everybody if it
    creates the file itself.

    Raises:
        OSError: the file belongs to somebody else.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(parents=True, exist_ok=True)
    make_private(path)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
