"""Do answers survive a crowd and a kill, and is the next item there when the key is pressed?

Fifty simulated people answer a batch through the API while the server is killed with SIGKILL and
started again, on SQLite and on PostgreSQL; then a browser labels images and texts by keyboard with
80 ms added to every answer of the server.
"""

import http.client
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from PIL import Image
from sklearn.datasets import load_digits
from sqlalchemy import create_engine, text

from benchmarks.frame import Figure, Options, Report, main
from umc_ray.annotation.store import AnnotationStore
from umc_ray.config import load_campaign
from umc_ray.records import POOL, Arm, Part
from umc_ray.run import Run
from umc_ray.web.accounts import Accounts

PEOPLE, VOTES, LEASE = 50, 3, 20
ITEMS, QUICK_ITEMS = 2_000, 300
KEYS, QUICK_KEYS = 60, 20
ADDED_MS = 80
ARM = Arm("digits", "scans")
LABELS = [str(digit) for digit in range(10)]
PASSWORD = "a long password"
BATCH = 1000


def run(options: Options) -> Report:
    """Measure the crowd on each database there is, then the browser."""
    items = QUICK_ITEMS if options.quick else ITEMS
    figures: dict[str, Figure] = {}
    failures: list[str] = []
    for name, database in (("sqlite", sqlite()), ("postgres", postgres())):
        with database as url:
            if url is None:
                failures.append(f"{name} is not installed")
                continue
            found = crowd(url, items)
        figures |= {f"{name}_{each}": figure for each, figure in found.items()}
    keys = QUICK_KEYS if options.quick else KEYS
    pressed = browse(keys)
    if pressed:
        ranked = sorted(pressed)
        figures["key_p50_ms"] = Figure("ms", [statistics.median(ranked)])
        figures["key_p95_ms"] = Figure("ms", [ranked[int(0.95 * (len(ranked) - 1))]])
    else:
        failures.append("Chromium is not installed")
    return Report(
        workload={
            "people": PEOPLE,
            "items": items,
            "votes": VOTES,
            "leased at a time": LEASE,
            "keys": keys,
            "added ms": ADDED_MS,
            "CPUs": os.cpu_count(),
        },
        figures=figures,
        failures=failures,
    )


# ---- databases ----------------------------------------------------------------------------------


