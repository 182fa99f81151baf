"""A Label Studio in memory, and a client of it."""

import pytest

from tests.labelstudio.fake import KEY, FakeStudio
from umc_ray.labelstudio.api import LabelStudio


@pytest.fixture
def fake():
    return FakeStudio()


@pytest.fixture
def studio(fake):
    with LabelStudio("http://fake", KEY, fake.transport) as studio:
        yield studio
