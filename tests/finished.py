"""A tiny run directory, written without Ray: two tasks, three domains, three rounds."""

import io
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from umc_ray.annotation.people import PersonWork, Ratio
from umc_ray.annotation.times import AnswerTime
from umc_ray.campaign.documents import Allocation, Audit, DomainBudget, Training
from umc_ray.campaign.evaluation import summary, test_metrics
from umc_ray.campaign.frozen import FORMAT
from umc_ray.campaign.run import Run
from umc_ray.config.campaign import CampaignConfig
from umc_ray.methods.bandit import ArmContext
from umc_ray.methods.intervals import wilson_interval
from umc_ray.passes.score import score_schema
from umc_ray.records import (
    BATCH,
    LABELS,
    ORACLE,
    POOL,
    QUARANTINE,
    RANDOM_ORDERS,
    DomainKey,
    Part,
    embeddings_column,
)
from umc_ray.selection.labeled import PLACE, labels_so_far
from umc_ray.selection.random_orders import random_orders_key
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate

ATTACK = "<script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>"
ENCODERS = {"text": {"kind": "static_text", "path": "weights"}, "image": {"kind": "pixels"}}
ROWS, PER_PART, TEST_ROWS, PER_ROUND = 12, 6, 10, 2
TASKS = {"mood": (["shop", "posts"], ["bad", "good"]), "shapes": (["scans"], ["$x^$", "1", "二"])}


def config_of(storage: str, name: str, tests: bool, tasks: tuple[str, ...]) -> CampaignConfig:
    def task(key: str) -> dict[str, Any]:
        domains, labels = TASKS[key]
        column = "text" if key == "mood" else "image"
        test = {"test": "held_out.parquet"} if tests else {}
        return {
            "kind": "classification",
            "input": column,
            "labels": labels,
            "encoder": ENCODERS[column],
            "domains": {
                domain: {
                    "source": f"{domain}.parquet",
                    column: column,
                    "label": "label",
                    "cost_per_label": 1.5,
                    **test,
                }
                for domain in domains
            },
        }

    return CampaignConfig.model_validate(
        {
            "name": name,
            "storage": storage,
            "tasks": {key: task(key) for key in tasks},
            "budget": {"labels": 18, "per_round": 6, "audit": 0.5},
            "annotation": {"backend": "replay", "database": "postgresql://ann:secret@db/labels"},
        }
    )


