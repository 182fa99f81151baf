"""jobs/ as users run them: submitted to a cluster of three nodes that asks for a token."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest

from benchmarks.cluster import LocalCluster
from jobs import bench, curate, report
from tests.tiny import (
    ROOT,
    Finished,
    campaign,
    copy_campaign,
    results,
    texts,
    write_campaign,
    write_csv,
)
from umc_ray.storage import Storage

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = Path(sys.executable).with_name("ray")
STARTS_WITHIN_S = 120


@pytest.fixture(scope="module")
def cluster():
    """The environment of the clients of a cluster of three nodes whose job server is up."""
    dashboard, client, agent = free_ports(3)
    ports = f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"
    with LocalCluster(2, [*ports, f"--dashboard-agent-listen-port={agent}"]) as nodes:
        inherited = {**os.environ, **nodes.environment}
        del inherited["RAY_ADDRESS"]
        environment = {**inherited, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
        wait_until_up(environment)
        yield environment


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


def wait_until_up(environment):
    address, token = environment["RAY_API_SERVER_ADDRESS"], environment["RAY_AUTH_TOKEN"]
    until = time.monotonic() + STARTS_WITHIN_S
    while status_of(address, token) != HTTPStatus.OK:
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


@pytest.mark.long
def test_jobs_find_on_three_nodes_what_one_finds(cluster, reference, tmp_path):
    values = campaign(tmp_path, budget={"labels": 30, "per_round": 30})
    path, run = write_campaign(tmp_path, values), tmp_path / "runs/tiny"
    curated = submit(cluster, "python", "jobs/curate.py", path)
    assert curated.returncode == 0, curated.stdout + curated.stderr
    assert "1 rounds finished: the budget of 30 labels is spent" in curated.stdout
    first, expected = results(run), results(reference.storage)
    assert first == {key: expected[key] for key in first}

    write_csv(tmp_path / "new.csv", texts(30, seed=4))
    manifest = [
        path,
        tmp_path / "new.csv",
        "--domain",
        "mood/posts",
        "--output",
        tmp_path / "scored",
    ]
    scored = submit(cluster, "python", "jobs/score.py", *manifest)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert "30 samples scored, 0 rows in quarantine" in scored.stdout
    assert pq.read_table(tmp_path / "scored/part-00000.parquet").num_rows == 20


def test_jobs_fail_when_they_must(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["curate", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit, match=f"error: cannot read campaign file {tmp_path}/none.yaml"):
        curate.main()


def test_jobs_report(finished, tmp_path, monkeypatch, capsys):
    copy_campaign(finished.path.parent, tmp_path / "copy")
    path = tmp_path / "copy" / finished.path.name
    monkeypatch.setattr(sys, "argv", ["report", str(path)])
    report.main()
    page = Path(Finished(path).run.storage.root) / "report/index.html"
    assert str(page) in capsys.readouterr().out
    assert "tiny" in page.read_text()


def test_jobs_bench(ray_cluster, tmp_path, monkeypatch, capsys):
    options = ["--storage", str(tmp_path), "--rows", "200000", "--workers", "2"]
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    bench.main()
    assert "of linear" in capsys.readouterr().out
    assert list(Storage(str(tmp_path)).read_json("scaling.json")["rows_per_s"]) == ["2"]
