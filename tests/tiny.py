"""A campaign small enough for a test, on sources and with an encoder that it writes itself."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.storage import Storage

ROOT = Path(__file__).parent.parent
GOOD, BAD = ("good", "great", "fine"), ("bad", "poor", "sad")
PLAIN = tuple(f"word{i}" for i in range(40))
DOMAINS = ("mood/posts", "mood/reviews")


@dataclass(frozen=True)
class Finished:
    """A campaign of two rounds, on disk."""

    path: Path

    @property
    def run(self):
        return Run(load_campaign(self.path))


def write_encoder(folder, seed=0):
    """Static token vectors in which good and bad words lie apart."""
    rng = np.random.default_rng(seed)
    words = ["[UNK]", *GOOD, *BAD, *PLAIN]
    vectors = rng.normal(size=(len(words), 8)).astype(np.float32)
    vectors[1:4, 0] += 3
    vectors[4:7, 0] -= 3
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embedding.weight": vectors}, folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def texts(n, seed):
    """Rows of text, label and the ratings of three people, of whom some err."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        good = bool(rng.integers(2))
        words = [*rng.choice(GOOD if good else BAD, 2), *rng.choice(PLAIN, 6), f"row{seed}x{i}"]
        votes = np.where(rng.random(3) < 0.15, -1, 1) * (2 if good else -2)
        ratings = [int(vote) for vote in votes]
        rows.append({"text": " ".join(words), "label": "good" if good else "bad", "votes": ratings})
    return rows


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path, rows, columns=("text", "label")):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def without_answers(rows):
    """The rows as they are before people look at them."""
    return [{**row, "label": "", "votes": None} for row in rows]


def campaign(folder, **changes):
    """Write sources, an encoder and the campaign of two domains; returns its values.

    Answers are known where the campaign replays them.
    """
    annotation = {"backend": "replay", "votes": 3, **changes.get("annotation", {})}
    known = list if annotation["backend"] == "replay" else without_answers
    write_encoder(folder / "encoder")
    write_jsonl(folder / "reviews.jsonl", known(texts(160, seed=1)))
    write_jsonl(folder / "reviews_test.jsonl", texts(40, seed=2))
    write_csv(folder / "posts.csv", known(texts(120, seed=3)))
    reviews = {"source": "reviews.jsonl", "test": "reviews_test.jsonl", "text": "text"}
    values = {
        "name": "tiny",
        "storage": "runs",
        "tasks": {
            "mood": {
                "kind": "classification",
                "labels": ["bad", "good"],
                "encoder": {"kind": "static_text", "path": "encoder", "workers": 1},
                "domains": {
                    "reviews": {**reviews, "label": "label", "ratings": "votes"},
                    "posts": {"source": "posts.csv", "text": "text", "label": "label"},
                },
            }
        },
        "budget": {"labels": 90, "per_round": 30},
        "annotation": {"backend": "replay", "votes": 3},
        "ingest": {"rows_per_part": 20},
    }
    return {**values, **changes}


def write_campaign(folder, values, name="campaign.yaml"):
    path = folder / name
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def run_to_its_end(path):
    """Run a campaign that others will copy: once its store is closed, all of it is in one file."""
    run = Run(load_campaign(path))
    with closing(run.store):
        run_campaign(run)


def copy_campaign(folder, to):
    """Copy a campaign that was made by `run_to_its_end`, while other processes may be reading it.

    The files that SQLite keeps beside a database come and go with its readers.
    """
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*-shm", "*-wal"))


def start_umc(*arguments, **environment):
    """Start the command line in a process of its own."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "umc_ray.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": python_path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_all(processes):
    """Kill psutil processes by their ids, and wait for their end."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes)


def end(process):
    """End a process that a test has started, and all that it has started in turn."""
    if process.poll() is None:  # else its id may be another's by now
        kill_all(psutil.Process(process.pid).children(recursive=True))
        process.kill()
    process.wait()


def results(storage):
    """What people were asked and what they said, round by round."""
    if isinstance(storage, Path):
        storage = Storage(str(storage))
    keys = [
        key for key in storage.keys("rounds") if key.endswith(("batch.parquet", "labels.parquet"))
    ]
    return {key: storage.read_table(key).to_pylist() for key in keys}


def rows_in(folder):
    """All rows of the tables of a folder."""
    storage = Storage(str(folder))
    keys = [key for key in storage.keys("") if key.endswith(".parquet")]
    return [row for key in keys for row in storage.read_table(key).to_pylist()]


def live_scorer(path, task):
    """What scores samples of a task where its campaign is served."""
    from umc_ray.serving.live import LivePublication
    from umc_ray.serving.scorer import TaskScorer
    from umc_ray.serving.settings import ServingConfig

    run = Run(load_campaign(path))
    live = LivePublication(run.storage, run.config)
    live.refresh()
    return TaskScorer(run.config, task, ServingConfig(campaign=path), live)
