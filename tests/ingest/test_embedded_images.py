import base64
import io

import numpy as np
import PIL.Image
import pytest

from umc_ray.ingest.embedded_images import embedded_image
from umc_ray.ingest.sources import BadRow


def image(kind, side=8):
    stream = io.BytesIO()
    PIL.Image.fromarray(np.arange(side * side, dtype=np.uint8).reshape(side, side)).save(
        stream, kind
    )
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_base64_is_an_image_if_it_begins_as_one(kind):
    data = image(kind)
    text = base64.b64encode(data).decode()
    wrapped = base64.encodebytes(data).decode()
    uri = f"data:image/{kind.lower()};charset=utf-8;base64,{text}"
    for each in (text, wrapped, uri):
        assert embedded_image(each, 10_000) == data


@pytest.mark.parametrize(
    "text",
    [
        "1.png",
        "images/2024/photo.png",
        "s3://bucket/image.png",
        "iVBORw0KGgo",  # too short for an image
        "/data/" + "folder/" * 10 + "name",
        "abcd" * 20,
        "data:text/plain;base64,QQ==",
    ],
)
def test_a_path_or_another_text_is_no_image(text):
    assert embedded_image(text, 10_000) is None


def test_a_data_uri_must_hold_base64():
    with pytest.raises(BadRow, match="undecodable image: Base64 of a data URI"):
        embedded_image("data:image/png;base64,@@@", 10_000)


def test_a_large_image_is_refused_before_it_is_decoded():
    text = base64.b64encode(image("BMP", 64)).decode()
    assert embedded_image(text, 10_000) is not None
    with pytest.raises(BadRow, match="image too large: "):
        embedded_image(text, 1000)
