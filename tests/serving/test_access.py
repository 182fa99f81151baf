"""Access control by tokens and by client address."""

import pytest

from umc_ray.errors import ConfigError
from umc_ray.serving.access import Access
from umc_ray.serving.refusal import Refusal

SCORE, ADMIN = "s" * 16, "a" * 16


@pytest.fixture
def access(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# who: the pipeline\nscore {SCORE}\n\nadmin {ADMIN}\n")
    path.chmod(0o600)
    return Access.read(path)


def refused(access, scope, headers, client="10.0.0.1"):
    try:
        access.check(scope, headers, client)
    except Refusal as refusal:
        return refusal.status
    return None


@pytest.mark.parametrize(
    ("scope", "token", "status"),
    [
        ("score", SCORE, None),
        ("admin", SCORE, 403),
        ("score", ADMIN, None),
        ("admin", ADMIN, None),
        ("score", "", 401),
        ("score", SCORE + "s", 401),
        ("score", "é" * 16, 401),
    ],
)
def test_a_token_grants_its_scope_and_admin_grants_all(access, scope, token, status):
    assert refused(access, scope, {"authorization": f"Bearer {token}"}) == status


@pytest.mark.parametrize("header", [SCORE, f"Basic {SCORE}", f"Token {SCORE}", ""])
def test_only_bearer_tokens_count(access, header):
    assert refused(access, "score", {"authorization": header}) == 401
    assert refused(access, "score", {}, client="127.0.0.1") == 401


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, None),
        ("::1", {}, None),
        ("10.0.0.1", {}, 403),
        (None, {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.1"}, 403),
        ("127.0.0.1", {"forwarded": "for=10.0.0.1"}, 403),
    ],
)
def test_without_tokens_only_local_clients_are_allowed(client, headers, status):
    assert refused(Access(), "admin", headers, client) == status


@pytest.mark.parametrize(
    "text", ["", "# none\n", f"read {SCORE}\n", "score\n", "score short\n", f"score {SCORE} more\n"]
)
def test_a_malformed_token_file_is_refused_without_revealing_tokens(tmp_path, text):
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as error:
        Access.read(path)
    assert str(path) in str(error.value)
    assert SCORE not in str(error.value)


def test_a_token_file_that_everybody_can_read_is_refused(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"score {SCORE}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=f"can read {path}, which has tokens: chmod 600"):
        Access.read(path)
