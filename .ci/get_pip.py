"""Put pip into a virtual environment that was made without it, from PyPI and with its hash."""

import hashlib
import json
import runpy
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

INDEX = "https://pypi.org/pypi/pip/json"


def main() -> None:
    """Download the newest pip wheel, check it, and let it install itself."""
    with urllib.request.urlopen(INDEX) as answer:
        files = json.load(answer)["urls"]
    wheel = next(file for file in files if file["packagetype"] == "bdist_wheel")
    with urllib.request.urlopen(urljoin(INDEX, wheel["url"])) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != wheel["digests"]["sha256"]:
        sys.exit(f"{wheel['filename']} does not have the hash that PyPI states")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / wheel["filename"]
        path.write_bytes(data)
        sys.path.insert(0, str(path))
        sys.argv = ["pip", "install", "--quiet", str(path)]
        runpy.run_module("pip", run_name="__main__")


if __name__ == "__main__":
    main()
