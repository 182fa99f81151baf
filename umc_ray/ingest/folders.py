"""Walk a local folder: every folder once, by its real path, wherever links lead."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

VISITED = "links to folders that are read anyway: not followed"
OUTSIDE = "links out of the source's folder: followed"
BROKEN = "broken links: ignored"


@dataclass
class Walk:
    """The files below a folder, and notes on the links among them."""

    folder: str
    notes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Remember the folders that have been visited, by their real paths."""
        self._root = os.path.realpath(self.folder)
        self._seen = {self._root}

    def files(self) -> Iterator[os.DirEntry[str]]:
        """Yield files and links to files, but nothing that is hidden; links to folders come last.

        Raises:
            OSError: a folder cannot be read.
            UnicodeEncodeError: a name is not UTF-8.
        """
        folders, links = [self.folder], list[os.DirEntry[str]]()
        while folders or links:
            folder = folders.pop() if folders else self._followed(links.pop(0))
            for entry in self._entries(folder) if folder else ():
                if not entry.is_dir():
                    yield entry
                elif entry.is_symlink():
                    links.append(entry)
                else:
                    folders += self._unseen(entry.path)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """Yield the folders and files of a folder, and the links to either."""
        for entry in _visible(folder):
            if entry.is_symlink() and not os.path.exists(entry.path):
                self.notes[BROKEN] += 1
            elif entry.is_dir():
                yield entry
            elif entry.is_file():
                self._note(entry)
                yield entry

    def _unseen(self, folder: str) -> list[str]:
        """Return a folder unless a link has led there before."""
        real = os.path.realpath(folder)
        if real in self._seen:
            return []
        self._seen.add(real)
        return [folder]

    def _followed(self, link: os.DirEntry[str]) -> str | None:
        """Return a link to a folder unless that has been visited."""
        new = self._unseen(link.path)
        if not new:
            self.notes[VISITED] += 1
            return None
        self._note(link)
        return link.path

    def _note(self, entry: os.DirEntry[str]) -> None:
        """Count a link that leads out of the folder."""
        if entry.is_symlink() and not self._is_inside(os.path.realpath(entry.path)):
            self.notes[OUTSIDE] += 1

    def _is_inside(self, real: str) -> bool:
        return real.startswith(f"{self._root.rstrip('/')}/")


def _visible(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in visible:
        entry.path.encode()
    return sorted(visible, key=lambda entry: entry.name)