@contextmanager
def sqlite() -> Iterator[str | None]:
    """A file on a disk."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        yield f"sqlite:///{folder}/labels.db"


@contextmanager
def postgres() -> Iterator[str | None]:
    """A server of our own that writes through to the disk; None where there is none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="umc_pg_", dir="/tmp")  # socket paths must be short
    os.chmod(folder, 0o777)
    user = "nobody" if os.getuid() == 0 else None
    port = free_port()

    def call(program: str, *arguments: str) -> None:
        command = [str(programs[-1] / program), "-D", f"{folder}/data", *arguments]
        subprocess.run(command, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    call("initdb", "-U", "umc", "--auth=trust", "--encoding=UTF8")
    call("pg_ctl", "-w", "-l", f"{folder}/log", "-o", settings, "start")
    try:
        server = f"postgresql+psycopg://umc@127.0.0.1:{port}"
        admin = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE DATABASE crowd"))
        admin.dispose()
        yield f"{server}/crowd"
    finally:
        call("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


# ---- a server and its clients -------------------------------------------------------------------


def write_campaign(folder: Path, url: str) -> Path:
    """Write a campaign of images and of texts that asks on the page."""
    encoder = {"kind": "pixels", "image_px": 8}
    digits = {"kind": "image_classification", "labels": LABELS, "encoder": encoder}
    mood = {"kind": "text_classification", "labels": ["bad", "good"], "encoder": encoder}
    values = {
        "name": "crowd",
        "storage": str(folder),
        "tasks": {
            "digits": {**digits, "domains": {"scans": {"source": "none"}}},
            "mood": {**mood, "domains": {"mail": {"source": "none", "text": "text"}}},
        },
        "budget": {"labels": 1, "per_round": 1},
        "annotation": {"backend": "web", "database": url},
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@dataclass
class Server:
    """`umc annotate` in a process of its own that can be killed."""

    campaign: Path
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "umc_ray.cli", "annotate", str(self.campaign)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.DEVNULL
        )
        while self.process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server ended with {self.process.returncode}")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Client:
    """One person's program: asks again until it is answered, with the same key."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request until it is answered; returns its content."""
        content = None if body is None else json.dumps(body)
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        while True:
            try:
                self.connection.request(method, path, content, headers)
                answer = self.connection.getresponse()
                data = answer.read()
                if answer.status < 500:
                    assert answer.status < 300, (path, answer.status, data[:300])
                    return json.loads(data) if data else None
            except (OSError, http.client.HTTPException):
                self.connection.close()
                time.sleep(0.05)


# ---- the crowd ----------------------------------------------------------------------------------


def crowd(url: str, items: int) -> dict[str, Figure]:
    """Have a crowd answer everything while the server is killed; compare with the store."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        server = Server(write_campaign(Path(folder), url))
        with closing(AnnotationStore(url)) as store:
            tokens = people(store)
            server.start()
            try:
                ask_crowd(Client(server.port, tokens[0]), items)
                acknowledged, seconds = answer_all(server, tokens, items * VOTES)
            finally:
                server.kill()
            return judge(store, acknowledged, seconds, items)


def people(store: AnnotationStore) -> list[str]:
    """Make an account of each person; returns their tokens, a reviewer's first."""
    accounts = Accounts(store)
    tokens = []
    for i in range(PEOPLE):
        accounts.add(f"p{i}", "annotator" if i else "reviewer", PASSWORD)
        tokens.append(accounts.open(f"p{i}", "token"))
    return tokens


def ask_crowd(client: Client, items: int) -> None:
    """Ask about texts, over the API."""
    for start in range(0, items, BATCH):
        samples = [
            {"text": f"Text number {i}", "votes": VOTES, "priority": -i}
            for i in range(start, min(start + BATCH, items))
        ]
        body = {"task": "mood", "domain": "mail", "samples": samples}
        client.ask("POST", "/api/batches/load", body)


def answer_all(
    server: Server, tokens: list[str], votes: int
) -> tuple[list[tuple[str, str]], float]:
    """Let all people answer at once, and kill the server at a third of the votes.

    Returns:
        What was acknowledged, as person and sample, and the seconds in which the server was up.
    """
    acknowledged: list[tuple[str, str]] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=work, args=(Client(server.port, token), f"p{i}", acknowledged))
        for i, token in enumerate(tokens)
    ]
    for thread in threads:
        thread.start()
    while len(acknowledged) < votes // 3:
        time.sleep(0.01)
    killed = time.perf_counter()
    server.kill()
    server.start()
    down = time.perf_counter() - killed
    for thread in threads:
        thread.join()
    return acknowledged, time.perf_counter() - began - down


def work(client: Client, name: str, acknowledged: list[tuple[str, str]]) -> None:
    """Lease and answer until nothing is left for this person."""
    while held := client.ask("GET", f"/api/questions?batch=load&n={LEASE}"):
        for question in held:
            sample = question["sample"]
            key = f"key_{sample['sample_id'].lstrip('-')}_x"
            body = {"client_key": key, "samples": [sample], "label": "good", "seconds": 1.0}
            client.ask("POST", "/api/answers?batch=load", body)
            acknowledged.append((name, sample["sample_id"]))


def judge(
    store: AnnotationStore, acknowledged: list[tuple[str, str]], seconds: float, items: int
) -> dict[str, Figure]:
    """Compare what was acknowledged with what is stored."""
    answers = store.answers("crowd/load")
    kept = {(answer.annotator, str(answer.sample_id)) for answer in answers}
    votes = Counter(answer.sample_id for answer in answers)
    return {
        "submits_per_s": Figure("1/s", [len(acknowledged) / seconds]),
        "lost": Figure("answers", [float(len(set(acknowledged) - kept))]),
        "over_assigned": Figure("items", [float(sum(n > VOTES for n in votes.values()))]),
        "unfinished": Figure("items", [float(items - sum(n >= VOTES for n in votes.values()))]),
    }


