"""Authentication and errors of the Label Studio client."""

import httpx
import pytest

from tests.labelstudio.fake import KEY, LEGACY, FakeStudio
from umc_ray.labelstudio.api import RENEW_AFTER_S, LabelStudio, LabelStudioError


@pytest.fixture
def fake():
    return FakeStudio()


@pytest.fixture
def time():
    return [0.0]


@pytest.fixture
def studio(fake, time):
    with LabelStudio("http://fake/", KEY, fake.transport, lambda: time[0]) as studio:
        yield studio


def test_an_access_token_is_reused_until_it_is_old(fake, studio, time):
    for time[0] in (0, 10, RENEW_AFTER_S):
        list(studio.projects())
    assert fake.refreshed == 1
    time[0] = RENEW_AFTER_S + 1
    list(studio.projects())
    assert fake.refreshed == 2


def test_a_revoked_access_token_is_renewed_immediately(fake, studio):
    list(studio.projects())
    fake.access = "another"
    list(studio.projects())
    assert fake.refreshed == 2


def test_a_legacy_token_is_sent_unchanged(fake):
    with LabelStudio("http://fake", LEGACY, fake.transport) as studio:
        assert list(studio.projects()) == []
    assert fake.refreshed == 0


@pytest.mark.parametrize("key", ["e30.e30.wrong", "f" * 40])
def test_an_error_about_a_wrong_token_does_not_reveal_it(fake, key):
    with (
        LabelStudio("http://fake", key, fake.transport) as studio,
        pytest.raises(LabelStudioError, match="http://fake") as raised,
    ):
        list(studio.projects())
    assert key not in str(raised.value)


def test_an_http_error_names_the_request(studio):
    with pytest.raises(LabelStudioError, match="GET /api/projects/7/x/: 404"):
        studio._call("GET", "/api/projects/7/x/")


def test_an_unreachable_server_is_an_error():
    def gone(request):
        raise httpx.ConnectError("refused")

    with (
        LabelStudio("http://fake", LEGACY, httpx.MockTransport(gone)) as studio,
        pytest.raises(LabelStudioError, match="does not respond"),
    ):
        list(studio.projects())


def test_tasks_are_read_page_by_page(fake, studio):
    number = studio.create_project(title="many")["id"]
    studio.import_tasks(number, [{"data": {"umc_id": i}} for i in range(250)])
    assert [each["data"]["umc_id"] for each in studio.tasks(number)] == list(range(250))
    assert fake.calls.count(("GET", "/api/tasks")) == 3
