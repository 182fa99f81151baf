"""Real digits with planted lacks: what the campaign of `umc demo --diversity` has to find.

Images and digits are real. Planted is which of them the pool has, and which of these have a label
from the start: a turned scan, or a stroke of the digit FEW, hardly ever has. The tests have as many
turned scans as the pool, and as many strokes of each digit as the source.

    <folder>/<domain>.parquet        key, image, style, label; null: people have to be asked
    <folder>/test/<domain>.parquet   the same, with all labels
    <folder>/blends.parquet          image, label: made by `blend`, of labeled strokes alone
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from umc_ray.demo import digits
from umc_ray.demo.split import Row

POOL = 4000
"""Samples of a domain's pool."""

GIVEN, GIVEN_LACKING = 200, 4
"""Labels of a domain from the start, and how many of these are of what it lacks."""

TURNED, UPRIGHT = "turned", "upright"
TURNED_SHARE = 0.2  # of the scans
FEW = "9"
FEW_SHARE = 0.01  # of the pool; a tenth of all strokes
MIXES = (0.35, 0.65)
BLENDS = "blends.parquet"

Lacks = Callable[["Drawing"], bool]
"""Whether a sample is of what hardly has labels."""


@dataclass(frozen=True)
class Drawing:
    """A real image of a digit; the style is planted."""

    key: str
    image: bytes
    label: str
    style: str = UPRIGHT


def plant(folder: Path, source: Path, wheel: Path) -> dict[str, list[Drawing]]:
    """Write pools, tests and blends; returns all real samples of each domain but its tests.

    Args:
        folder: for what is written.
        source: of the demo's digits, as `prepare_task` writes them.
        wheel: that has the pen's positions.
    """
    rng = np.random.default_rng(0)
    scans, strokes = (_read(source / f"{domain}.parquet", rng) for domain in digits.SOURCES)
    scans = turn_some(scans, rng)
    few = [each for each in strokes if each.label == FEW][: round(FEW_SHARE * POOL)]
    others = [each for each in strokes if each.label != FEW][: POOL - len(few)]
    pool = [[*few, *others][row] for row in rng.permutation(POOL)]
    given = _given(pool, lambda each: each.label == FEW)
    _write(folder / "scans.parquet", scans[:POOL], _given(scans[:POOL], _is_turned))
    _write(folder / "strokes.parquet", pool, given)
    for domain in digits.SOURCES:
        tests = _read(source / "test" / f"{domain}.parquet", rng)
        tests = turn_some(tests, rng) if domain == "scans" else tests
        _write(folder / "test" / f"{domain}.parquet", tests, {each.key for each in tests})
    positions = digits.read_numbers(wheel, "strokes")
    of_few = [positions[each.key] for each in few if each.key in given]
    images = [digits.png(digits.draw_strokes(each)) for each in blend(of_few)]
    pq.write_table(pa.table({"image": images, "label": [FEW] * len(images)}), folder / BLENDS)
    return {"scans": scans, "strokes": strokes}


def turn_some(drawings: Sequence[Drawing], rng: np.random.Generator) -> list[Drawing]:
    """Turn a share of some images by 90 degrees to the left."""
    turned_N = rng.random(len(drawings)) < TURNED_SHARE
    return [turned(each) if turn else each for each, turn in zip(drawings, turned_N, strict=True)]


def blend(positions: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Draw between each two ways in which a pen went: closer to the one, closer to the other."""
    for one, other in combinations(positions, 2):
        for mix in MIXES:
            mixed = mix * np.asarray(one) + (1 - mix) * np.asarray(other)
            yield mixed.round().astype(int).tolist()


def turned(drawing: Drawing) -> Drawing:
    """Turn an image by 90 degrees to the left."""
    image = Image.open(io.BytesIO(drawing.image)).transpose(Image.Transpose.ROTATE_90)
    return replace(drawing, image=digits.png(image), style=TURNED)


def _is_turned(drawing: Drawing) -> bool:
    return drawing.style == TURNED


def _given(drawings: Sequence[Drawing], lacks: Lacks) -> set[str]:
    """Return the keys of the samples that have a label from the start."""
    lacking = [each.key for each in drawings if lacks(each)]
    others = [each.key for each in drawings if not lacks(each)]
    return {*lacking[:GIVEN_LACKING], *others[: GIVEN - GIVEN_LACKING]}


def _read(path: Path, rng: np.random.Generator) -> list[Drawing]:
    """Read samples in a random order."""
    rows: list[Row] = pq.read_table(path).to_pylist()
    drawings = [Drawing(row["key"], row["image"], row["label"]) for row in rows]
    return [drawings[row] for row in rng.permutation(len(drawings))]


def _write(path: Path, drawings: Sequence[Drawing], given: set[str]) -> None:
    columns: Mapping[str, Sequence[object]] = {
        "key": [each.key for each in drawings],
        "image": [each.image for each in drawings],
        "style": [each.style for each in drawings],
        "label": [each.label if each.key in given else None for each in drawings],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
