"""What was written for the nearest labeled samples. Axes as in the module."""

import numpy as np
import pytest
import torch

from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.text_lists import texts_of, unpack
from umc_ray.specialists.memory import Memory
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.generation import Generation

KIND = Generation(max_answer_bytes=40)
CONFIG = SpecialistConfig(kind="memory", encoder="e")


def examples(n, seed=0):
    x_ND = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    texts = tuple(KIND.parse([f"text {i}", f"or {i}"]) for i in range(n))
    return Examples(
        texts_N=texts,
        targets=KIND.encode(texts),
        features={"e": x_ND},
        domains_N=np.full(n, "a"),
        ids_N=np.arange(n),
        audit_N=np.zeros(n, np.bool_),
        random_N=np.ones(n, np.bool_),
        rounds_N=np.ones(n, np.int64),
        agreement_N=np.ones(n, np.float32),
    )


def fitted(storage, n=30):
    data = examples(n)
    job = FitJob(CONFIG, KIND, storage, "m/memory", None, 0, TrainingConfig())
    return data, Memory.fit(job, data, data.agreement_N, np.arange(n) % 3, "cpu")


def by_similarity(x_ND, row_D):
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    return unit_ND @ (row_D / np.linalg.norm(row_D))


def test_a_sample_gets_the_first_right_texts_of_the_nearest_ones(tmp_path):
    data, (memory, _, _) = fitted(Storage(str(tmp_path)))
    new_ND = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    found = unpack(memory.lists(torch.from_numpy(new_ND)))
    for row_D, texts, log_prob in zip(
        new_ND, texts_of(found.bytes_KW), found.log_prob.tolist(), strict=True
    ):
        like_N = by_similarity(data.features["e"], row_D)
        nearest = np.argsort(-like_N)[:5]
        assert texts == [*(f"text {i}" for i in nearest), ""]
        assert np.exp(log_prob) == pytest.approx(like_N.max(), abs=1e-5)


def test_held_out_a_sample_is_not_remembered_itself_nor_others_of_its_fold(tmp_path):
    data, (_, held_out_NC, report) = fitted(Storage(str(tmp_path)))
    found = texts_of(unpack(torch.from_numpy(held_out_NC)).bytes_KW)
    for i, texts in enumerate(found):
        like_N = by_similarity(data.features["e"], data.features["e"][i])
        others = [j for j in np.argsort(-like_N).tolist() if j % 3 != i % 3]
        assert texts[0] == f"text {others[0]}"
    loss_N = KIND.loss(torch.from_numpy(held_out_NC)[None], torch.from_numpy(data.targets))
    assert report.loss == pytest.approx(loss_N.mean().item(), rel=1e-5)


def test_what_was_stored_remembers_the_same(tmp_path):
    storage = Storage(str(tmp_path))
    data, (memory, _, _) = fitted(storage)
    memory.save(storage, "m/memory")
    again = Memory.load(CONFIG, storage, "m/memory")
    x_ND = torch.from_numpy(data.features["e"])
    (both,) = [Memory.together([each])(x_ND) for each in (again,)]
    assert again.dimensions == {"e": 5}
    assert texts_of(unpack(both[0]).bytes_KW) == texts_of(unpack(memory.lists(x_ND)).bytes_KW)


def test_without_others_there_is_nothing_to_remember_and_without_an_embedding_nothing_is_known(
    tmp_path,
):
    _, (memory, held_out_NC, _) = fitted(Storage(str(tmp_path)), n=1)
    (texts,) = texts_of(unpack(torch.from_numpy(held_out_NC)).bytes_KW)
    assert texts[0] == "…"
    assert np.isfinite(held_out_NC).all()
    assert memory.lists(torch.full((1, 5), torch.nan)).isnan().all()
