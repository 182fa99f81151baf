"""With many domains, those with the most labels get experts."""

from dataclasses import replace

import numpy as np
import pytest

from tests.specialists.test_training import TASK, samples, train, with_synthetic
from umc_ray.config.task import TaskConfig
from umc_ray.specialists import experts
from umc_ray.specialists.experts import MOST_EXPERTS, without_expert
from umc_ray.storage import Storage


def task(*domains, specialists="per_domain"):
    settings = TASK.model_dump(exclude={"domains", "specialists"})
    sources = {name: {"source": "x"} for name in domains}
    return TaskConfig.model_validate({**settings, "domains": sources, "specialists": specialists})


def labeled(*domains):
    data = samples(len(domains))
    return replace(data, domains_N=np.array(domains))


def test_each_of_a_few_domains_gets_an_expert():
    names = [f"d{number}" for number in range(MOST_EXPERTS)]
    assert without_expert(task(*names), labeled("d0")) == set()


@pytest.mark.parametrize("specialists", ["per_domain", "auto"])
def test_of_many_domains_those_with_the_most_labels_do(monkeypatch, specialists):
    monkeypatch.setattr(experts, "MOST_EXPERTS", 2)
    data = labeled("c", "d", "d", "b", "b", "d")
    many = task("a", "b", "c", "d", specialists=specialists)
    assert without_expert(many, data) == {"a", "c"}


def test_of_domains_with_as_many_labels_the_first_ones_do(monkeypatch):
    monkeypatch.setattr(experts, "MOST_EXPERTS", 2)
    assert without_expert(task("a", "b", "c"), labeled("c", "b", "a")) == {"c"}


def test_synthetic_samples_are_no_labels(monkeypatch):
    monkeypatch.setattr(experts, "MOST_EXPERTS", 1)
    data = with_synthetic(labeled("a", "a", "b"))
    data = replace(data, domains_N=np.array(["a", "a", "b", "b", "b", "b"]))
    assert without_expert(task("a", "b"), data) == {"b"}


def test_who_names_specialists_gets_them_all(monkeypatch):
    monkeypatch.setattr(experts, "MOST_EXPERTS", 1)
    named = task("a", "b", specialists={name: {"domain": name} for name in ("a", "b")})
    assert without_expert(named, labeled("a", "b")) == set()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_other_domains_are_left_to_the_generalist(monkeypatch, tmp_path):
    monkeypatch.setattr(experts, "MOST_EXPERTS", 1)
    trained = train(Storage(str(tmp_path)), task=task("near", "far"))
    of_most = max(("near", "far"), key=samples().domains_N.tolist().count)
    assert trained.ref.specialists == (of_most, "generalist")
