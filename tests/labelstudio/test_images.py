"""What Label Studio gets of images."""

import base64

import numpy as np
import pytest

from tests.ingest.pictures import forms
from umc_ray.annotation.store import Question
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.labelstudio import bridge
from umc_ray.labelstudio.bridge import Project
from umc_ray.tasks.classification import Classification

FORMS = {form.name: form.payload for form in forms()}


@pytest.mark.parametrize(
    ("name", "kind", "is_sent_as_it_is"),
    [
        ("TIFF float", "png", False),
        ("PNG LA", "png", False),
        ("PNG RGB", "png", True),
        ("JPEG 6", "jpeg", True),
    ],
)
def test_images_are_sent_as_encoders_see_them(name, kind, is_sent_as_it_is):
    project = Project(1, "shapes", "image", Classification(("round", "square")).form())
    question = Question("tiny", 1, "shapes", "scans", 7)
    item = bridge._item(project, question, {"text": None, "image": FORMS[name]})
    start, _, sent = item["data"]["image"].partition(",")
    content = base64.b64decode(sent)
    assert start == f"data:image/{kind};base64"
    assert (content == FORMS[name]) == is_sent_as_it_is
    assert np.array_equal(decode_rgb(content), decode_rgb(FORMS[name]))
