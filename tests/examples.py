"""Labeled samples for tests of what learns from them."""

from dataclasses import replace

from umc_ray.specialists.specialist import Examples


def relabeled(examples, kind, texts):
    """Give the examples other labels."""
    return replace(examples, texts_N=tuple(texts), targets=kind.encode(texts))


def shuffled(examples, order):
    """Put the examples into another order."""
    moved = {
        name: values[order]
        for name, values in vars(examples).items()
        if name not in ("texts_N", "features", "payloads_N", "synthetic", "groups")
    }
    texts = tuple(examples.texts_N[row] for row in order)
    features = {name: x_ND[order] for name, x_ND in examples.features.items()}
    payloads = examples.payloads_N and tuple(examples.payloads_N[row] for row in order)
    return Examples(texts_N=texts, features=features, payloads_N=payloads, **moved)
