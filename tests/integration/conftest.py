import tempfile
from pathlib import Path

import pytest

from tests.tiny import campaign, write_campaign
from umc_ray.campaign import run_campaign
from umc_ray.config import load_campaign
from umc_ray.run import Run


@pytest.fixture(scope="session")
def reference(ray_cluster, tmp_path_factory):
    """The tiny campaign, run to its end without disturbance."""
    folder = tmp_path_factory.mktemp("reference")
    run = Run(load_campaign(write_campaign(folder, campaign(folder))))
    run_campaign(run)
    return run


@pytest.fixture
def ray_folder():
    """Where another Ray may keep its sockets: their paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(
        prefix="umc", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
