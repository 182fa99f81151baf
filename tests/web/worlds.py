"""A handmade campaign in its second round, with texts and scans; needs no Ray and no training."""

import io

import numpy as np
import pyarrow as pa
import yaml
from sklearn.datasets import load_digits

from umc_ray.annotation.store import Answer, Payload, Question
from umc_ray.campaign.answer_store import make_store
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.demo.digits import draw_scan
from umc_ray.methods.text_pair import joined
from umc_ray.records import BATCH, LABELS, POOL, DomainKey, Part, embeddings_column
from umc_ray.tasks.registry import task_kind

TEXT, PICTURES = DomainKey("mood", "posts"), DomainKey("digits", "scans")
TOPICS = DomainKey("topics", "mail")
SIMILAR = DomainKey("similar", "headlines")  # pairs of texts, whose answers are numbers
CLASSES = {
    "mood": ["bad", "good"],
    "digits": ["zero", "one", "neither"],
    "topics": ["billing", "delivery", "praise"],
    "similar": [],
}
KINDS = {
    "mood": "classification",
    "digits": "classification",
    "topics": "multi_label",
    "similar": "regression",
}
XSS = "<script>window.hit=1</script><img src=x onerror=window.hit=1>\"'`{{7*7}} javascript:hit=1"
LABELED = 6  # samples per domain in round 1
ASKED = {TEXT: 16, PICTURES: 80, TOPICS: 12, SIMILAR: 6}  # and in round 2
FIRST_ID = {TEXT: 0, PICTURES: 1000, TOPICS: 2000, SIMILAR: 3000}
PASSWORD = "correct horse"


def write_world(folder, domain_keys=(TEXT, PICTURES), **annotation):
    """Write a campaign with a domain per task; return its run."""
    (folder / "encoder").mkdir()
    values = {
        "name": "tiny",
        "storage": "runs",
        "tasks": {domain_key.task: _task(domain_key) for domain_key in domain_keys},
        "budget": {"labels": 200, "per_round": 40},
        "annotation": {"backend": "web", **annotation},
    }
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    run = Run(load_campaign(path))
    make_store(run.config).close()
    for domain_key in domain_keys:
        _write_pool(run, domain_key)
    for number in (1, 2):
        table = pa.Table.from_pylist(batch(number, domain_keys), schema=BATCH)
        run.storage.write_table(f"rounds/{number:04d}/batch.parquet", table)
    run.storage.write_table("rounds/0001/labels.parquet", _labels(domain_keys))
    run.store.submit([question(row, 1) for row in batch(1, domain_keys)])
    run.store.close_round("tiny", 1)
    return run


def _task(domain_key):
    is_text = domain_key != PICTURES
    text = {"kind": "static_text", "path": "encoder"}
    is_pair = domain_key == SIMILAR
    named = {"text": ["first", "second"] if is_pair else "text"} if is_text else {}
    return {
        **({"range": [0, 5]} if is_pair else {}),
        "kind": KINDS[domain_key.task],
        "labels": CLASSES[domain_key.task],
        "encoder": text if is_text else {"kind": "pixels", "image_px": 8},
        "domains": {domain_key.domain: {"source": "x.csv", **named}},
    }


def ask(run, votes=1):
    """Submit the questions of the second round."""
    run.store.submit([question(row, 2, votes) for row in batch(2, run.config.domains())])
    return run


def ids(domain_key, number):
    """Return ids that exceed the precision of JavaScript numbers."""
    first = 2**60 + FIRST_ID[domain_key] + (100 if number == 2 else 0)
    return list(range(first, first + (ASKED[domain_key] if number == 2 else LABELED)))


def predicted(domain_key, i):
    """Return the prediction, and true answer, of the i-th sample of a round."""
    labels = CLASSES[domain_key.task]
    if domain_key == SIMILAR:
        return str(i % 6)
    kind = task_kind(KINDS[domain_key.task], tuple(labels))
    return kind.parse(labels[1 : 1 + i % 3] if domain_key == TOPICS else labels[i % 2])


