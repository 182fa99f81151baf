"""Checks of contents, by blocked words and by a function of the user's."""

import pytest

from umc_ray.config.generator import FiltersConfig, GeneratorConfig
from umc_ray.config.refine import RefineConfig
from umc_ray.diversity.content import (
    BlockedWords,
    UnsafeContents,
    content_checks,
    first_reason,
    imported,
)
from umc_ray.errors import ConfigError


@pytest.fixture
def rules(tmp_path, monkeypatch):
    """A module of the user's."""
    (tmp_path / "shop_rules.py").write_text(
        "LIMIT = 3\n"
        "def too_long(payload):\n"
        "    return f'longer than {LIMIT}' if len(payload) > LIMIT else None\n"
        "def fails(payload):\n    raise KeyError('nothing')\n"
        "def says_yes(payload):\n    return True\n"
    )
    (tmp_path / "broken_rules.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    imported.cache_clear()


def test_words_are_blocked_regardless_of_case_and_images_have_none():
    check = BlockedWords(("secret", r"\d{3}-\d{4}"))
    assert check("My SECRET plan") == "blocked: secret"
    assert check("call 555-1234") == r"blocked: \d{3}-\d{4}"
    assert check("a plan") is None
    assert check(b"secret") is None


def test_a_pattern_that_is_no_regular_expression_is_refused_when_the_file_is_read():
    with pytest.raises(ValueError, match="no regular expression"):
        GeneratorConfig(kind="transforms", filters={"blocked": ["("]})


def test_a_function_of_the_users_refuses_texts_and_images_after_blocked_words(rules):
    checks = content_checks(FiltersConfig(blocked=["bomb"]), "shop_rules:too_long")
    given = ["fit", "a bomb", "peace", b"png", b"a file"]
    assert [first_reason(checks, each) for each in given] == [
        None,
        "blocked: bomb",
        "longer than 3",
        None,
        "longer than 3",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_rules:f", "no_rules cannot be imported: ModuleNotFoundError: .*put its folder on"),
        ("broken_rules:f", "broken_rules cannot be imported: .*no_such_package"),
        ("shop_rules:gone", "gone of shop_rules is not there"),
        ("shop_rules:LIMIT", "LIMIT of shop_rules is no function"),
        ("shop_rules:fails", "shop_rules:fails failed: KeyError: 'nothing'"),
        ("shop_rules:says_yes", "returned True; it must return why"),
    ],
)
def test_a_function_that_cannot_decide_stops_with_its_name(rules, name, message):
    with pytest.raises(ConfigError, match=message):
        UnsafeContents(name)("a text")


@pytest.mark.parametrize("name", ["rules.py", "/tmp/rules.py:f", "rules:f()", ":f", "a:b.c"])
def test_only_names_that_can_be_imported_are_taken(name):
    with pytest.raises(ValueError, match="names no function"):
        RefineConfig(unsafe=name)
