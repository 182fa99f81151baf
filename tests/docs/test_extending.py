"""The examples of docs/extending.md, run as they stand there."""

import io
import re
from collections import Counter
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from tests.tiny import ROOT
from umc_ray.annotation.store import AnnotationStore, Question
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import GeneratorConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.diversity.generators.generator import Exemplar, Request
from umc_ray.ingest.columns import TableFormat
from umc_ray.ingest.layouts.layout import Asked
from umc_ray.ingest.layouts.place import Place
from umc_ray.methods import bandit, selection
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.registry import task_kind

TEXT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def example(section):
    """Run a section's example; in the module that its first line names, if it names one."""
    _, _, rest = TEXT.partition(f"\n## {section}\n")
    code = re.search(r"```python\n(.*?)```", rest, re.DOTALL)[1]
    module = re.match(r"# in (umc_ray/\S+)\.py", code)
    names = dict(vars(import_module(module[1].replace("/", ".")))) if module else {}
    names["__name__"] = "tests.docs.example"
    exec(compile(code, "docs/extending.md", "exec", dont_inherit=True), names)
    return SimpleNamespace(**names)


def test_a_strategy(monkeypatch):
    half_random = example("A selection strategy")._half_random
    strategies = {**selection.STRATEGIES, "half_random": half_random}
    monkeypatch.setattr(selection, "STRATEGIES", strategies)
    candidates = selection.Candidates(
        ids_N=np.arange(100),
        acquisition_N=np.arange(100, dtype=np.float32),
        embeddings_ND=np.ones((100, 2), np.float32),
    )
    rows = selection.select("half_random", candidates, 10, seed=0)
    assert rows[:5].tolist() == [99, 98, 97, 96, 95]
    assert len(set(rows.tolist())) == 10


def test_a_policy(monkeypatch):
    square_root = example("An allocation policy")._square_root
    monkeypatch.setattr(bandit, "POLICIES", {**bandit.POLICIES, "square_root": square_root})
    arms = [bandit.ArmContext(name, None, n, n, 1.0, None) for name, n in (("a", 100), ("b", 900))]
    shares_A = bandit.shares("square_root", bandit.BanditState(), arms, "macro")
    np.testing.assert_allclose(shares_A, [0.25, 0.75])


def png(color):
    sink = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(sink, "png")
    return sink.getvalue()


def test_an_encoder():
    encoder = example("An encoder").ColorHistogram(EncoderConfig(kind="pixels"))
    prepared = [encoder.prepare(png(color)) for color in ("red", "blue", (250, 5, 5))]
    cosine_NN = (embeddings := encoder.encode(prepared).astype(np.float32)) @ embeddings.T
    np.testing.assert_allclose(cosine_NN, [[1, 0, 1], [0, 1, 0], [1, 0, 1]])


def test_a_specialist(tmp_path):
    prototypes = example("A specialist").Prototypes
    kind, storage = task_kind("classification", ("a", "b")), Storage(str(tmp_path))
    labels_N = np.arange(20) % 2
    x_ND = np.eye(2, dtype=np.float32)[labels_N]
    ones_N = np.ones(20, np.float32)
    examples = Examples(
        texts_N=tuple(kind.labels[label] for label in labels_N),
        targets=labels_N,
        features={"pixels": x_ND},
        domains_N=np.full(20, "near"),
        ids_N=np.arange(20),
        audit_N=np.zeros(20, bool),
        random_N=np.zeros(20, bool),
        rounds_N=np.ones(20, np.int64),
        agreement_N=ones_N,
    )
    config = SpecialistConfig(encoder="pixels")
    job = FitJob(config, kind, storage, "model", None, 0, None)
    model, held_out_NC, _ = prototypes.fit(job, examples, ones_N, np.arange(20) % 5, "cpu")
    model.save(storage, "model")
    loaded = prototypes.load(config, storage, "model")
    outputs_SNC = prototypes.together([model, loaded])(torch.from_numpy(x_ND))
    assert (outputs_SNC.argmax(2).numpy() == labels_N).all()
    assert (held_out_NC.argmax(1) == labels_N).all()


def test_a_generator():
    generator = example("A generator").Shuffled(GeneratorConfig(kind="transforms"), lambda _: None)
    exemplars = (Exemplar(7, "one two three four", "a"), Exemplar(8, "five", "b"))
    made = generator.generate(Request("gap", "a", ("a", "b"), exemplars, count=3, seed=1))
    assert [sorted(each.payload.split()) for each in made] == [["four", "one", "three", "two"]]
    assert made[0].exemplars == (7,)


def test_a_backend(tmp_path):
    storage = Storage(str(tmp_path))
    kinds = {"topics": task_kind("classification", ("sport", "science"))}
    store = AnnotationStore(f"sqlite:///{tmp_path}/labels.db")
    backend = example("An annotation backend").DropFolderBackend(store, "c", storage, (), kinds)
    backend.submit([Question(campaign="c", round=1, task="topics", domain="news", sample_id=7)])
    assert backend.collect(1) == []
    answer = {"sample_id": 7, "annotator": "ada", "label": "sport"}
    storage.write_json("rounds/0001/answers/7.json", answer)
    for _ in range(2):
        assert [each.label for each in backend.collect(1)] == ["sport"]


def test_a_format(tmp_path):
    ag_news = example("A published format").AgNews
    (tmp_path / "classes.txt").write_text("World\nSci/Tech\n")
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(f'"2","{split}","He said ""no"""\n"1","a"\n')
    place = Place(str(tmp_path))
    assert ag_news.mark(place) == "classes.txt beside train.csv"
    layout = ag_news.at(place, Asked("test"))
    assert layout.about == "ag_news: split test of train, test"
    (_, row), (number, bad) = layout.read_rows(layout.paths[0], TableFormat(()), None, Counter())
    assert row == {"title": "test", "description": 'He said "no"', "label": "Sci/Tech"}
    assert (number, str(bad)) == (2, "broken row: 2 fields in place of 3")
