import os
import shutil
import subprocess
import sys

import pytest

from benchmarks.cluster import LocalCluster
from tests.integration.faults.driver import ANSWER
from tests.integration.faults.passes import make_pool, outputs
from tests.tiny import ROOT
from umc_ray.storage import Storage


class Driver:
    """A process that runs passes on the cluster."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.faults.driver"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def begin(self, name, folder):
        """Begin a pass."""
        self.process.stdin.write(f"{name} {folder}\n")
        self.process.stdin.flush()

    def answer(self):
        """How the pass ended."""
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return line.removeprefix(ANSWER).strip()
        return pytest.fail("the driver ended")

    def run(self, name, folder):
        self.begin(name, folder)
        return self.answer()

    def kill(self):
        self.process.kill()
        self.end()

    def end(self):
        self.process.communicate()


@pytest.fixture(scope="package")
def whole_cluster():
    """A head without CPUs and two nodes with one each."""
    with LocalCluster(workers=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster):
    """The cluster, with all its nodes."""
    whole_cluster.grow()
    return whole_cluster


@pytest.fixture(scope="package")
def driver(whole_cluster):
    """A driver for many passes."""
    driver = Driver(whole_cluster.environment)
    yield driver
    driver.end()


@pytest.fixture(scope="package")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_pool(Storage(str(folder)))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A run directory with the made pool."""
    return shutil.copytree(made, tmp_path / "run", copy_function=os.link)


@pytest.fixture(scope="package")
def undisturbed(driver, made, tmp_path_factory):
    """What each pass writes, file by file, when nothing happens to it."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("undisturbed") / "run")
    names = "score", "encode"
    for name in names:
        assert driver.run(name, folder) == "done"
    return {name: outputs(folder, name) for name in names}
