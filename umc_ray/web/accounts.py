"""Who may work on a campaign: accounts with a role, and the keys they show instead of a password.

A key is a session of a browser or a token of a program. The database holds digests of keys and
argon2 hashes of passwords: who reads it can be nobody.
"""

import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from umc_ray.annotation.schema import ACCOUNTS, KEYS
from umc_ray.annotation.store import AnnotationStore
from umc_ray.errors import StoreError

Role = Literal["annotator", "reviewer", "admin"]
KeyKind = Literal["session", "token"]

ROLES: tuple[Role, ...] = ("annotator", "reviewer", "admin")
"""Each may do what those before it may."""

NAME = re.compile(r"[^\W_][\w.@ -]{0,63}")
MIN_PASSWORD, MAX_PASSWORD = 10, 1000
SESSION_S = 12 * 3600.0
FRESH_S = 2.0
"""How long a key is not looked up again: so long another process's end of it goes unnoticed."""
MAX_SEEN = 10_000
HASHERS = 2
"""Passwords that are hashed at a time: each takes 64 MB."""


@dataclass(frozen=True)
class Person:
    """Whoever asks, by a key."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this person may do what a role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Account:
    """An account as it is shown."""

    name: str
    role: Role
    active: bool


class Accounts:
    """The accounts in the database of an annotation store."""

    def __init__(self, store: AnnotationStore) -> None:
        """Keep accounts beside a store's questions."""
        self._store = store
        self._hasher = PasswordHasher()
        self._turn = threading.Semaphore(HASHERS)
        self._seen: dict[tuple[str, KeyKind], tuple[Person, float]] = {}

    @cached_property
    def _nobody(self) -> str:
        """The hash of a password that nobody has."""
        return self._hash(secrets.token_urlsafe())

    def add(self, name: str, role: Role, password: str) -> None:
        """Make an account.

        Raises:
            StoreError: the name is taken or is none, or the password is too short or too long.
        """
        if NAME.fullmatch(name) is None or name != name.strip():
            raise StoreError(f"{name!r} cannot be a name: letters, digits and . @ - _ up to 64")
        row = {
            "name": name,
            "role": role,
            "password": self._hash(_checked(password)),
            "active": True,
            "created_at": self._store.clock(),
        }
        try:
            with self._store.writing() as connection:
                connection.execute(insert(ACCOUNTS), row)
        except IntegrityError:
            raise StoreError(f"there is an account {name} already") from None

    def change(self, name: str, role: Role, active: bool) -> None:
        """Give an account another role, or end it; who ends it ends its keys.

        Raises:
            StoreError: there is no such account, or no active admin would be left.
        """
        with self._store.writing() as connection:
            of_name = update(ACCOUNTS).where(ACCOUNTS.c.name == name)
            if not connection.execute(of_name.values(role=role, active=active)).rowcount:
                raise StoreError(f"there is no account {name}")
            admins = select(ACCOUNTS.c.name).where(ACCOUNTS.c.role == "admin", ACCOUNTS.c.active)
            if connection.execute(admins).first() is None:
                raise StoreError(f"{name} is the last admin")
            if not active:
                connection.execute(delete(KEYS).where(KEYS.c.account == name))
        self._seen.clear()

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password, and end its keys.

        Raises:
            StoreError: there is no such account, or the password is too short or too long.
        """
        hashed = self._hash(_checked(password))
        with self._store.writing() as connection:
            of_name = update(ACCOUNTS).where(ACCOUNTS.c.name == name)
            if not connection.execute(of_name.values(password=hashed)).rowcount:
                raise StoreError(f"there is no account {name}")
            connection.execute(delete(KEYS).where(KEYS.c.account == name))
        self._seen.clear()

    def all(self) -> Sequence[Account]:
        """Return all accounts, by name."""
        wanted = select(ACCOUNTS.c.name, ACCOUNTS.c.role, ACCOUNTS.c.active)
        with self._store.readers.connect() as connection:
            rows = connection.execute(wanted.order_by(ACCOUNTS.c.name)).mappings()
            return [Account(**row) for row in rows]

    def log_in(self, name: str, password: str) -> str | None:
        """Return the key of a new session, or None: no such account, or another password.

        Both take as long.
        """
        wanted = select(ACCOUNTS.c.password).where(ACCOUNTS.c.name == name, ACCOUNTS.c.active)
        known, nobody = None, self._nobody
        if NAME.fullmatch(name):
            with self._store.readers.connect() as connection:
                known = connection.scalar(wanted)
        matches = self._matches(known or nobody, password[:MAX_PASSWORD])
        return self.create_key(name, "session") if known and matches else None

    def create_key(self, name: str, kind: KeyKind) -> str:
        """Make a key of an account; tokens stay valid until the account ends."""
        key, now = secrets.token_urlsafe(32), self._store.clock()
        ends = now + SESSION_S if kind == "session" else None
        row = {"digest": _digest(key), "account": name, "kind": kind, "expires_at": ends}
        with self._store.writing() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.expires_at < now))
            connection.execute(insert(KEYS), row)
        return key

    def revoke_key(self, key: str) -> None:
        """End a key."""
        with self._store.writing() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.digest == _digest(key)))
        self._seen.clear()

    def cached_person(self, key: str, kind: KeyKind) -> Person | None:
        """Return whose key it was a moment ago; None if it was not looked up."""
        person, until = self._seen.get((_digest(key), kind), (None, 0.0))
        return person if self._store.clock() < until else None

    def find_person(self, key: str, kind: KeyKind) -> Person | None:
        """Return whose key it is; None if it is nobody's, or ran out."""
        wanted = (
            select(ACCOUNTS.c.name, ACCOUNTS.c.role)
            .join(KEYS, KEYS.c.account == ACCOUNTS.c.name)
            .where(KEYS.c.digest == _digest(key), KEYS.c.kind == kind, ACCOUNTS.c.active)
            .where(or_(KEYS.c.expires_at.is_(None), KEYS.c.expires_at > self._store.clock()))
        )
        with self._store.readers.connect() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            return None
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        person = Person(**row)
        self._seen[_digest(key), kind] = person, self._store.clock() + FRESH_S
        return person

    def _hash(self, password: str) -> str:
        with self._turn:
            return self._hasher.hash(password)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            with self._turn:
                return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _checked(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise StoreError(f"a password needs {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    return password


def _digest(key: str) -> str:
    return sha256(key.encode(errors="replace")).hexdigest()
