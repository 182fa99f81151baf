"""Run `umc annotate` in its own process, with its own database, so that a benchmark can kill it."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from sqlalchemy import create_engine, text

LABELS = [str(digit) for digit in range(10)]


@contextmanager
def sqlite() -> Iterator[str | None]:
    """Yield the URL of an SQLite file on disk."""
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        yield f"sqlite:///{folder}/labels.db"


@contextmanager
def postgres() -> Iterator[str | None]:
    """Start a PostgreSQL server with durable writes; yields its URL, or None if not installed."""
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


def write_campaign(folder: Path, url: str) -> Path:
    """Write a campaign of images and texts that uses the web annotation backend."""
    encoder = {"kind": "pixels", "image_px": 8}
    digits = {"kind": "classification", "labels": LABELS, "encoder": encoder}
    (folder / "encoder").mkdir(exist_ok=True)  # nothing is encoded
    words = {"kind": "static_text", "path": "encoder"}
    mood = {"kind": "classification", "labels": ["bad", "good"], "encoder": words}
    values = {
        "name": "crowd",
        "storage": str(folder),
        "tasks": {
            "digits": {**digits, "domains": {"scans": {"source": "none"}}},
            "mood": {**mood, "domains": {"mail": {"source": "none", "text": "text"}}},
        },
        "budget": {"labels": 1, "per_round": 1},
        "annotation": {"backend": "web", "database": url, "trusted_proxies": ["127.0.0.1"]},
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@dataclass
class Server:
    """`umc annotate` in its own process, which can be killed."""

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
            time.sleep(0.02)
        raise RuntimeError(f"the server exited with code {self.process.returncode}")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
