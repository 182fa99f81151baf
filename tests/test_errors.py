import pytest

from umc_ray.errors import DataError, message_of


class Remote(DataError):
    """As Ray raises what a task has raised: with its trace."""

    def __init__(self, cause):
        super().__init__(f"ray::task()\n  File x, line 1\n{cause!r}")
        self.cause = cause


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("row 3 is bad"), "row 3 is bad"),
        (Remote(DataError("row 3 is bad")), "row 3 is bad"),
        (Remote(Remote(DataError("row 3 is bad"))), "row 3 is bad"),
        (Remote(ValueError("what")), "ValueError('what')"),
        (KeyError("x"), "KeyError('x')"),
    ],
)
def test_what_an_error_says_comes_without_the_trace_of_another_process(error, said):
    assert message_of(error) == said