@dataclass
class Builder:
    """Writes the files that the stages of a run would write."""

    run: Run
    rounds: int
    skill: float  # accuracy on a test after the last round

    @property
    def storage(self) -> Storage:
        return self.run.storage

    @property
    def domain_keys(self) -> list[DomainKey]:
        return list(self.run.config.domains())

    def build(self) -> Run:
        encoders = {
            f"tasks.{name}.encoders.{task.default_encoder}": f"hash-of-{name}"
            for name, task in self.run.config.tasks.items()
        }
        self.storage.write_json("campaign.json", {"format": FORMAT, **encoders})
        for index, domain_key in enumerate(self.domain_keys):
            self.ingest(domain_key, "pool", ROWS, start=1000 * index)
            if self.run.config.domains()[domain_key].test is not None:
                self.ingest(domain_key, "test", TEST_ROWS, start=1000 * index + 500)
            self.draw(domain_key, start=1000 * index)
        for number in range(1, self.rounds + 1):
            self.round(number)
        self.storage.append_line("events.jsonl", '{"stage": "torn')
        return self.run

    def ingest(self, domain_key: DomainKey, split: str, rows: int, start: int) -> None:
        ids = np.arange(start, start + rows)
        classes = self.run.kinds[domain_key.task].labels
        manifest = {
            "parts": [[f"part-{p}", PER_PART] for p in range(rows // PER_PART)],
            "rows": rows,
            "duplicates": 3,
            "conflicts": 1,
            "leaks": 2,
            "bad": 0,
            "reasons": {},
            "labeled": rows,
            "sources": {"a.parquet": 1},
            "fingerprint": f"{domain_key}-{split}",
        }
        if split == "test":
            manifest["parts"] = [["part-0", rows]]
        elif domain_key.domain == "shop":
            manifest |= {"bad": 4, "reasons": {"no text": 3, f"label {ATTACK}": 1}}
            bad = {"source": ["a"], "row": ["7"], "reason": [f"label {ATTACK}"]}
            self.storage.write_table(
                f"quarantine/pool/{domain_key}/part-0.parquet", pa.table(bad, QUARANTINE)
            )
        self.storage.write_json(f"pool/{split}/{domain_key}/manifest.json", manifest)
        for name, size in manifest["parts"]:
            part = Part(split, domain_key, name, size)
            part_ids, ids = ids[:size], ids[size:]
            self.storage.write_table(part.key("pool"), self.pool_rows(domain_key, part_ids))
            features = {
                "sample_id": part_ids,
                "embedding": embeddings_column(embeddings(part_ids)),
            }
            self.storage.write_table(
                part.key(f"features/hash-of-{domain_key.task}"), pa.table(features)
            )
            labels = [classes[i % len(classes)] for i in part_ids]
            oracle = {"sample_id": part_ids, "label": labels, "ratings": [None] * size}
            self.storage.write_table(part.key("oracle"), pa.table(oracle, ORACLE))

    def pool_rows(self, domain_key: DomainKey, ids: np.ndarray) -> pa.Table:
        is_text = domain_key.task == "mood"
        n = len(ids)
        columns = {
            "sample_id": ids,
            "key": [f"key-{i}" for i in ids],
            "source": ["a.parquet"] * n,
            "text": [f"{ATTACK} number {i} {'long ' * 200}" if is_text else None for i in ids],
            "image": [None if is_text else png(int(i)) for i in ids],
            "aliases": [[]] * n,
        }
        return pa.table(columns, POOL)

    def draw(self, domain_key: DomainKey, start: int) -> None:
        """Write the audit order: rows 0, 2, 4, 3, 1, then the others in order."""
        order = [0, 2, 4, 3, 1, *range(5, ROWS)]
        columns = {
            "purpose": ["audit"] * ROWS,
            "part": [f"part-{row // PER_PART}" for row in order],
            "row": [row % PER_PART for row in order],
            "sample_id": [start + row for row in order],
        }
        self.storage.write_table(
            random_orders_key(domain_key, 2000), pa.table(columns, RANDOM_ORDERS)
        )

    def round(self, number: int) -> None:
        folder = f"rounds/{number:04d}"
        names = [str(domain_key) for domain_key in self.domain_keys]
        context = {name: ArmContext(name, None, ROWS, ROWS, 1.0, None) for name in names}
        plan = {name: DomainBudget(PER_ROUND, 1, context[name]) for name in names}
        self.storage.write_record(f"{folder}/allocation.json", Allocation(plan))
        batch = pa.concat_tables(
            [self.batch(domain_key, number) for domain_key in self.domain_keys]
        )
        self.storage.write_table(f"{folder}/batch.parquet", batch)
        self.storage.write_table(f"{folder}/labels.parquet", self.labels(batch, number))
        for part in self.run.parts:
            scores = self.scores(part, number)
            self.storage.write_table(part.key(f"{folder}/scores"), scores)
        ensembles = {
            name: EnsembleRef(f"models/{name}/{number:04d}", ("all",), f"{name}-{number}")
            for name in self.run.config.tasks
        }
        low_high = wilson_interval(number, number)
        audits = {name: Audit(number, Estimate(1.0, *low_high)) for name in names}
        training = Training(0, ensembles, {}, audits, {}, {})
        self.storage.write_record(f"{folder}/training.json", training)
        tests = [part for part in self.run.parts if part.split == "test"]
        folders = [f"rounds/{each:04d}" for each in range(1, number + 1)]
        metrics = summary(
            labels_so_far(self.storage, folders),
            self.domain_keys,
            {},
            audits,
            test_metrics(self.storage, folder, tests, self.run.kinds),
            {},
        )
        metrics = replace(
            metrics,
            times={names[0]: AnswerTime(10, 4.25, 1.25)},
            people={ATTACK: PersonWork(9, 1, 4.25, Ratio(6.5, 8), 13.5)},
        )
        self.storage.write_record(f"{folder}/metrics.json", metrics)
        self.storage.write_json(f"{folder}/bandit.json", {})
        event = {"stage": f"{folder}/scores", "seconds": 1.25, "rows": 36}
        self.storage.append_line("events.jsonl", json.dumps(event))

    def batch(self, domain_key: DomainKey, number: int) -> pa.Table:
        """Return one audit and one selected sample: rows 0 and 3, then 2 and 1, then 4 and 7."""
        rows = [[0, 3], [2, 1], [4, 7]][number - 1]
        ids = np.array(rows) + 1000 * self.domain_keys.index(domain_key)
        labels = self.run.kinds[domain_key.task].labels
        columns = {
            "task": [domain_key.task] * 2,
            "domain": [domain_key.domain] * 2,
            "part": [f"part-{row // PER_PART}" for row in rows],
            "row": [row % PER_PART for row in rows],
            "sample_id": ids,
            "acquisition": [0.0, 0.5],
            "audit": [True, False],
            "predicted": [None, None] if number == 1 else [labels[0], labels[1]],
            "confidence": [0.0, 0.0] if number == 1 else [0.7, 0.6],
            "why": ["drawn at random", "because it is hard"],
        }
        return pa.table(columns, BATCH)

    def labels(self, batch: pa.Table, number: int) -> pa.Table:
        """Label all samples but 1002, the audit of round 2 in posts, which nobody could label."""
        rows = [row for row in batch.to_pylist() if row["sample_id"] != 1002]
        columns = {
            **{name: [row[name] for row in rows] for name in PLACE},
            "label": [self.label(row["task"], row["sample_id"]) for row in rows],
            "votes": [3] * len(rows),
            "agreement": [2 / 3] * len(rows),
            "round": [number] * len(rows),
            "cost": [1.5] * len(rows),
            "tied": [False] * len(rows),
        }
        return pa.table(columns, LABELS)

    def label(self, task: str, sample_id: int) -> str:
        labels = self.run.kinds[task].labels
        return labels[sample_id % len(labels)]

    def scores(self, part: Part, number: int) -> pa.Table:
        """Predict the first samples of a part correctly, more of them in later rounds."""
        oracle = self.storage.read_table(part.key("oracle"))
        kind = self.run.kinds[part.domain_key.task]
        classes, schema = kind.labels, score_schema(kind)
        right = round(part.rows * self.skill * (number + 2) / 5)
        truth = [classes.index(label) for label in oracle["label"].to_pylist()]
        first = [t if i < right else (t + 1) % len(classes) for i, t in enumerate(truth)]
        columns = {name: np.linspace(0.1, 0.9, part.rows) for name in schema.names}
        columns |= {
            "sample_id": oracle["sample_id"],
            "label_1": first,
            "label_2": [(each + 1) % len(classes) for each in first],
            "prob_1": np.linspace(0.5, 0.9, part.rows),
        }
        arrays = [pa.array(columns[name], schema.field(name).type) for name in schema.names]
        return pa.Table.from_arrays(arrays, schema=schema)


def embeddings(ids: np.ndarray) -> np.ndarray:
    return np.stack([np.random.default_rng(i).normal(size=4) for i in ids]).astype(np.float16)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), shade % 256).save(buffer, "PNG")
    return buffer.getvalue()


def build_run(
    storage: str,
    name: str = "demo",
    *,
    rounds: int = 3,
    skill: float = 0.9,
    tests: bool = True,
    tasks: tuple[str, ...] = ("mood", "shapes"),
) -> Run:
    return Builder(Run(config_of(storage, name, tests, tasks)), rounds, skill).build()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with tests; tests may only add reports and releases."""
    return build_run(str(tmp_path_factory.mktemp("runs")))
