"""User accounts with roles, and their keys: browser sessions and API tokens.

The database stores only digests of keys and argon2 hashes of passwords, so reading it does not
allow anyone to log in.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, or_, select, update

from umc_ray.annotation.schema import ACCOUNTS, KEYS, lock_campaign
from umc_ray.annotation.store import AnnotationStore
from umc_ray.errors import ConfigError, StoreError
from umc_ray.web.names import check_distinct, check_name, is_name

Role = Literal["annotator", "reviewer", "admin"]
KeyKind = Literal["session", "token", "invitation"]

ROLES: tuple[Role, ...] = ("annotator", "reviewer", "admin")
"""In ascending order: each role has the permissions of those before it."""

MIN_PASSWORD, MAX_PASSWORD = 10, 1000
SESSION_S = 12 * 3600.0
INVITATION_S = 7 * 24 * 3600.0
CACHE_S = 2.0
"""How long a key stays cached; another process's revocation takes effect within this time."""
MAX_CACHED = 10_000
TOKEN_ID = 8  # characters of a digest
NO_PASSWORD = ""
"""In place of a hash: nobody can log in until the invitation is accepted."""


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


@dataclass(frozen=True)
class ApiToken:
    """A token of an account, named by the beginning of its digest; times in seconds since 1970."""

    id: str
    account: str
    created_at: float | None  # None: before umc_ray kept it


class Accounts:
    """Accounts in the database of an annotation store."""

    def __init__(self, store: AnnotationStore) -> None:
        """Use the database of a store."""
        self._store = store
        self._hasher = PasswordHasher()
        self._cache: dict[tuple[str, KeyKind], tuple[Person, float]] = {}

    @cached_property
    def _dummy_hash(self) -> str:
        """Hash of a random password, checked when the account does not exist."""
        return self._hasher.hash(secrets.token_urlsafe())

    def add(self, name: str, role: Role, password: str) -> None:
        """Create an account.

        Raises:
            StoreError: the name is invalid or looks like another one, or the password is too short
                or too long.
        """
        self._add(name, role, self._hasher.hash(_checked(password)))

    def invite(self, name: str, role: Role) -> str:
        """Create an account without a password; returns the key that sets one, once.

        Raises:
            StoreError: the name is invalid or looks like another one.
        """
        self._add(name, role, NO_PASSWORD)
        return self.create_key(name, "invitation")

    def accept(self, key: str, password: str) -> str:
        """Set the password of the account that was invited; returns its name.

        Raises:
            StoreError: the invitation was used or has expired, or the password is too short or too
                long.
        """
        person = self.find_person(key, "invitation")
        hashed = "" if person is None else self._hasher.hash(_checked(password))
        with self._store.writing() as connection:
            used = delete(KEYS).where(KEYS.c.digest == _digest(key))
            if person is None or not connection.execute(used).rowcount:
                raise StoreError("this invitation was used or has expired: ask for another one")
            _set_password(connection, person.name, hashed)
        self._cache.clear()
        return person.name

    def _add(self, name: str, role: Role, hashed: str) -> None:
        check_name(name)
        row = {
            "name": name,
            "role": role,
            "password": hashed,
            "active": True,
            "created_at": self._store.clock(),
        }
        with self._store.writing() as connection:
            lock_campaign(connection, "accounts")  # or two that look alike might be added at once
            check_distinct(name, connection.scalars(select(ACCOUNTS.c.name)))
            connection.execute(insert(ACCOUNTS), row)

    def change(self, name: str, role: Role, active: bool) -> None:
        """Set the role of an account and whether it is active; deactivating revokes its keys.

        Raises:
            StoreError: there is no such account, or no active admin would be left.
        """
        with self._store.writing() as connection:
            admins = select(ACCOUNTS.c.name).where(ACCOUNTS.c.role == "admin", ACCOUNTS.c.active)
            had_admins = connection.execute(admins).first() is not None
            account = update(ACCOUNTS).where(ACCOUNTS.c.name == name)
            if not connection.execute(account.values(role=role, active=active)).rowcount:
                raise StoreError(f"there is no account {name}")
            if had_admins and connection.execute(admins).first() is None:
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
        hashed = self._hasher.hash(_checked(password))
        with self._store.writing() as connection:
            _set_password(connection, name, hashed)
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
        if is_name(name):
            with self._store.readers.connect() as connection:
                stored_hash = connection.scalar(query)
        matches = self._matches(stored_hash or dummy_hash, password[:MAX_PASSWORD])
        return self.create_key(name, "session") if stored_hash and matches else None

    def create_key(self, name: str, kind: KeyKind) -> str:
        """Create a key for an account; tokens are valid until they are revoked."""
        key, now = secrets.token_urlsafe(32), self._store.clock()
        lasts_s = {"session": SESSION_S, "invitation": INVITATION_S}.get(kind)
        row = {
            "digest": _digest(key),
            "account": name,
            "kind": kind,
            "created_at": now,
            "expires_at": None if lasts_s is None else now + lasts_s,
        }
        with self._store.writing() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.expires_at < now))
            connection.execute(insert(KEYS), row)
        return key

    def revoke_key(self, key: str) -> None:
        """Delete a key."""
        with self._store.writing() as connection:
            connection.execute(delete(KEYS).where(KEYS.c.digest == _digest(key)))
        self._cache.clear()

    def tokens(self, name: str | None = None) -> Sequence[ApiToken]:
        """Return the API tokens of an account, or of all of them, oldest first."""
        columns = KEYS.c.digest, KEYS.c.account, KEYS.c.created_at
        query = select(*columns).where(KEYS.c.kind == "token").order_by(KEYS.c.created_at)
        if name is not None:
            query = query.where(KEYS.c.account == name)
        with self._store.readers.connect() as connection:
            rows = connection.execute(query).all()
        return [ApiToken(digest[:TOKEN_ID], *rest) for digest, *rest in rows]

    def revoke_token(self, name: str, token_id: str) -> None:
        """Delete an API token of an account.

        Raises:
            StoreError: the account has no such token.
        """
        is_it = KEYS.c.digest.startswith(token_id, autoescape=True)
        own = KEYS.c.account == name, KEYS.c.kind == "token", func.length(token_id) == TOKEN_ID
        with self._store.writing() as connection:
            if not connection.execute(delete(KEYS).where(*own, is_it)).rowcount:
                raise StoreError(f"{name} has no API token {token_id:.20}")
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

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


def set_account(store: AnnotationStore, name: str, role: str, password: str) -> None:
    """Create an active account, or set its password and role.

    Raises:
        ConfigError: there is no such role.
        StoreError: the name or the password is invalid.
    """
    valid_role = next((each for each in ROLES if each == role), None)
    if valid_role is None:
        raise ConfigError(f"there is no role {role}; use one of {', '.join(ROLES)}")
    accounts = Accounts(store)
    if any(account.name == name for account in accounts.all()):
        accounts.change(name, valid_role, active=True)
        accounts.set_password(name, password)
    else:
        accounts.add(name, valid_role, password)


def _set_password(connection: Connection, name: str, hashed: str) -> None:
    account = update(ACCOUNTS).where(ACCOUNTS.c.name == name)
    if not connection.execute(account.values(password=hashed)).rowcount:
        raise StoreError(f"there is no account {name}")
    connection.execute(delete(KEYS).where(KEYS.c.account == name))


def _checked(password: str) -> str:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise StoreError(f"a password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    return password


def _digest(key: str) -> str:
    return sha256(key.encode(errors="replace")).hexdigest()
