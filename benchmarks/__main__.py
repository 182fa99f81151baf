"""List the benchmarks and the questions they answer; any Python can, without other packages."""

import ast
from pathlib import Path


def questions(folder: Path) -> dict[str, str]:
    """Return the first docstring line of each benchmark by name.

    It must be a question: other files, such as those that prepare data, are left out.
    """
    texts = {
        path.stem: ast.get_docstring(ast.parse(path.read_text())) or ""
        for path in sorted(folder.glob("*.py"))
    }
    first = {name: text.partition("\n")[0] for name, text in texts.items()}
    return {name: line for name, line in first.items() if line.endswith("?")}


if __name__ == "__main__":
    for name, question in questions(Path(__file__).parent).items():
        print(f"python -m benchmarks.{name:<12} {question}")
