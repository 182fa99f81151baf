"""Access control by tokens and by client address."""

import pytest

from umc_ray.errors import ConfigError
from umc_ray.serving.access import PROXY_HEADERS, Access
from umc_ray.serving.refusal import Refusal

SCORE, ADMIN = "s" * 16, "a" * 16
HERE = {"host": "localhost:8000"}


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
        ("127.0.0.1", HERE, None),
        ("::1", {"host": "[::1]:8000"}, None),
        ("127.0.0.1", {"host": "127.0.0.1", "origin": "http://localhost:3000"}, None),
        ("127.0.0.1", {}, 403),
        ("127.0.0.1", {"host": "rebound.example:8000"}, 403),
        ("127.0.0.1", {"host": "localhost.example"}, 403),
        ("127.0.0.1", {"host": "[::1"}, 403),
        ("127.0.0.1", {**HERE, "origin": "https://other.example"}, 403),
        ("127.0.0.1", {**HERE, "origin": "null"}, 403),
        ("10.0.0.1", HERE, 403),
        (None, HERE, 403),
        *(("127.0.0.1", {**HERE, name: "10.0.0.1"}, 403) for name in PROXY_HEADERS),
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


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_in_place_of_a_token_file_is_said_to_be_one(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match=f"cannot read tokens from {tmp_path}: Is a directory"):
        Access.read(tmp_path)


def written(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_token_file_that_is_no_text_is_refused_without_its_content(tmp_path):
    path = written(tmp_path / "tokens", f"score {SCORE}\n".encode("utf-16"))
    with pytest.raises(ConfigError) as error:
        Access.read(path)
    assert str(error.value) == f"cannot read tokens from {path}: it is not in UTF-8"
    assert error.value.__cause__ is None


def test_a_token_file_may_begin_with_a_byte_order_mark(tmp_path):
    access = Access.read(written(tmp_path / "tokens", f"score {SCORE}\n".encode("utf-8-sig")))
    assert refused(access, "score", {"authorization": f"Bearer {SCORE}"}) is None