# ---- the browser --------------------------------------------------------------------------------


def browse(keys: int) -> list[float]:
    """Label by keyboard; returns ms from each key press to the next item painted."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return []
    # optional: the rest of the benchmarks runs without a browser
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        path = write_campaign(Path(folder), f"sqlite:///{folder}/labels.db")
        ids = write_digits(Run(load_campaign(path)), keys)
        server = Server(path)
        with closing(AnnotationStore(f"sqlite:///{folder}/labels.db")) as store:
            accounts = Accounts(store)
            accounts.add("ada", "reviewer", PASSWORD)
            server.start()
            try:
                client = Client(server.port, accounts.open("ada", "token"))
                ask_browser(client, ids)
                arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
                    page = browser.new_page()
                    pressed = press(page, f"http://127.0.0.1:{server.port}", keys)
                    browser.close()
                assert len(store.answers("crowd/look")) == keys
            finally:
                server.kill()
    return pressed


def write_digits(run: Run, count: int) -> list[int]:
    """Put scikit-learn's scans of digits into the pool; returns their ids."""
    rows: list[dict[str, Any]] = []
    for i, scan in enumerate(load_digits().images[:count]):
        out = io.BytesIO()
        Image.fromarray((scan * 15.9).astype("uint8")).save(out, "PNG")
        row = {"sample_id": 2**60 + i, "key": str(i), "source": "scikit-learn", "text": None}
        rows.append({**row, "image": out.getvalue(), "aliases": []})
    part = Part("pool", ARM, "part-00000", len(rows))
    run.storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    other = Part("pool", Arm("mood", "mail"), "part-00000", 0)
    run.storage.write_table(other.key("pool"), POOL.empty_table())
    for each in (part, other):
        counts = dict.fromkeys(("duplicates", "conflicts", "leaks", "bad", "labeled"), 0)
        manifest = {"parts": [[each.name, each.rows]], "rows": each.rows, "fingerprint": ""}
        empty: dict[str, Any] = {"reasons": {}, "sources": {}}
        run.storage.write_json(f"pool/pool/{each.arm}/manifest.json", manifest | counts | empty)
    return [row["sample_id"] for row in rows]


def ask_browser(client: Client, ids: list[int]) -> None:
    """Ask about images and texts in turn."""
    images = [{"sample_id": str(i), "priority": -n} for n, i in enumerate(ids[::2])]
    texts = [{"text": f"A text to read, {i}", "priority": -i - 0.5} for i in range(len(ids) // 2)]
    for task, domain, samples in (("digits", "scans", images), ("mood", "mail", texts)):
        body = {"task": task, "domain": domain, "samples": samples}
        client.ask("POST", "/api/batches/look", body)


WATCH = """() => {
  window.took = [];
  addEventListener('keydown', (event) => {
    if (event.key !== '1') return;
    const began = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();  // its message comes when the frame is painted
      channel.port1.onmessage = () => took.push([performance.now() - began,
        [...document.querySelectorAll('.picture img')].every((img) => img.complete)]);
      channel.port2.postMessage(null);
    });
  }, { capture: true });
}"""


def press(page: Any, address: str, keys: int) -> list[float]:  # noqa: ANN401 - Playwright's page
    """Log in, then press a key per item, with latency added to all that the page fetches."""
    page.set_default_timeout(120_000)
    page.goto(f"{address}/?batch=look")
    page.fill("[name=name]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("article.item")
    session = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": ADDED_MS, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", slow)
    page.reload()
    page.wait_for_selector("article.item")
    page.evaluate(WATCH)
    for done in range(keys):
        page.wait_for_selector("article.item")
        page.keyboard.press("1")
        page.wait_for_function("(n) => took.length > n", arg=done)
        page.wait_for_timeout(300)  # nobody labels faster
    page.wait_for_function(
        "() => Object.keys(localStorage).every((key) => localStorage.getItem(key) === '[]')"
    )
    took = page.evaluate("took")
    assert all(complete for _, complete in took), "an item was shown before its image"
    return [ms for ms, _ in took]


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main("annotation", __doc__, run, repeats=1)
