"""How a request that breaks the rules of its form is told so."""

from collections.abc import Sequence
from typing import Any


def first_problem(problems: Sequence[Any]) -> str:
    """Say what is wrong where, such as samples.3.text; keys that a client made up are not named.

    Args:
        problems: what FastAPI's `RequestValidationError.errors()` gives.
    """
    problem = problems[0]
    where = problem["loc"][1:]
    if problem["type"] == "extra_forbidden":
        where = (*where[:-1], "(unknown key)")
    if problem["type"] == "json_invalid":
        return "the body is not JSON"
    return f"{'.'.join(map(str, where)) or 'body'}: {problem['msg']}"
