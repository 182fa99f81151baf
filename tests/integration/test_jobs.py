"""jobs/ as users run them: submitted to a cluster of its own that asks for a token."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest

from tests.tiny import ROOT, campaign, end, results, texts, write_campaign, write_csv

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = Path(sys.executable).with_name("ray")
STARTS_WITHIN_S = 120


@pytest.fixture(scope="module")
def cluster():
    """The environment of the clients of a cluster whose job server is up."""
    dashboard, client, agent = (str(port) for port in free_ports(3))
    address, token = f"http://127.0.0.1:{dashboard}", secrets.token_hex(16)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_API_SERVER_ADDRESS": address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
    }
    ports = ["--port", "0", "--dashboard-port", dashboard, "--ray-client-server-port", client]
    ports += ["--dashboard-agent-listen-port", agent]
    # Sockets lie in this folder, and their paths may have 107 bytes: pytest's own are too long.
    with tempfile.TemporaryDirectory(
        prefix="umc", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        process = subprocess.Popen(
            [RAY, "start", "--head", "--block", "--num-cpus", "2", "--temp-dir", folder, *ports],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_up(process, address, token)
            yield environment
        finally:
            end(process)


def free_ports(n):
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [server.getsockname()[1] for server in servers]


def status_of(address, token=None):
    """What the job server answers to a list of its jobs; None: it is not up."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(f"{address}/api/jobs/", headers=headers)) as answer:
            return answer.status
    except HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def wait_until_up(process, address, token):
    until = time.monotonic() + STARTS_WITHIN_S
    while status_of(address, token) != HTTPStatus.OK:
        assert process.poll() is None, "the cluster ended"
        assert time.monotonic() < until, "the job server did not come up"
        time.sleep(0.2)


def submit(cluster, *entrypoint):
    """Submit a job as the docstrings in jobs/ say, and wait for its end."""
    command = [RAY, "job", "submit", "--working-dir", ROOT, "--", *entrypoint]
    return subprocess.run(
        list(map(str, command)), env=cluster, capture_output=True, text=True, check=False
    )


def test_the_cluster_wants_its_token(cluster):
    assert status_of(cluster["RAY_API_SERVER_ADDRESS"]) == HTTPStatus.UNAUTHORIZED


def test_jobs_curate_and_score_and_fail(cluster, reference, tmp_path):
    values = campaign(tmp_path, budget={"labels": 30, "per_round": 30})
    path, run = write_campaign(tmp_path, values), tmp_path / "runs/tiny"
    curated = submit(cluster, "python", "jobs/curate.py", path)
    assert curated.returncode == 0, curated.stdout + curated.stderr
    assert "1 rounds are done: the budget of 30 labels is spent" in curated.stdout
    first, expected = results(run), results(reference.storage)
    assert first == {key: expected[key] for key in first}

    write_csv(tmp_path / "new.csv", texts(30, seed=4))
    told = [path, tmp_path / "new.csv", "--domain", "mood/posts", "--output", tmp_path / "scored"]
    scored = submit(cluster, "python", "jobs/score.py", *told)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert "30 samples are scored, 0 rows in quarantine" in scored.stdout
    assert pq.read_table(tmp_path / "scored/part-00000.parquet").num_rows == 20

    failed = submit(cluster, "python", "jobs/curate.py", tmp_path / "none.yaml")
    assert failed.returncode != 0
    assert f"error: cannot read campaign file {tmp_path}/none.yaml" in failed.stdout
