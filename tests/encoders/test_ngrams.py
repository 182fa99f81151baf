"""Suffixes: N samples."""

import unicodedata

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from tests.encoders.test_text import encode
from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import of_pairs
from umc_ray.encoders.ngrams import SIZES, NGrams
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.methods.text_pair import joined

TEXTS = [
    "The file cannot be opened.",
    "The files cannot be read.",
    "Größe der Datei: 3 kB",
    "größe DER datei",
    "文件 を 開けません",
    "x",
]
CONFIG = EncoderConfig(kind="ngrams")


@pytest.fixture(scope="module")
def ngrams():
    return NGrams(CONFIG)


def test_cosines_are_those_of_the_counts(ngrams):
    counts = CountVectorizer(analyzer="char_wb", ngram_range=SIZES).fit_transform(TEXTS)
    found = encode(ngrams, TEXTS).astype(np.float64)
    np.testing.assert_allclose(found @ found.T, cosine_similarity(counts), atol=0.1)
    assert found[0] @ found[1] > 0.4 > 0.1 > abs(found[0] @ found[2])
    assert found.dtype == np.float64 and encode(ngrams, TEXTS).dtype == np.float16


def test_a_text_is_the_same_in_each_unicode_form(ngrams):
    for text in ("Größe für Mädchen", "한국어 문장"):
        forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
        np.testing.assert_array_equal(*encode(ngrams, forms))


def test_what_has_no_letters_is_zero_and_finite(ngrams):
    assert not encode(ngrams, ["", " \n"]).any()


def test_a_pair_is_one_embedding(ngrams):
    (found,) = encode(ngrams, [joined(TEXTS[:2])])
    np.testing.assert_array_equal([found], of_pairs(encode(ngrams, TEXTS[:2])))


def test_it_is_loaded_by_its_kind_and_named_by_it(ngrams):
    loaded = load_encoder(CONFIG)
    np.testing.assert_array_equal(encode(loaded, TEXTS), encode(ngrams, TEXTS))
    assert encoder_hash(CONFIG) != encoder_hash(EncoderConfig(kind="table"))
