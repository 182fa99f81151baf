import subprocess
import sys

import psutil
import pytest

from umc_ray.cluster.watch import watch


def started(code):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


@pytest.mark.parametrize("in_use", [True, False])
def test_a_server_that_ends_while_ray_is_in_use_is_named(in_use):
    lasting, ending = started("input()"), started("")
    try:
        told = []
        servers = {psutil.Process(lasting.pid): "gcs_server", psutil.Process(ending.pid): "raylet"}
        watch(servers, lambda: in_use, told.append)
        assert told == (["raylet"] if in_use else [])
    finally:
        for each in (lasting, ending):
            each.kill()
            each.communicate()


def test_without_servers_there_is_nothing_to_wait_for():
    watch({}, lambda: True, pytest.fail)
