import numpy as np

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.passes.encode import encode_rows


def config(dimension):
    return EncoderConfig(kind="given", dimension=dimension)


def test_given_embeddings_get_length_one_and_keep_their_order():
    vectors = [np.array(each, np.float32) for each in ([3, 4], [0, -2], [1e-3, 0], [0, 0])]
    found_ND, rejected = encode_rows(load_encoder(config(2)), vectors, 3)
    assert found_ND.dtype == np.float16
    np.testing.assert_allclose(found_ND, [[0.6, 0.8], [0, -1], [1, 0], [0, 0]], atol=1e-3)
    assert rejected == {}


def test_features_of_another_dimension_have_another_name():
    assert encoder_hash(config(2)) != encoder_hash(config(3))
