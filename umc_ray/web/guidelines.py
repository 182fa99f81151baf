"""Guidelines: Markdown of the campaign's owner, as HTML that holds nothing but formatting."""

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint


@dataclass(frozen=True)
class Guidelines:
    """What the page shows; the version is stored with each answer."""

    html: str
    version: str | None


def read_guidelines(path: str | None) -> Guidelines:
    """Read a Markdown file; HTML in it is shown as text, links with scripts are no links.

    Raises:
        ConfigError: it cannot be read.
    """
    if path is None:
        return Guidelines("", None)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read annotation.guidelines {path}: {error}") from error
    # images would be loaded from elsewhere, which the page's policy forbids anyway
    markdown = MarkdownIt("js-default", {"html": False}).disable("image")
    return Guidelines(markdown.render(text), fingerprint(text))
