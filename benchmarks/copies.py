"""Which synthetic samples that copy a real one does the guard find, and how many others?

    python -m benchmarks.copies [--quick] [--check]

Real images and texts, of which some are held out. Copies of the others are changed a little and
then judged as synthetic samples are: by embeddings and by thumbnails or letters. `false` is the
share of held-out samples that are taken for copies. A shift by a pixel, or a text of which every
fourth word is another, is a copy that the guard need not find: it shows where the guard ends.

Suffixes: N samples.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import (
    Labeled,
    documents,
    drawings,
    garments,
    questions,
    silhouettes,
    word_encoder,
)
from umc_ray.config.encoder import EncoderConfig
from umc_ray.diversity.filters import Spaces
from umc_ray.diversity.generators.generator import Payload
from umc_ray.encoders.registry import load_encoder
from umc_ray.methods.memorization import MemorizationGuard
from umc_ray.passes.encode import encode_rows

REAL, HELD_OUT, COPIES = 2000, 1000, 500

Change = Callable[[Payload, np.random.Generator], Payload]


def run(options: Options) -> Report:
    """Run on all sets; `repeats` is the number of seeds."""
    sets = dict(list(SETS.items())[:1]) if options.quick else SETS
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sets}
    for name, read in sets.items():
        rows = list(dict.fromkeys(payload for payload, _ in read()))
        for seed in range(options.repeats):
            for change, share in judge_copies(rows, seed).items():
                found[name].setdefault(change, []).append(share)
    return Report(
        {"real": REAL, "held out": HELD_OUT, "copies": COPIES, "seeds": options.repeats},
        figures(found),
        tables=[table(found)],
    )


def judge_copies(rows: Sequence[Payload], seed: int) -> dict[str, float]:
    """Return the share taken for copies, by what was changed."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    real = [rows[row] for row in order[:REAL]]
    held_out = [rows[row] for row in order[REAL : REAL + HELD_OUT]]
    guard = MemorizationGuard.fit(spaces(real).x_SND)

    def share(payloads: Sequence[Payload]) -> float:
        return float((guard.copy_ratio(spaces(payloads).x_SND) < 1).mean())

    changes = IMAGE_CHANGES if isinstance(rows[0], bytes) else TEXT_CHANGES
    copies = {
        name: [change(each, rng) for each in real[:COPIES]] for name, change in changes.items()
    }
    return {"false": share(held_out)} | {name: share(made) for name, made in copies.items()}


def spaces(payloads: Sequence[Payload]) -> Spaces:
    """Embed samples as a campaign would without a pretrained network."""
    is_image = isinstance(payloads[0], bytes)
    config = EncoderConfig(kind="gradients") if is_image else word_encoder()
    return Spaces.of(payloads, encode_rows(load_encoder(config), payloads, 64)[0])


def _on_pixels(change: Callable[[Image.Image, np.random.Generator], Image.Image]) -> Change:
    def changed(payload: Payload, rng: np.random.Generator) -> Payload:
        assert isinstance(payload, bytes)
        sink = io.BytesIO()
        change(Image.open(io.BytesIO(payload)).convert("L"), rng).save(sink, "PNG")
        return sink.getvalue()

    return changed


def _noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels_HW = np.asarray(image, np.float32) + rng.normal(0, 0.05 * 255, image.size[::-1])
    return Image.fromarray(np.clip(pixels_HW, 0, 255).astype(np.uint8))


def _blurred(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1))


def _paler(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(0.7)


def _shifted(image: Image.Image, _: np.random.Generator) -> Image.Image:
    border = int(np.median(np.asarray(image)[0]))
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, 1, 0, 1, 0), fillcolor=border)


def _with_other_words(every: int) -> Change:
    def changed(payload: Payload, rng: np.random.Generator) -> Payload:
        assert isinstance(payload, str)
        words = payload.split()
        for place in range(int(rng.integers(every)), len(words), every):
            words[place] = words[int(rng.integers(len(words)))]
        return " ".join(words)

    return changed


def _without_last_word(payload: Payload, _: np.random.Generator) -> Payload:
    assert isinstance(payload, str)
    return payload.rpartition(" ")[0] or payload


def _unchanged(payload: Payload, _: np.random.Generator) -> Payload:
    return payload


IMAGE_CHANGES: dict[str, Change] = {
    "exact": _unchanged,
    "noise": _on_pixels(_noisy),
    "blur": _on_pixels(_blurred),
    "contrast": _on_pixels(_paler),
    "shift": _on_pixels(_shifted),
}
TEXT_CHANGES: dict[str, Change] = {
    "exact": _unchanged,
    "last word cut": _without_last_word,
    "every 8th word": _with_other_words(8),
    "every 4th word": _with_other_words(4),
}
SETS: dict[str, Callable[[], list[Labeled]]] = {
    "digits/scans": lambda: drawings("scans"),
    "garments/fashion": garments,
    "shapes/animals": silhouettes,
    "questions/trec": questions,
    "topics/newsgroups": lambda: documents("20newsgroups-train"),
}


def figures(found: dict[str, dict[str, list[float]]]) -> dict[str, Figure]:
    """Return the worst set of each change, by seed."""
    out = {}
    for name in ("false", *IMAGE_CHANGES, *list(TEXT_CHANGES)[1:]):
        by_set = [shares[name] for shares in found.values() if name in shares]
        if by_set:
            worst = max if name == "false" else min
            values = [worst(each) for each in zip(*by_set, strict=True)]
            out[name.replace(" ", "_")] = Figure("share, worst set", values)
    return out


def table(found: dict[str, dict[str, list[float]]]) -> Table:
    """Return the shares by set, as means over the seeds."""
    shown = Table("set", "taken for copies", title="by set, means over the seeds")
    for name, shares in found.items():
        cells = ", ".join(f"{change} {np.mean(each):.3f}" for change, each in shares.items())
        shown.add_row(name, cells)
    return shown


if __name__ == "__main__":
    main("copies", __doc__, run, repeats=3)
