"""The layer map of umc_ray/__init__.py, held against the imports in the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "umc_ray"
LAYERS = (
    ("errors", "invalid", "records", "config", "storage", "running"),
    ("methods",),
    ("pipeline",),
    ("annotation", "publication"),
    ("run",),
    ("round",),
    ("campaign",),
    ("labelstudio",),
    ("serving", "web"),
    ("client",),
    ("scoring", "discovery", "release", "console", "starter", "stopping"),
    ("demo",),
    ("cli",),
)
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names}
# The demo's data is fetched by low code and shown by high code: only show.py may look down on all.
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def _imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    found += [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    return found


def _top(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path):
    mine = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in _imports(path):
        if module.startswith("umc_ray."):
            assert LAYER[_top(module)] <= LAYER[mine], f"{mine} imports {module}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "methods").rglob("*.py")), ids=lambda path: path.name
)
def test_methods_never_import_ray(path: Path):
    assert not [name for name in _imports(path) if name.split(".")[0] == "ray"]


def test_the_round_can_be_read_at_one_sitting():
    assert len((ROOT / "round.py").read_text(encoding="utf-8").splitlines()) < 250


def test_heavy_libraries_are_not_imported_by_the_base():
    heavy = {"cuml", "cudf", "transformers", "diffusers"}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not heavy & {name.split(".")[0] for name in names}, path
