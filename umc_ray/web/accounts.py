"""User accounts with roles, and their keys: browser sessions and API tokens.

The database stores only digests of keys and argon2 hashes of passwords, so reading it does not
allow anyone to log in.
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
"""In ascending order: each role has the permissions of those before it."""

NAME = re.compile(r"[^\W_][\w.@ -]{0,63}")
MIN_PASSWORD, MAX_PASSWORD = 10, 1000
SESSION_S = 12 * 3600.0
CACHE_S = 2.0
"""How long a key stays cached; another process's revocation takes effect within this time."""
MAX_CACHED = 10_000
CONCURRENT_HASHES = 2
"""Each password hash takes 64 MB of memory."""


@dataclass(frozen=True)
class Person:
    """The user who sent a request."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether this person has the permissions of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Account:
    """An account, without its password."""

    name: str
    role: Role
    active: bool


class Accounts:
    """Accounts in the database of an annotation store."""

    def __init__(self, store: AnnotationStore) -> None:
        """Use the database of a store."""
        self._store = store
        self._hasher = PasswordHasher()
        self._hash_slots = threading.Semaphore(CONCURRENT_HASHES)
        self._cache: dict[tuple[str, KeyKind], tuple[Person, float]] = {}

    @cached_property
    def _dummy_hash(self) -> str:
        """Hash of a random password, checked when the account does not exist."""
        return self._hash(secrets.token_urlsafe())

    def add(self, name: str, role: Role, password: str) -> None:
        """Create an account.

        Raises:
            StoreError: the name is taken or invalid, or the password is too short or too long.
        """
        if NAME.fullmatch(name) is None or name != name.strip():
            raise StoreError(
                f"{name!r} is not a valid name: use up to 64 letters, digits, spaces and . @ - _, "
                "starting with a letter or digit"
            )
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
            raise StoreError(f"account {name} already exists") from None

    def change(self, name: str, role: Role, active: bool) -> None:
        """Set the role of an account and whether it is active; deactivating revokes its keys.

        Raises:
            StoreError: there is no such account, or no active admin would be left.
        """
        with self._store.writing() as connection:
            account = update(ACCOUNTS).where(ACCOUNTS.c.name == name)
            if not connection.execute(account.values(role=role, active=active)).rowcount:
                raise StoreError(f"there is no account {name}")
            admins = select(ACCOUNTS.c.name).where(ACCOUNTS.c.role == "admin", ACCOUNTS.c.active)
            if connection.execute(admins).first() is None:
                raise StoreError(
                    f"{name} is the last active admin; make another account admin first"
                )
            if not active:
                connection.execute(delete(KEYS).where(KEYS.c.account == name))
        self._cache.clear()

    def set_password(self, name: str, password: str) -> None:
        """Set the password of an account and revoke its keys.

        Raises:
            StoreError: there is no such account, or the password is too short or too long.
        """
        hashed = self._hash(_checked(password))
        with self._store.writing() as connection:
            account = update(ACCOUNTS).where(ACCOUNTS.c.name == name)
            if not connection.execute(account.values(password=hashed)).rowcount:
                raise StoreError(f"there is no account {name}")
            connection.execute(delete(KEYS).where(KEYS.c.account == name))
        self._cache.clear()

    def all(self) -> Sequence[Account]:
        """Return all accounts, sorted by name."""
        query = select(ACCOUNTS.c.name, ACCOUNTS.c.role, ACCOUNTS.c.active)
        with self._store.readers.connect() as connection:
            rows = connection.execute(query.order_by(ACCOUNTS.c.name)).mappings()
            return [Account(**row) for row in rows]

    def log_in(self, name: str, password: str) -> str | None:
        """Return the key of a new session; None if the name or the password is wrong.

        Both failures take the same time, so timing does not reveal which names exist.
        """
        query = select(ACCOUNTS.c.password).where(ACCOUNTS.c.name == name, ACCOUNTS.c.active)
        stored_hash, dummy_hash = None, self._dummy_hash
        if NAME.fullmatch(name):
            with self._store.readers.connect() as connection:
                stored_hash = connection.scalar(query)
        matches = self._matches(stored_hash or dummy_hash, password[:MAX_PASSWORD])
        return self.create_key(name, "session") if stored_hash and matches else None

    def create_key(self, name: str, kind: KeyKind) -> str:
        """Create a key for an account; tokens are valid until the account is deactivated."""
        key, now = secrets.token_urlsafe(32), self._store.clock()
        expires_at = now + SESSION_S if kind == "session" else None
        row = {"digest": _digest(key), "account": name, "kind": kind, "expires_at": expires_at}
        with self._store.writing() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.expires_at < now))
            connection.execute(insert(KEYS), row)
        return key

    def revoke_key(self, key: str) -> None:
        """Delete a key."""
        with self._store.writing() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.digest == _digest(key)))
        self._cache.clear()

    def cached_person(self, key: str, kind: KeyKind) -> Person | None:
        """Return the owner of a key if the cache has it."""
        person, expires_at = self._cache.get((_digest(key), kind), (None, 0.0))
        return person if self._store.clock() < expires_at else None

    def find_person(self, key: str, kind: KeyKind) -> Person | None:
        """Return the owner of a key; None if the key is unknown or expired."""
        query = (
            select(ACCOUNTS.c.name, ACCOUNTS.c.role)
            .join(KEYS, KEYS.c.account == ACCOUNTS.c.name)
            .where(KEYS.c.digest == _digest(key), KEYS.c.kind == kind, ACCOUNTS.c.active)
            .where(or_(KEYS.c.expires_at.is_(None), KEYS.c.expires_at > self._store.clock()))
        )
        with self._store.readers.connect() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        person = Person(**row)
        self._cache[_digest(key), kind] = person, self._store.clock() + CACHE_S
        return person

    def _hash(self, password: str) -> str:
        with self._hash_slots:
            return self._hasher.hash(password)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            with self._hash_slots:
                return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def _checked(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise StoreError(f"a password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    return password


def _digest(key: str) -> str:
    return sha256(key.encode(errors="replace")).hexdigest()
