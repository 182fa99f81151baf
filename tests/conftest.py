import logging
import os
import shutil
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

# Time is nothing that a test may depend on.
hypothesis.settings.register_profile("umc", deadline=None)
hypothesis.settings.load_profile("umc")

# Threads that share small products among them wait for each other, most of all on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"

# A process of Ray needs 3 s for its imports, and by default Ray ends it when it was idle for one.
os.environ["RAY_idle_worker_killing_time_threshold_ms"] = "3600000"  # noqa: SIM112 - Ray's name


class Clock:
    """A clock that only the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray with two CPUs; authentication stays on, with the token of HOME."""
    import ray

    # Sockets lie in this folder, and their paths may have 107 bytes: pytest's own are too long.
    with tempfile.TemporaryDirectory(
        prefix="umc", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            logging_level=logging.WARNING,
            _temp_dir=folder,
            _system_config={"metrics_report_interval_ms": 200},  # by default 10 s
        )
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def finished(ray_cluster, tmp_path_factory):
    """A campaign of two rounds; nobody may change it: `campaign` gives a copy."""
    from tests import tiny
    from umc_ray.campaign.campaign import run_campaign

    folder = tmp_path_factory.mktemp("finished")
    values = tiny.campaign(folder, budget={"labels": 60, "per_round": 30})
    campaign = tiny.Finished(tiny.write_campaign(folder, values))
    run_campaign(campaign.run)
    return campaign


@pytest.fixture
def campaign(finished, tmp_path):
    """A copy of the finished campaign."""
    shutil.copytree(finished.path.parent, tmp_path / "copy")
    return type(finished)(tmp_path / "copy" / finished.path.name)
