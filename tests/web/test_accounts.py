from contextlib import closing
from functools import partial

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from tests.web.worlds import PASSWORD
from umc_ray.annotation.schema import ACCOUNTS, KEYS
from umc_ray.annotation.store import AnnotationStore
from umc_ray.errors import StoreError
from umc_ray.web.accounts import CACHE_S, INVITATION_S, SESSION_S, Account, Accounts, Person


@pytest.fixture
def accounts(tmp_path, clock, monkeypatch):
    cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("umc_ray.web.accounts.PasswordHasher", cheap)
    with closing(AnnotationStore(f"sqlite:///{tmp_path}/labels.db", clock)) as store:
        accounts = Accounts(store)
        accounts.add("ada", "admin", PASSWORD)
        accounts.add("bob", "annotator", PASSWORD)
        yield accounts


def test_a_session_starts_with_the_password_and_expires(accounts, clock):
    key = accounts.log_in("ada", PASSWORD)
    assert accounts.find_person(key, "session") == Person("ada", "admin")
    assert accounts.find_person(key, "token") is accounts.find_person("nobody's", "session") is None
    clock.now += SESSION_S + 1
    assert accounts.find_person(key, "session") is None


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong"), ("eve", PASSWORD), ("ada\0", PASSWORD), ("ada", ""), ("ada", "x" * 10**6)],
)
def test_a_wrong_name_or_password_does_not_log_in(accounts, name, password):
    assert accounts.log_in(name, password) is None


def test_a_role_has_the_permissions_of_lower_roles():
    may = {
        role: [Person("x", role).may(r) for r in ("annotator", "reviewer", "admin")]
        for role in ("annotator", "reviewer", "admin")
    }
    assert may == {
        "annotator": [True, False, False],
        "reviewer": [True, True, False],
        "admin": [True, True, True],
    }


def test_a_deactivated_account_has_no_keys_and_cannot_log_in(accounts):
    keys = [accounts.log_in("bob", PASSWORD), accounts.create_key("bob", "token")]
    accounts.change("bob", "annotator", active=False)
    accounts.change("bob", "annotator", active=True)
    assert [accounts.find_person(keys[0], "session"), accounts.find_person(keys[1], "token")] == [
        None,
        None,
    ]
    accounts.change("bob", "annotator", active=False)
    assert accounts.log_in("bob", PASSWORD) is None
    assert accounts.all() == [Account("ada", "admin", True), Account("bob", "annotator", False)]


def test_a_new_password_revokes_existing_keys(accounts):
    key = accounts.log_in("bob", PASSWORD)
    accounts.set_password("bob", "another horse")
    assert accounts.find_person(key, "session") is accounts.log_in("bob", PASSWORD) is None
    assert accounts.log_in("bob", "another horse") is not None


def test_a_revoked_session_has_no_owner(accounts):
    key = accounts.log_in("bob", PASSWORD)
    accounts.revoke_key(key)
    assert accounts.find_person(key, "session") is None


def test_keys_are_cached_briefly_and_revocation_clears_the_cache(accounts, clock):
    key, elsewhere = accounts.create_key("bob", "token"), Accounts(accounts._store)
    assert accounts.cached_person(key, "token") is None
    bob = elsewhere.find_person(key, "token") and accounts.find_person(key, "token")
    assert accounts.cached_person(key, "token") == elsewhere.cached_person(key, "token") == bob
    assert accounts.cached_person(key, "session") is None
    accounts.change("bob", "annotator", active=False)
    assert accounts.cached_person(key, "token") is None
    clock.now += CACHE_S
    assert elsewhere.cached_person(key, "token") is elsewhere.find_person(key, "token") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.add("ada", "admin", PASSWORD), "account ada already exists"),
        (lambda a: a.add("<b>", "admin", PASSWORD), "is not a valid name"),
        (lambda a: a.add("eve ", "admin", PASSWORD), "is not a valid name"),
        (lambda a: a.add("eve", "admin", "short"), "a password must have 10 to 1000"),
        (lambda a: a.change("eve", "admin", True), "there is no account eve"),
        (lambda a: a.set_password("eve", PASSWORD), "there is no account eve"),
        (lambda a: a.change("ada", "annotator", True), "ada is the last active admin"),
        (lambda a: a.change("ada", "admin", False), "ada is the last active admin"),
    ],
)
def test_an_invalid_change_is_rejected_and_changes_nothing(accounts, change, message):
    before = accounts.all()
    with pytest.raises(StoreError, match=message):
        change(accounts)
    assert accounts.all() == before


def test_the_database_holds_neither_passwords_nor_keys(accounts):
    keys = {accounts.log_in("ada", PASSWORD), accounts.create_key("bob", "token")}
    with accounts._store.readers.connect() as connection:
        stored = str(connection.execute(select(ACCOUNTS)).all())
        stored += str(connection.execute(select(KEYS)).all())
    assert "$argon2id$" in stored
    assert not [secret for secret in {PASSWORD, *keys} if secret in stored]


def test_an_invitation_sets_a_password_once_and_expires(accounts, clock):
    key = accounts.invite("eve", "reviewer")
    assert accounts.log_in("eve", "") is None
    assert accounts.find_person(key, "session") is accounts.find_person(key, "token") is None
    assert accounts.accept(key, "her own words") == "eve"
    assert accounts.log_in("eve", "her own words") is not None
    late = accounts.invite("zoe", "annotator")
    clock.now += INVITATION_S + 1
    for used in (key, late, "nobody's"):
        with pytest.raises(StoreError, match="was used or has expired"):
            accounts.accept(used, "another horse")
    assert accounts.log_in("eve", "her own words") is not None


@pytest.mark.parametrize("name", ["ADA", "Ada", "аda", "ada\u200b", "b0b", "Bob", "ΒΟΒ"])
def test_names_that_look_like_another_are_refused(accounts, name):
    with pytest.raises(StoreError, match=r"looks like|not a valid name|mixes letters"):
        accounts.invite(name, "annotator")
    assert len(accounts.all()) == 2


@pytest.mark.parametrize("name", ["ada 2", "Владимир", "Åsa", "李明", "adab", "bo"])
def test_other_names_are_not(accounts, name):
    accounts.invite(name, "annotator")
    assert len(accounts.all()) == 3
