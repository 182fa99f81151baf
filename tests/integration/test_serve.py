"""`umc serve` as a person starts it, and `umc publish` beside it."""

import os
import signal
from contextlib import suppress

import psutil
import pytest

from tests.listening import listening, reached_from_elsewhere
from tests.serving.conftest import free_port
from umc_ray.client import Client
from umc_ray.serving.messages import Sample

pytestmark = pytest.mark.ray

SAMPLES = [Sample(text="good great word1"), Sample(text="sad word2")]


def served(process):
    """Read what is said until the address is."""
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("http://"):
            return line.strip().removesuffix("/docs")
    raise AssertionError("".join(said))


def is_alive(process):
    """Whether a process still runs: one that nobody waited for may stay as a zombie."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize(
    "proxy", [(), pytest.param(("--haproxy",), marks=pytest.mark.long)], ids=["serve", "haproxy"]
)
def test_an_endpoint_is_started_follows_a_rollback_and_ends_when_interrupted(
    campaign, umc, umc_here, proxy
):
    process = umc("serve", campaign.path, "--port", free_port(), *proxy)
    with Client(served(process)) as client:
        assert [each.label for each in client.score(SAMPLES)] == ["good", "bad"]
        newest = client.models()
        assert ("raylet", "::ffff:127.0.0.1") in listening(process)
        assert reached_from_elsewhere(process) == set()
        code, said = umc_here("publish", campaign.path, "--rollback")
        assert (code, "round 1 is published" in said) == (0, True)
        while (now := client.models()).round == 2:
            pass
        assert now.version != newest.version
        assert {each.version for each in client.score(SAMPLES)} == {now.version}
    started = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 0
    while any(is_alive(each) for each in started):
        pass
