"""A Ray whose servers are killed while a campaign runs: one line, at once, and work is kept."""

import time

import psutil
import pytest

from tests.tiny import campaign, end, kill_all, start_umc, write_campaign
from umc_ray.cluster.watch import KILLED

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

AT_ONCE_S = 15


@pytest.mark.parametrize("server", ["raylet", "gcs_server"])
def test_a_ray_that_dies_is_said_in_one_line(server, tmp_path):
    path, run = write_campaign(tmp_path, campaign(tmp_path)), tmp_path / "runs/tiny"
    process = start_umc("run", path)
    try:
        while not (run / "rounds/0001/training.json").exists():  # it scores next
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        kill_all([each for each in children if each.name() == server])
        said, _ = process.communicate(timeout=AT_ONCE_S)
    finally:
        end(process)
    assert process.returncode == 1
    errors = [each for each in said.splitlines() if each.startswith("error:")]
    named = f"error: {server} of Ray has ended, out of memory or killed; run again: work is kept"
    assert errors in ([named], [KILLED]), said  # the latter if Ray ended it before it could speak
    assert "Traceback" not in said

    again = start_umc("run", path)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert "finished: the budget of 90 labels is spent" in said
