"""Who may ask: bearer tokens with a scope, and without tokens only the same machine."""

import hmac
from base64 import b64decode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self, get_args

from umc_ray.errors import ConfigError
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.settings import is_loopback

Scope = Literal["score", "admin"]

SECRET = "x-umc-secret"
"""Header of webhooks, which cannot do better."""

MIN_CHARS = 16
"""Shorter tokens can be guessed."""


@dataclass(frozen=True)
class Access:
    """The digests of all tokens with their scope; none: the same machine may do everything."""

    digests: tuple[tuple[bytes, Scope], ...] = ()

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read a file with a line `SCOPE TOKEN` per client.

        Raises:
            ConfigError: a line is not of that form; it is named by its number, not shown.
        """
        if path is None:
            return cls()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"cannot read tokens {path}: {error.strerror}") from error
        digests = tuple(_parsed(path, lines))
        if not digests:
            raise ConfigError(f"tokens {path} holds no token")
        return cls(digests)

    def check(self, needed: Scope, headers: Mapping[str, str], client: str | None) -> None:
        """Refuse a request whose token or origin does not do; admin includes score.

        Raises:
            Refusal: 401 for want of a token, 403 for want of a scope.
        """
        if not self.digests:
            # Behind a proxy on this machine, all clients seem to be on it.
            forwarded = "forwarded" in headers or "x-forwarded-for" in headers
            if client is None or not is_loopback(client) or forwarded:
                raise Refusal(403, "without tokens only the same machine is answered")
            return
        presented = sha256(_token(headers).encode(errors="replace")).digest()
        # All are compared, in constant time: how long it takes says nothing about any of them.
        scopes = [scope for digest, scope in self.digests if hmac.compare_digest(digest, presented)]
        if not scopes:
            raise Refusal(401, "a valid bearer token is needed")
        if needed not in scopes and "admin" not in scopes:
            raise Refusal(403, f"a token of scope {needed} is needed")


def _token(headers: Mapping[str, str]) -> str:
    """Return the token that is presented: as a bearer, a password, or a webhook's secret."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":  # Label Studio's requests to an ML backend
        with suppress(ValueError):
            return b64decode(value, validate=True).decode().partition(":")[2]
    return headers.get(SECRET, "")


def _parsed(path: Path, lines: Iterable[str]) -> Iterable[tuple[bytes, Scope]]:
    for i, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        scope = next((each for each in get_args(Scope) if each == words[0]), None)
        if len(words) != 2 or scope is None:
            raise ConfigError(f"{path}:{i}: need `score TOKEN` or `admin TOKEN`")
        if len(words[1]) < MIN_CHARS:
            raise ConfigError(f"{path}:{i}: a token needs at least {MIN_CHARS} characters")
        yield sha256(words[1].encode()).digest(), scope
