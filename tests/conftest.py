import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import joblib
import psutil
import pytest
from filelock import FileLock
from xdist.scheduler import LoadScopeScheduling

# Time is nothing that a test may depend on.
hypothesis.settings.register_profile("umc", deadline=None)
hypothesis.settings.load_profile("umc")

# Threads that share small products among them wait for each other, most of all on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"

# A disk that others use, too, takes 10 ms to flush a file: only tests/test_atomic.py does.
os.environ["UMC_FSYNC"] = "off"

# Each node of Ray looks at all processes of the machine every few seconds.
os.environ["REPORTER_UPDATE_INTERVAL_MS"] = "3600000"

# A process of Ray needs 3 s for its imports, and by default Ray ends it when it was idle for one.
os.environ["RAY_idle_worker_killing_time_threshold_ms"] = "3600000"  # noqa: SIM112 - Ray's name

MEMORY_PER_PROCESS = 5e9
"""Bytes that a test process and its Ray may take."""

TOGETHER = (
    ("tests/serving/",),
    ("tests/integration/faults/",),
    (
        "tests/integration/test_campaigns.py",
        "tests/integration/test_prometheus.py",
        "tests/integration/test_repair.py",
    ),
)
"""Files that share a cluster, or a campaign on it: one process runs all of them."""


def pytest_xdist_auto_num_workers() -> int:
    """`pytest -n auto`: a test process per core, where the memory suffices for their Rays."""
    memory = psutil.virtual_memory().available / MEMORY_PER_PROCESS
    return max(1, min(joblib.cpu_count(), int(memory)))


class Files(LoadScopeScheduling):
    """Hands out files, or what belongs together, to the test processes in their order."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return next((first for first, *more in TOGETHER if file.startswith((first, *more))), file)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # by the number of tests, of which slow files have few
    return Files(config, log)


def pytest_collection_modifyitems(config, items):
    """Begin with what takes longest: then the processes end at about the same time."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [not item.get_closest_marker(m) for m in ("slow", "ray")])


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

    from umc_ray.cluster.loopback import on_loopback

    # Sockets lie in this folder, and their paths may have 107 bytes: pytest's own are too long.
    with tempfile.TemporaryDirectory(
        prefix="umc", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        with on_loopback():
            ray.init(
                num_cpus=2,
                include_dashboard=False,
                logging_level=logging.WARNING,
                _temp_dir=folder,
                _system_config={"metrics_report_interval_ms": 2000},  # by default 10 s
            )
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """Have a folder filled by the first test process that asks; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        base = base.parent

    def get(name: str, fill: Callable[[Path], object]) -> Path:
        place = base / f"{name}.path"
        with FileLock(place.with_suffix(".lock")):
            if not place.exists():
                folder = tmp_path_factory.mktemp(name)
                fill(folder)
                place.write_text(str(folder))
        return Path(place.read_text())

    return get


@pytest.fixture(scope="session")
def finished(ray_cluster, made_once):
    """A campaign of two rounds; nobody may change it: `campaign` gives a copy."""
    from tests import tiny

    def fill(folder):
        values = tiny.campaign(folder, budget={"labels": 60, "per_round": 30})
        tiny.run_to_its_end(tiny.write_campaign(folder, values))

    return tiny.Finished(made_once("finished", fill) / "campaign.yaml")


@pytest.fixture
def campaign(finished, tmp_path):
    """A copy of the finished campaign."""
    from tests import tiny

    tiny.copy_campaign(finished.path.parent, tmp_path / "copy")
    return type(finished)(tmp_path / "copy" / finished.path.name)
