"""A campaign in its second round, made by hand: texts and scans, without Ray and training."""

import io

import numpy as np
import pyarrow as pa
import yaml
from sklearn.datasets import load_digits

from umc_ray.annotation.store import Answer, Question
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.demo.digits import draw_scan
from umc_ray.records import BATCH, LABELS, POOL, DomainKey, Part

TEXT, PICTURES = DomainKey("mood", "posts"), DomainKey("digits", "scans")
CLASSES = {"mood": ["bad", "good"], "digits": ["zero", "one", "neither"]}
XSS = "<script>window.hit=1</script><img src=x onerror=window.hit=1>\"'`{{7*7}} javascript:hit=1"
LABELED, ASKED = 6, {TEXT: 16, PICTURES: 80}  # samples of a domain: in the first round, and now
PASSWORD = "correct horse"


def write_world(folder, **annotation):
    """Write a campaign that asks about texts and images; returns its run."""
    task = {"encoder": {"kind": "pixels", "image_px": 8}}
    values = {
        "name": "tiny",
        "storage": "runs",
        "tasks": {
            "mood": {
                **task,
                "kind": "classification",
                "labels": CLASSES["mood"],
                "domains": {"posts": {"source": "posts.csv", "text": "text"}},
            },
            "digits": {
                **task,
                "kind": "classification",
                "labels": CLASSES["digits"],
                "domains": {"scans": {"source": "scans"}},
            },
        },
        "budget": {"labels": 200, "per_round": 40},
        "annotation": {"backend": "web", **annotation},
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(values))
    run = Run(load_campaign(path))
    for domain_key in (TEXT, PICTURES):
        _write_pool(run.storage, domain_key)
    for number in (1, 2):
        run.storage.write_table(f"rounds/{number:04d}/batch.parquet", batch(number))
    run.storage.write_table("rounds/0001/labels.parquet", _labels())
    run.store.submit([question(row, 1) for row in batch(1).to_pylist()])
    run.store.close_round("tiny", 1)
    return run


def ask(run, votes=1):
    """Ask the second round."""
    run.store.submit([question(row, 2, votes) for row in batch(2).to_pylist()])
    return run


def ids(domain_key, number):
    """Return ids too large for JavaScript's numbers."""
    first = 2**60 + (1000 if domain_key == PICTURES else 0) + (100 if number == 2 else 0)
    return list(range(first, first + (ASKED[domain_key] if number == 2 else LABELED)))


def batch(number):
    rows = []
    for domain_key in (TEXT, PICTURES):
        for i, sample_id in enumerate(ids(domain_key, number)):
            rng = np.random.default_rng(sample_id)
            middle = np.eye(4)[i % 2 + 2 * (domain_key == PICTURES)]
            embedding = (middle + 0.05 * rng.normal(size=4)).astype(np.float16).tobytes()
            rows.append(
                {
                    "task": domain_key.task,
                    "domain": domain_key.domain,
                    "part": "part-00000",
                    "row": i + (LABELED if number == 2 else 0),
                    "sample_id": sample_id,
                    "acquisition": 0.5,
                    "audit": i == ASKED[domain_key] - 1,
                    "embedding": embedding,
                    "predicted": i % 2,
                    "confidence": 0.75,
                    "why": f"why {i}: {XSS}" if i == 1 else "bad and good are 4 points apart",
                }
            )
    return pa.Table.from_pylist(rows, schema=BATCH)


def question(row, number, votes=1):
    labels = CLASSES[row["task"]]
    rest = 0.25 / (len(labels) - 1)
    predicted = labels[row["predicted"]]
    shares = {label: 0.75 if label == predicted else rest for label in labels}
    payload = {
        "predicted": predicted,
        "confidence": 0.75,
        "probabilities": shares,
        "specialists": {row["domain"]: [predicted, 0.8], "generalist": [labels[0], 0.6]},
        "score": 1.1,
        "margin": 0.5,
        "disagreement": 0.12,
        "rank": 3,
        "ranked": ASKED[DomainKey(row["task"], row["domain"])] - 1,
    }
    return Question(
        campaign="tiny",
        round=number,
        task=row["task"],
        domain=row["domain"],
        sample_id=row["sample_id"],
        votes=votes,
        priority=-float(row["sample_id"] % 1000),
        why=row["why"],
        payload=payload,
        hide_prediction=row["audit"],
    )


def answer(sample_id, annotator, label, domain_key=TEXT, number=2, **values):
    return Answer(
        "tiny", *(domain_key.task, domain_key.domain, sample_id), annotator, label, number, **values
    )


def scans():
    """Return real scans of handwritten zeros and ones in turn, as PNG."""
    digits = load_digits()
    for pair in zip(*(digits.data[digits.target == digit] for digit in (0, 1)), strict=False):
        for inks in pair:
            out = io.BytesIO()
            draw_scan(inks.astype(int).tolist()).save(out, "PNG")
            yield out.getvalue()


def _write_pool(storage, domain_key):
    rows, images = [], scans()
    for i, sample_id in enumerate(ids(domain_key, 1) + ids(domain_key, 2)):
        text = f"{XSS} {i}" if i % 5 == 1 else f"The service was {'fine' if i % 2 else 'slow'}, {i}"
        image = next(images) if domain_key == PICTURES else None
        row = {"sample_id": sample_id, "key": f"k{i}", "source": "x", "aliases": []}
        rows.append({**row, "text": None if image else text, "image": image})
    part = Part("pool", domain_key, "part-00000", len(rows))
    storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    counts = dict.fromkeys(("duplicates", "conflicts", "leaks", "bad", "labeled"), 0)
    found = {"parts": [[part.name, part.rows]], "rows": len(rows), "fingerprint": "x"}
    manifest = {**found, **counts, "reasons": {}, "sources": {}}
    storage.write_json(f"pool/pool/{domain_key}/manifest.json", manifest)


def _labels():
    rows = [
        {
            "task": row["task"],
            "domain": row["domain"],
            "sample_id": row["sample_id"],
            "label": row["predicted"],
            "votes": 1,
            "agreement": 1.0,
            "round": 1,
            "cost": 1.0,
        }
        for row in batch(1).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=LABELS)
