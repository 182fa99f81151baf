"""How fast are published datasets listed and read, beside plain files with the same rows?

    python -m benchmarks.layouts [--quick] [--check] [--repeats 3]

ImageNet: 2,000 folders of synsets with 10 small images each, recognized, listed and then read and
checked, beside the same files as a plain folder of images. GLUE: rows of MNLI as TSV, beside the
same columns as CSV. SQuAD: questions of one JSON file. One process, no Ray.
"""

import csv
import io
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.frame import Figure, Options, Report, main
from umc_ray.config.campaign import CampaignConfig
from umc_ray.ingest.layouts.registry import list_split, with_layouts
from umc_ray.ingest.sources import Listing, common_folder
from umc_ray.ingest.stage import Reader, each_checked, split_work
from umc_ray.ingest.validate import Row, Rules, check, rules_of
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

SYNSETS, EACH, PIXELS = 2000, 10, 32
PAIRS, QUESTIONS = 100_000, 50_000
KEY = DomainKey("task", "domain")

HEADER = (
    *("index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"),
    *("sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "label1", "gold_label"),
)
NAMES = ("entailment", "neutral", "contradiction")


def run(options: Options) -> Report:
    """Write the datasets, and read each several times in turns with plain files."""
    scale = 10 if options.quick else 1
    counts = {"synsets": SYNSETS, "each": max(1, EACH // scale)}
    counts |= {"pairs": PAIRS // scale, "questions": QUESTIONS // scale}
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        root = Path(folder)
        words = write_imagenet(root / "imagenet", counts["each"])
        write_mnli(root, counts["pairs"])
        write_squad(root / "train-v2.0.json", counts["questions"])
        campaigns = domains(root, words)
        for _ in range(options.repeats):
            for name, (domain, labels) in campaigns.items():
                for what, value in measure(domain, labels).items():
                    found.setdefault(f"{name}_{what}", []).append(value)
    pairs = zip(found["imagenet_rows"], found["folder_rows"], strict=True)
    found["imagenet_ratio"] = [ours / plain for ours, plain in pairs]
    pairs = zip(found["mnli_rows"], found["csv_rows"], strict=True)
    found["mnli_ratio"] = [ours / plain for ours, plain in pairs]
    return Report(counts, {name: Figure(unit(name), values) for name, values in found.items()})


def unit(name: str) -> str:
    """Return the unit of a figure."""
    units = {"rows": "rows/CPU s", "list": "s", "ratio": "x"}
    return units[name.rpartition("_")[2]]


def domains(root: Path, words: list[str]) -> dict[str, tuple[dict[str, object], list[str]]]:
    """Return a domain and the labels of its task, by name."""
    synsets = sorted(path.name for path in (root / "imagenet" / "train").iterdir())
    images = str(root / "imagenet")
    return {
        "imagenet": ({"source": {"format": "imagenet", "path": images}}, words),
        "folder": (
            {"source": {"format": "files", "path": f"{images}/train"}, "label": "folder"},
            synsets,
        ),
        "mnli": ({"source": {"format": "glue", "path": str(root / "MNLI")}}, list(NAMES)),
        "csv": (
            {
                "source": str(root / "mnli.csv"),
                "columns": ["sentence1", "sentence2"],
                "label": "gold_label",
            },
            list(NAMES),
        ),
        "squad": (
            {"source": {"format": "squad", "path": str(root / "train-v2.0.json")}, "label": None},
            list(NAMES),
        ),
    }


def measure(domain: dict[str, object], labels: list[str]) -> dict[str, float]:
    """Recognize and list a source, then read and check all its rows."""
    rules = rules_for(domain, labels)
    began = time.perf_counter()
    sources = [str(path) for path in paths(domain)]
    rules = with_layouts(rules, sources)
    listing = list_split(rules, sources, exclude="/nowhere")
    listed, cpu = time.perf_counter() - began, time.process_time()
    rows = read(rules, listing)
    return {"list": listed, "rows": rows / (time.process_time() - cpu)}


def paths(domain: dict[str, object]) -> list[object]:
    """Return the path of a domain's source."""
    source = domain["source"]
    return [source["path"] if isinstance(source, dict) else source]


def rules_for(domain: dict[str, object], labels: list[str]) -> Rules:
    """Return how a domain is read."""
    images = "imagenet" in str(domain["source"])
    encoder = {"kind": "pixels"} if images else {"kind": "static_text", "path": "none"}
    task = {"kind": "classification", "labels": labels, "encoder": encoder}
    values = {"name": "bench", "budget": {"labels": 10, "per_round": 5}}
    values["tasks"] = {"task": {**task, "domains": {"domain": domain}}}
    return rules_of(CampaignConfig.model_validate(values), KEY, "pool")


def read(rules: Rules, listing: Listing) -> int:
    """Read and check all rows; returns how many are usable."""
    reader = Reader(Storage("/nowhere"), "", common_folder(listing.files), rules)
    works = split_work([file.uri for file in listing.all], rules.are_images)
    found = (each for work in works for each in reader.find(work, Counter()))
    checked = list(each_checked(rules, lambda each: check(rules, each), found))
    usable = [row for row in checked if isinstance(row, Row)]
    if len(usable) < len(checked):
        raise ValueError(f"only {len(usable)} of {len(checked)} rows can be used")
    return len(usable)


def write_imagenet(root: Path, each: int) -> list[str]:
    """Write folders of images, and the words of their synsets; returns these."""
    rng, words = np.random.default_rng(0), []
    for number in range(SYNSETS):
        synset = f"n{number:08d}"
        folder = root / "train" / synset
        folder.mkdir(parents=True)
        words.append(f"thing number {number}, one of many")
        for i in range(each):
            pixels = rng.integers(0, 255, (PIXELS, PIXELS, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{synset}_{i}.JPEG", "JPEG")
    lines = [f"n{number:08d} {said}\n" for number, said in enumerate(words)]
    (root / "LOC_synset_mapping.txt").write_text("".join(lines), encoding="utf-8")
    return words


def write_mnli(root: Path, count: int) -> None:
    """Write the same rows as TSV, in the layout of GLUE, and as CSV."""
    rows = [
        [
            str(i),
            "1",
            "1n",
            "fiction",
            "( a b )",
            "( c )",
            "(R a)",
            "(R c)",
            f"The premise number {i} says so, at some length.",
            f"Hypothesis {i}.",
            "x",
            NAMES[i % 3],
        ]
        for i in range(count)
    ]
    (root / "MNLI").mkdir()
    lines = ["\t".join(row) for row in [list(HEADER), *rows]]
    (root / "MNLI" / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = io.StringIO()
    csv.writer(text).writerows([list(HEADER), *rows])
    (root / "mnli.csv").write_text(text.getvalue(), encoding="utf-8")


def write_squad(path: Path, count: int) -> None:
    """Write questions, five to a paragraph of 100 words."""
    articles = []
    for start in range(0, count, 5):
        words = [f"word{start + i}" for i in range(100)]
        context = " ".join(words)
        questions = [
            {
                "id": f"q{start + i}",
                "question": f"Which word is number {i} of {start}?",
                "is_impossible": False,
                "answers": [{"text": words[i], "answer_start": context.index(words[i])}],
            }
            for i in range(5)
        ]
        paragraph = {"context": context, "qas": questions}
        articles.append({"title": str(start), "paragraphs": [paragraph]})
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")


if __name__ == "__main__":
    main("layouts", __doc__, run, repeats=3)
