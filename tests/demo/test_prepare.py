import hashlib
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors import safe_open

from umc_ray.demo import digits, sentiment
from umc_ray.demo.fetch import Wheel, cache_dir, fetch
from umc_ray.demo.prepare import Task, prepare, prepare_task
from umc_ray.demo.split import Row
from umc_ray.errors import DataError

SCHEMA = pa.schema({"key": pa.string(), "label": pa.string()})


def task_on(cache: Path, lines: str) -> Task:
    """A task whose wheel is in the cache and holds one file of `key,label` lines."""
    path = cache / "wheels" / "tiny-1.0.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lines", lines)
    wheel = Wheel("tiny", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())
    return Task(wheel, ("one", "two"), SCHEMA, read_lines, lambda row: row["key"].lower())


def read_lines(wheel: Path, domain: str) -> list[Row]:
    lines = zipfile.ZipFile(wheel).read("lines").decode().split()
    if domain == "two" and "bad,x" in lines:
        raise DataError("a bad line")
    return [dict(zip(("key", "label"), line.split(","), strict=True)) for line in lines]


def read_both(folder: Path, domain: str) -> tuple[pa.Table, pa.Table]:
    pool, test = folder / f"{domain}.parquet", folder / "test" / f"{domain}.parquet"
    return pq.read_table(pool), pq.read_table(test)


def test_a_duplicate_is_in_neither_part_twice(tmp_path: Path) -> None:
    lines = " ".join(f"k{number},{'xy'[number % 2]} K{number},y" for number in range(40))
    folder = prepare_task(task_on(tmp_path, lines), tmp_path / "tiny", tmp_path)
    for domain in ("one", "two"):
        pool, test = read_both(folder, domain)
        assert pool.schema == test.schema == SCHEMA
        keys = pool["key"].to_pylist() + test["key"].to_pylist()
        assert sorted(keys) == sorted(f"k{number}" for number in range(40))
        assert sorted(test["label"].to_pylist()) == ["x"] * 5 + ["y"] * 5


def test_a_task_that_fails_in_its_second_domain_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "tiny"
    with pytest.raises(DataError, match="a bad line"):
        prepare_task(task_on(tmp_path, "k1,x bad,x"), folder, tmp_path)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.network
def test_the_real_texts_are_the_known_ones_and_none_is_in_two_places() -> None:
    cache = cache_dir()
    folder = prepare(cache).sentiment
    expected = {
        # domain: rows read, unique, held out, fewest ratings of a text
        "amazon": (2943, 2935, 733, 20),
        "movies": (10043, 10041, 999, 15),
        "news": (2788, 2751, 687, 20),
        "tweets": (3362, 3302, 825, 20),
    }
    for domain, counts in expected.items():
        rows = sentiment.read_domain(fetch(sentiment.WHEEL, cache), domain)
        pool, test = read_both(folder, domain)
        assert pool.schema == test.schema == sentiment.SCHEMA
        both = pool.to_pylist() + test.to_pylist()
        fewest = min(len(row["ratings"]) for row in both)
        assert (len(rows), len(both), len(test), fewest) == counts
        assert len({sentiment.content(row) for row in both}) == len(both)
        for row in both:
            assert (sum(row["ratings"]) > 0) == (row["label"] == "positive")


@pytest.mark.network
def test_the_real_digits_are_the_known_ones_and_decode() -> None:
    folder = prepare().digits
    for domain, rows, held_out in (("scans", 5620, 996), ("strokes", 10992, 993)):
        pool, test = read_both(folder, domain)
        assert pool.schema == test.schema == digits.SCHEMA
        assert (len(pool) + len(test), len(test)) == (rows, held_out)
        images = pool["image"].to_pylist() + test["image"].to_pylist()
        assert len(set(images)) == rows
        assert set(test["label"].to_pylist()) == set(digits.LABELS)
        for png in images[::500]:
            assert Image.open(io.BytesIO(png)).size == (digits.SIDE, digits.SIDE)


@pytest.mark.network
def test_the_weights_are_in_place() -> None:
    paths = prepare()
    for folder, tensor, shape in (
        (paths.wordllama, "embedding.weight", [32000, 256]),
        (paths.minilm, "embeddings.word_embeddings.weight", [30522, 384]),
    ):
        assert (folder / "tokenizer.json").stat().st_size > 100_000
        with safe_open(folder / "model.safetensors", framework="numpy") as weights:
            assert weights.get_slice(tensor).get_shape() == shape
    assert (paths.minilm / "config.json").exists()
