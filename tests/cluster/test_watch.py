import subprocess
import sys

import psutil
import pytest

from umc_ray.cluster.watch import KILLED, watch


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


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("sys.exit(3)", ""),
        ("raise KeyboardInterrupt", ""),
        ("os._exit(3)", f"{KILLED}\n"),  # as Ray does it
        ("os.kill(os.getpid(), signal.SIGKILL)", f"{KILLED}\n"),
    ],
)
def test_who_ends_without_a_goodbye_is_reported(end, said):
    code = (
        "import atexit, os, signal, sys\n"
        "from umc_ray.cluster.watch import KILLED, start_witness\n"
        "sys.excepthook = lambda *_: None\n"
        f"atexit.register(start_witness(KILLED))\n{end}"
    )
    found = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert found.stderr == said
