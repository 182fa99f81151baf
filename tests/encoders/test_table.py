"""Suffixes: N samples, D embedding dimension."""

import numpy as np
import pyarrow as pa
import pytest

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.registry import encoder_hash, load_encoder, settings_hash
from umc_ray.encoders.table import Table, parse_row
from umc_ray.errors import ConfigError, DataError
from umc_ray.passes.encode import encode_rows
from umc_ray.passes.encoder_trial import try_encoder
from umc_ray.passes.fit_encoders import fit_encoders
from umc_ray.records import POOL, DomainKey, Part
from umc_ray.serving.encoding import ThreadedEncoder
from umc_ray.storage import Storage

KEY = DomainKey("task", "domain")
TEXTS = [f"age: {20 + i}\nwork: {'ab'[i % 2]}\ngone:" for i in range(30)]


def config(folder):
    return EncoderConfig(kind="table").model_copy(update={"path": f"{folder}/encoders/t.json"})


def stored(folder, texts, name="p", split="pool"):
    part = Part(split, KEY, name, len(texts))
    rows = [
        {"sample_id": i, "key": str(i), "source": "s", "text": text, "aliases": []}
        for i, text in enumerate(texts)
    ]
    Storage(str(folder)).write_table(part.key("pool"), pa.Table.from_pylist(rows, POOL))
    return part


def learn(folder, parts):
    fit_encoders({"task": {"t": config(folder)}}, parts, Storage(str(folder)))
    return load_encoder(config(folder))


def test_an_encoder_learns_once_and_not_from_tests(tmp_path):
    before = encoder_hash(config(tmp_path))
    pool = stored(tmp_path, [*TEXTS, None])
    encoder = learn(tmp_path, [pool, stored(tmp_path, ["age: 900\nwork: z"] * 90, "q", "test")])
    assert [column.name for column in encoder.fit.columns] == ["age", "work"]
    assert encoder.fit.columns[0].center == 34.5
    after = encoder_hash(config(tmp_path))
    assert after != before
    assert settings_hash(config(tmp_path)) == settings_hash(EncoderConfig(kind="table")) == before

    learn(tmp_path, [pool, stored(tmp_path, ["age: 900\nwork: z"] * 90, "later")])
    assert encoder_hash(config(tmp_path)) == after
    assert Table.of(config(tmp_path)).fit == encoder.fit


def test_embeddings_are_float16_and_the_same_one_by_one(tmp_path):
    encoder = learn(tmp_path, [stored(tmp_path, TEXTS)])
    found_ND, rejected = encode_rows(encoder, TEXTS, 7)
    assert not rejected
    assert found_ND.dtype == np.float16
    for text, found_D in zip(TEXTS, found_ND, strict=True):
        np.testing.assert_array_equal(encode_rows(encoder, [text], 1)[0][0], found_D)


def test_a_text_without_any_column_is_rejected(tmp_path):
    encoder = learn(tmp_path, [stored(tmp_path, TEXTS)])
    texts = ["work: a", "a plain text", "other: 3", "age: 3\r\nwork: b"]
    found_ND, rejected = encode_rows(encoder, texts, 8)
    assert list(rejected) == [1, 2]
    assert "for any of the columns age, work" in rejected[1]
    assert np.isfinite(found_ND[[0, 3]]).all()


def test_lines_are_read_whatever_ends_them():
    assert parse_row("a: 1\r\nb:\n c : x: y \nnothing") == {"a": "1", "b": "", "c": "x: y"}


def test_what_has_not_learned_says_how_it_learns(tmp_path):
    with pytest.raises(
        ConfigError, match=r"t.json does not exist; start the campaign with umc run"
    ):
        load_encoder(config(tmp_path))
    with pytest.raises(ConfigError, match="read its campaign with load_campaign"):
        load_encoder(EncoderConfig(kind="table"))


def test_texts_that_are_no_rows_teach_nothing(tmp_path):
    with pytest.raises(
        DataError, match=r"encoder task/t: .* columns found: none. Name the columns"
    ):
        learn(tmp_path, [stored(tmp_path, ["plain", "texts"])])


def test_a_column_without_any_value_is_said(tmp_path, caplog):
    learn(tmp_path, [stored(tmp_path, TEXTS)])
    assert "column 'gone' has no value in any of 30 samples" in caplog.text
    assert "column 'age'" not in caplog.text


def test_a_large_pool_teaches_by_evenly_spread_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("umc_ray.passes.fit_encoders.MOST_ROWS", 10)
    encoder = learn(tmp_path, [stored(tmp_path, TEXTS)])
    assert encoder.fit.columns[0].center == 33.5  # of 20, 23, ... 47


def test_it_is_tried_on_samples_before_there_is_a_pool():
    trial = try_encoder(EncoderConfig(kind="table"), TEXTS, 0.98)
    assert (trial.samples, trial.rejected) == (30, {})
    assert trial.dimension > 8
    assert try_encoder(EncoderConfig(kind="table"), [], 0.98).samples == 0


def test_a_replica_warms_it_up(tmp_path):
    encoder = learn(tmp_path, [stored(tmp_path, TEXTS)])
    threaded = ThreadedEncoder(encoder, config(tmp_path), 2)
    found_ND, failures = threaded.encode([*TEXTS[:3], "no row"])
    assert list(failures) == [3]
    np.testing.assert_array_equal(found_ND[:3], encode_rows(encoder, TEXTS[:3], 8)[0])
