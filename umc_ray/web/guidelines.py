"""Annotation guidelines: a Markdown file, rendered to HTML without active content."""

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint


@dataclass(frozen=True)
class Guidelines:
    """Rendered guidelines; the version is stored with each answer."""

    html: str
    version: str | None


def read_guidelines(path: str | None) -> Guidelines:
    """Render a Markdown file; HTML in it is escaped, and javascript: links are not rendered.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return Guidelines("", None)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read annotation.guidelines {path}: {error}") from error
    # no images: they would come from other sites, which the content security policy blocks
    markdown = MarkdownIt("js-default", {"html": False}).disable("image").enable("table")
    return Guidelines(markdown.render(text), fingerprint(text))
