"""Access control: bearer tokens with a scope; without tokens, only clients on this machine."""

import hmac
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from umc_ray.atomic import others_can_read
from umc_ray.errors import ConfigError
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.settings import is_loopback

Scope = Literal["score", "admin"]

SECRET_HEADER = "x-umc-secret"
"""For webhooks that cannot send an Authorization header."""

PROXY_HEADERS = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)
"""What proxies add: behind one, nobody is known to be on this machine."""

MIN_TOKEN_CHARS = 16
"""Shorter tokens can be guessed."""


@dataclass(frozen=True)
class Access:
    """The digests of all tokens with their scopes; if empty, local clients have full access."""

    digests: tuple[tuple[bytes, Scope], ...] = ()

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read a file with one `SCOPE TOKEN` per line.

        Raises:
            ConfigError: the file cannot be read, is empty, or has a malformed line. The message
                gives the line's number, never its content.
        """
        if path is None:
            return cls()
        if others_can_read(path):
            raise ConfigError(
                f"everybody on this machine can read {path}, which has tokens: chmod 600 {path}; "
                "of a secret of Kubernetes, defaultMode: 0440"
            )
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise ConfigError(f"cannot read tokens from {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigError(f"cannot read tokens from {path}: it is not in UTF-8") from None
        digests = tuple(_parse_tokens(path, lines))
        if not digests:
            raise ConfigError(f"{path} has no tokens: add a line `score TOKEN` or `admin TOKEN`")
        return cls(digests)

    def check(self, required: Scope, headers: Mapping[str, str], client: str | None) -> None:
        """Refuse a request without the required scope; admin includes score.

        Raises:
            Refusal: 401 without a valid token, 403 without the scope. Without configured tokens,
                403 for clients on other machines.
        """
        if not self.digests:
            _check_local(headers, client)
            return
        presented = sha256(_presented_token(headers).encode(errors="replace")).digest()
        # Compare all digests, each in constant time, so that timing reveals nothing.
        scopes = [scope for digest, scope in self.digests if hmac.compare_digest(digest, presented)]
        if not scopes:
            raise Refusal(401, "a valid bearer token is required")
        if required not in scopes and "admin" not in scopes:
            raise Refusal(403, f"a token of scope {required} is required")


def _check_local(headers: Mapping[str, str], client: str | None) -> None:
    # Behind a proxy on this machine, all clients have a loopback address.
    forwarded = any(name in headers for name in PROXY_HEADERS)
    if client is None or not is_loopback(client) or forwarded:
        raise Refusal(403, "only clients on the same machine are allowed: no tokens are configured")
    # A page of another site can have its name resolve to this machine, or post from a browser here.
    for name, url in (("Host", f"//{headers.get('host', '')}"), ("Origin", headers.get("origin"))):
        if url is not None and not _is_local(url):
            raise Refusal(403, f"{name} must be of this machine: no tokens are configured")


def _is_local(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _presented_token(headers: Mapping[str, str]) -> str:
    """Return the token of a request: a bearer token, a password, or a webhook's secret."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":  # Label Studio's requests to an ML backend
        with suppress(ValueError):
            return b64decode(value, validate=True).decode().partition(":")[2]
    return headers.get(SECRET_HEADER, "")


def _parse_tokens(path: Path, lines: Iterable[str]) -> Iterator[tuple[bytes, Scope]]:
    for i, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        scope = next((each for each in get_args(Scope) if each == words[0]), None)
        if len(words) != 2 or scope is None:
            raise ConfigError(f"{path}:{i}: expected `score TOKEN` or `admin TOKEN`")
        if len(words[1]) < MIN_TOKEN_CHARS:
            raise ConfigError(f"{path}:{i}: tokens need at least {MIN_TOKEN_CHARS} characters")
        yield sha256(words[1].encode()).digest(), scope