def embedding(domain_key, i, sample_id):
    rng = np.random.default_rng(sample_id)
    middle = np.eye(4)[i % 2 + 2 * (domain_key == PICTURES)]
    return middle + 0.05 * rng.normal(size=4)


def batch(number, domain_keys):
    rows = []
    for domain_key in domain_keys:
        for i, sample_id in enumerate(ids(domain_key, number)):
            rows.append(
                {
                    "task": domain_key.task,
                    "domain": domain_key.domain,
                    "part": "part-00000",
                    "row": i + (LABELED if number == 2 else 0),
                    "sample_id": sample_id,
                    "acquisition": 0.5,
                    "audit": i == ASKED[domain_key] - 1,
                    "predicted": predicted(domain_key, i),
                    "confidence": 0.75,
                    "why": f"why {i}: {XSS}" if i == 1 else "bad and good are 4 points apart",
                }
            )
    return rows


def question(row, number, votes=1):
    labels, predicted = CLASSES[row["task"]], row["predicted"]
    rest = 0.25 / max(1, len(labels) - 1)
    shares = {label: 0.75 if label in predicted.split(" | ") else rest for label in labels}
    payload = Payload(
        predicted=predicted,
        confidence=0.75,
        probabilities=shares,
        specialists={row["domain"]: (predicted, 0.8), "generalist": ((labels or ["2"])[0], 0.6)},
        score=1.1,
        margin=0.5,
        disagreement=0.12,
        rank=3,
        ranked=ASKED[DomainKey(row["task"], row["domain"])] - 1,
    )
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
    """Yield scans of handwritten digits as PNG, alternating zeros and ones."""
    digits = load_digits()
    for pair in zip(*(digits.data[digits.target == digit] for digit in (0, 1)), strict=False):
        for inks in pair:
            out = io.BytesIO()
            draw_scan(inks.astype(int).tolist()).save(out, "PNG")
            yield out.getvalue()


def _write_pool(run, domain_key):
    storage = run.storage
    rows, images = [], scans()
    for i, sample_id in enumerate(ids(domain_key, 1) + ids(domain_key, 2)):
        text = f"{XSS} {i}" if i % 5 == 1 else f"The service was {'fine' if i % 2 else 'slow'}, {i}"
        if domain_key == SIMILAR:
            text = joined([text, f"What was <b>said</b> of it, {i}"])
        image = next(images) if domain_key == PICTURES else None
        row = {"sample_id": sample_id, "key": f"k{i}", "source": "x", "aliases": []}
        rows.append({**row, "text": None if image else text, "image": image})
    part = Part("pool", domain_key, "part-00000", len(rows))
    storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
    counts = dict.fromkeys(("duplicates", "conflicts", "leaks", "bad", "labeled"), 0)
    embeddings = [
        embedding(domain_key, i, sample_id)
        for number in (1, 2)
        for i, sample_id in enumerate(ids(domain_key, number))
    ]
    features = {"embedding": embeddings_column(np.array(embeddings, np.float16))}
    table = run.selection_features[domain_key.task]
    storage.write_table(part.key(table), pa.table(features))
    content = {"parts": [[part.name, part.rows]], "rows": len(rows), "fingerprint": "x"}
    manifest = {**content, **counts, "reasons": {}, "sources": {}}
    storage.write_json(f"pool/pool/{domain_key}/manifest.json", manifest)


def _labels(domain_keys):
    rows = [
        {
            **{name: row[name] for name in ("task", "domain", "part", "row", "sample_id")},
            "label": row["predicted"],
            "votes": 1,
            "agreement": 1.0,
            "round": 1,
            "cost": 1.0,
        }
        for row in batch(1, domain_keys)
    ]
    return pa.Table.from_pylist(rows, schema=LABELS)
