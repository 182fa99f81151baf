"""The layer map in the docstring of umc_ray/__init__.py, compared with the imports in the code."""

import ast
from pathlib import Path

import pytest

import umc_ray

ROOT = Path(__file__).parent.parent / "umc_ray"
LAYERS = [line.split() for line in str(umc_ray.__doc__).splitlines() if line.startswith("    ")]
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")
MAX_LINES = 350


def _imports(path: Path) -> list[str]:
    """Name every module that a file imports; for `from umc_ray import x`, x too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found.append(module)
            if (ROOT.parent / module.replace(".", "/")).is_dir():
                found += [f"{module}.{alias.name}" for alias in node.names]
    return found


def _own(path: Path) -> list[str]:
    return [name for name in _imports(path) if name.startswith("umc_ray.")]


def test_the_map_names_exactly_what_is_there():
    there = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py"}
    there |= {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert set(LAYER) == there - {"__init__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up_the_map(path):
    mine = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in _own(path):
        assert LAYER[module.split(".")[1]] <= LAYER[mine], f"{mine} imports {module}"


def test_no_modules_import_each_other_in_a_cycle():
    known = {
        ".".join(("umc_ray", *path.relative_to(ROOT).with_suffix("").parts)) for path in MODULES
    }
    graph = {
        ".".join(("umc_ray", *path.relative_to(ROOT).with_suffix("").parts)): {
            name for name in _own(path) if name in known
        }
        for path in MODULES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "methods").rglob("*.py")), ids=lambda path: path.name
)
def test_methods_never_import_ray(path):
    assert not [name for name in _imports(path) if name.split(".")[0] == "ray"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_can_be_read_at_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_heavy_libraries_are_not_imported_by_the_base():
    heavy = {"cuml", "cudf", "transformers", "timm", "diffusers"}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in top:
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            assert not heavy & {name.split(".")[0] for name in names}, path
