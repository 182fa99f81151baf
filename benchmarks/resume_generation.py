"""What is generated or asked again when a campaign is killed while its samples are being made?

    python -m benchmarks.resume_generation [--quick] [--check] [--repeats 2]

A campaign of benchmarks/refill.py lacks two topics. Before its first round, texts for them come
from an endpoint that takes a while for each, and people are asked about some. The process group of
the driver gets SIGKILL when a shard is stored and others are under way, and again once people are
asked; after each, it is started anew. A shard that was stored must not be requested again, nobody
may be asked twice, and all that generators and filters say must be the bytes of an undisturbed
campaign.
"""

import asyncio
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI, Request

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.refill import SETS, Plan, write_campaigns
from umc_ray.cli import WAITING_EXIT

SECONDS, WORDS = 0.15, 12
LOG = "driver.log"
ARM, SAMPLES = "writer", 96
COMPARED = ("generated", "synthetic", "pool/synthetic", "rounds/0001")
"""Of the run directory: what was made, what filters say of it, and what people are asked."""


class Endpoint:
    """Writes texts in OpenAI's protocol; the text depends on the seed alone."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.vocabulary = vocabulary
        self.requests: list[str] = []
        self.under_way = 0
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.complete)

    async def complete(self, request: Request) -> dict[str, Any]:
        """Write a text of random words."""
        self.requests.append(hashlib.sha256(await request.body()).hexdigest())
        seed = (await request.json())["seed"]
        self.under_way += 1
        await asyncio.sleep(SECONDS)
        self.under_way -= 1
        text = " ".join(random.Random(seed).choices(self.vocabulary, k=WORDS))
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


def run(options: Options) -> Report:
    """Run campaigns without and with kills."""
    again, made, failures = list[float](), list[float](), list[str]()
    name = next(iter(SETS))
    rows = list(dict.fromkeys(SETS[name]()))
    endpoint = Endpoint(sorted({word for text, _ in rows[:500] for word in str(text).split()}))
    with serving(endpoint.app) as url:
        generator = {"kind": "language_model", "url": url, "model": "words"}
        refine = {"share": 0.5, "samples_per_round": SAMPLES, "generators": {ARM: generator}}
        plan = Plan({ARM: {"refine": refine}}, budget=50, rounds=1)
        for seed in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                whole, killed = (Path(folder) / each for each in ("whole", "killed"))
                for each in (whole, killed):
                    each.mkdir()
                    write_campaigns(each, rows, True, seed, plan)
                expected = _undisturbed(whole, endpoint)
                repeated, problems = _killed(killed, endpoint, expected)
                again.append(repeated)
                made.append(sum(expected.values()))
                failures += [*problems, *_differences(whole, killed)]
    figures = {
        "texts": Figure("requests", made),
        "requested_again": Figure("requests", again),
    }
    return Report({"seconds a text": SECONDS, "seeds": options.repeats}, figures, failures)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; gives the address of its API."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1/"
    finally:
        server.should_exit = True
        thread.join()


def _undisturbed(folder: Path, endpoint: Endpoint) -> Counter[str]:
    """Run a campaign until people are asked; returns what was requested."""
    before = len(endpoint.requests)
    _run_to_the_questions(folder)
    return Counter(endpoint.requests[before:])


def _run_to_the_questions(folder: Path) -> None:
    code = _driver(folder).wait()
    assert code == WAITING_EXIT, f"the driver ended with {code}: {(folder / LOG).read_text()}"


def _killed(folder: Path, endpoint: Endpoint, expected: Mapping[str, int]) -> tuple[int, list[str]]:
    """Kill a campaign twice; returns how many requests were repeated, and what is wrong."""
    before, directory = len(endpoint.requests), folder / "runs" / ARM
    _kill_when(folder, lambda: endpoint.under_way > 0 and len(_shards(directory)) > 0)
    stored = {path: path.stat().st_mtime_ns for path in _shards(directory)}
    _kill_when(folder, lambda: len(_asked(directory)) > 0)
    asked = _asked(directory)
    _run_to_the_questions(folder)
    found = Counter(endpoint.requests[before:])
    problems = []
    if not 0 < len(stored) < len(_shards(directory)):
        problems.append(f"killed too late: {len(stored)} shards of {len(_shards(directory))}")
    if {path: path.stat().st_mtime_ns for path in stored} != stored:
        problems.append("a shard that was stored has been written again")
    if set(found) != set(expected):
        problems.append("other texts were requested than without a kill")
    if len(_asked(directory)) != len(set(_asked(directory))) or not asked <= _asked(directory):
        problems.append("questions are lost")
    return sum(found.values()) - sum(expected.values()), problems


def _shards(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"generated/{ARM}/*.parquet"))


def _asked(directory: Path) -> set[tuple[int, ...]]:
    """Return the questions of the store: id, round and sample."""
    if not (directory / "labels.db").exists():
        return set()
    with closing(sqlite3.connect(f"file:{directory}/labels.db?mode=ro", uri=True)) as database:
        try:
            rows = database.execute("select id, round, sample_id from questions where round > 0")
            return set(rows.fetchall())
        except sqlite3.OperationalError:  # no tables yet
            return set()


def _driver(folder: Path) -> subprocess.Popen[bytes]:
    """Start a driver as the head of a process group of its own."""
    command = [sys.executable, "-m", "umc_ray.cli", "run", str(folder / f"{ARM}.yaml")]
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _kill_when(folder: Path, happens: Callable[[], bool]) -> None:
    """Start a driver, and kill its process group in the middle of something."""
    process = _driver(folder)
    while not happens():
        assert process.poll() is None, f"the moment never came: {(folder / LOG).read_text()}"
        time.sleep(0.005)
    left = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(left, timeout=60)  # its Ray ends by itself
    for each in alive:
        each.kill()


def _differences(whole: Path, killed: Path) -> list[str]:
    """Return which files of a killed campaign are not those of an undisturbed one."""
    one, other = (_hashes(each / "runs" / ARM) for each in (whole, killed))
    return [f"{key} differs" for key in sorted({key for key, _ in one.items() ^ other.items()})]


def _hashes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in COMPARED
        for path in sorted((directory / name).rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    main("resume_generation", __doc__, run, repeats=2)
