"""The pass that computes the outputs of fine-tuned specialists, killed in the middle."""

import pytest

from tests.networks import write_text_network
from tests.pools import DOMAIN, write_part
from umc_ray.cluster import stream
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.passes.encode import EncodeItem, EncodeWorker
from umc_ray.passes.outputs import TunedEncoding
from umc_ray.specialists.fine_tuned import FineTuned, TunedRef
from umc_ray.specialists.network import trainable_encoder
from umc_ray.specialists.top_layers import TopEncoder, TopLayers
from umc_ray.storage import Storage

TABLE, LOWER = "outputs/w", "lower/x-1"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def in_process(monkeypatch):
    """Runs what is left of a pass here, item by item."""

    def run(worker, items, *_):
        for item in items:
            stream.run_item(worker, item)

    monkeypatch.setattr(stream, "_run", run)
    monkeypatch.setattr(stream, "check_resources", lambda *_: None)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A text network, and a specialist that is its top layer, as training would store it."""
    folder = tmp_path_factory.mktemp("network")
    encoder = EncoderConfig(kind="transformers", path=str(write_text_network(folder)), batch_size=4)
    config = SpecialistConfig(kind="top_layers", layers=1, encoder="e")
    trainable = trainable_encoder(encoder)
    tuning = TopLayers(trainable, [trainable.prepare("good")], config)
    fitted = FineTuned("tuned", 2, tuning.tensors(tuning.network(2)), tuning.card)
    storage = Storage(str(folder / "run"))
    storage.write_json("models/tuned/config.json", config.model_dump())
    fitted.save(storage, "models/tuned")
    return encoder, TunedRef(storage, "models/tuned", "w")


def compute(storage, network, monkeypatch, killed_at=None):
    """Run the pass over three parts; returns the samples that each half of the network saw."""
    encoder, ref = network
    encoding = TunedEncoding(encoder, TABLE, ref, LOWER, 10**6)
    seen = {"lower": 0, "encode_lower": 0}

    def counted(name, method):
        def count(self, prepared, *lower):
            if name == "encode_lower" and seen[name] == killed_at:
                raise Killed
            found = method(self, prepared, *lower)
            seen[name] += len(prepared)
            return found

        return count

    with monkeypatch.context() as patch:
        for name in seen:
            patch.setattr(TopEncoder, name, counted(name, getattr(TopEncoder, name)))
        worker = EncodeWorker(storage, {(DOMAIN.task, "tuned"): encoding})
        parts = [write_part(storage, [*range(i, i + 8)], name=f"part-{i:05d}") for i in (0, 8, 16)]
        stream.stream(worker, [EncodeItem(part, "tuned") for part in parts], stream.Compute())
    return seen


def files(storage):
    return {
        key: storage.read_bytes(key)
        for table in ("outputs", "lower")
        for key in storage.keys(table)
    }


def test_a_pass_that_was_killed_computes_what_is_missing_and_no_more(
    network, tmp_path, monkeypatch, in_process
):
    """It is killed in the third part, whose frozen layers have run."""
    whole, killed = (Storage(str(tmp_path / name)) for name in ("whole", "killed"))
    assert compute(whole, network, monkeypatch) == {"lower": 24, "encode_lower": 24}
    with pytest.raises(Killed):
        compute(killed, network, monkeypatch, killed_at=20)
    first = files(killed)
    assert len(first) == 5  # two parts of outputs, three of the frozen layers
    assert compute(killed, network, monkeypatch) == {"lower": 0, "encode_lower": 8}
    assert files(killed) == files(whole)
    assert first.items() <= files(killed).items()
