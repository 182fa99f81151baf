"""Measure how long the page takes to paint the next item when a browser labels by keyboard."""

import io
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.annotator import Server, write_campaign
from umc_ray.annotation.store import AnnotationStore
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.records import POOL, DomainKey, Part
from umc_ray.web.accounts import Accounts

DOMAIN = DomainKey("digits", "scans")
ADDED_MS = 80
PASSWORD = "a long password"


def browse(keys: int) -> list[float]:
    """Label by keyboard; returns ms from each key press until the next item is painted."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return []
    # optional: the other benchmarks need no browser
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
                create_questions(server.port, accounts.create_key("ada", "token"), ids)
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
    """Write scikit-learn's digits to the pool; returns their ids."""
    rows: list[dict[str, Any]] = []
    for i, scan in enumerate(load_digits().images[:count]):
        out = io.BytesIO()
        Image.fromarray((scan * 15.9).astype("uint8")).save(out, "PNG")
        row = {"sample_id": 2**60 + i, "key": str(i), "source": "scikit-learn", "text": None}
        rows.append({**row, "image": out.getvalue(), "aliases": []})
    part = Part("pool", DOMAIN, "part-00000", len(rows))
    run.storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    other = Part("pool", DomainKey("mood", "mail"), "part-00000", 0)
    run.storage.write_table(other.key("pool"), POOL.empty_table())
    for each in (part, other):
        counts = dict.fromkeys(("duplicates", "conflicts", "leaks", "bad", "labeled"), 0)
        manifest = {"parts": [[each.name, each.rows]], "rows": each.rows, "fingerprint": ""}
        empty: dict[str, Any] = {"reasons": {}, "sources": {}}
        run.storage.write_json(
            f"pool/pool/{each.domain_key}/manifest.json", manifest | counts | empty
        )
    return [row["sample_id"] for row in rows]


def create_questions(port: int, token: str, ids: list[int]) -> None:
    """Create questions about images and texts in alternation."""
    images = [{"sample_id": str(i), "priority": -n} for n, i in enumerate(ids[::2])]
    texts = [{"text": f"A text to read, {i}", "priority": -i - 0.5} for i in range(len(ids) // 2)]
    for task, domain, samples in (("digits", "scans", images), ("mood", "mail", texts)):
        body = {"task": task, "domain": domain, "samples": samples}
        url, headers = (
            f"http://127.0.0.1:{port}/api/batches/look",
            {"authorization": f"Bearer {token}"},
        )
        httpx.post(url, json=body, headers=headers, timeout=60).raise_for_status()


WATCH = """() => {
  window.took = [];
  addEventListener('keydown', (event) => {
    if (event.key !== '1') return;
    const began = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();  // its message arrives after the frame is painted
      channel.port1.onmessage = () => took.push([performance.now() - began,
        [...document.querySelectorAll('.picture img')].every((img) => img.complete)]);
      channel.port2.postMessage(null);
    });
  }, { capture: true });
}"""


def press(page: Any, address: str, keys: int) -> list[float]:  # noqa: ANN401 - Playwright's page
    """Log in, then press a key per item, with latency added to all requests of the page."""
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
        "() => !Object.keys(localStorage).some((key) => key.includes('/outbox/'))"
    )
    took = page.evaluate("took")
    assert all(complete for _, complete in took), "an item was shown before its image"
    return [ms for ms, _ in took]
