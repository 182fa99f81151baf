"""A picture of what the encoders see: samples of each image domain in their normal form."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from umc_ray.campaign.check import CampaignCheck, specimens_by_domain
from umc_ray.config.campaign import CampaignConfig
from umc_ray.errors import ConfigError
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.ingest.tally import Specimen
from umc_ray.ingest.validate import rules_of
from umc_ray.records import DomainKey

COLUMNS, ROWS = 10, 3  # of each domain
SIDE, GAP, LINE = 112, 8, 14
MARK = (224, 226, 230)  # around an image, so that white ones are seen as well
FONT = ImageFont.load_default(11)


def contact_sheet(check: CampaignCheck, config: CampaignConfig) -> bytes | None:
    """Return the sheet as PNG; None if there are no images."""
    domains = {
        domain_key: [each for each in specimens if each.image is not None][: COLUMNS * ROWS]
        for domain_key, specimens in specimens_by_domain(check).items()
    }
    strips = [
        _strip(domain_key, samples, rules_of(config, domain_key, "pool").sees_gray)
        for domain_key, samples in domains.items()
        if samples
    ]
    return _png(strips) if strips else None


def write_contact_sheet(sheet: bytes, path: Path) -> None:
    """Write the sheet.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.write_bytes(sheet)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}; name another --contact-sheet"
        ) from error


def _png(strips: Sequence[Image.Image]) -> bytes:
    """Put the strips of all domains below each other."""
    sheet = Image.new("RGB", (strips[0].width, sum(each.height for each in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _strip(domain_key: DomainKey, samples: Sequence[Specimen], is_gray: bool) -> Image.Image:
    """Draw the samples of a domain under its name, each over its label and its key."""
    cell = SIDE + 2 * LINE + GAP
    rows = -(-len(samples) // COLUMNS)
    size = (COLUMNS * (SIDE + GAP) + GAP, rows * cell + LINE + 2 * GAP)
    strip = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(strip)
    title = f"{domain_key}: as decoded for the encoders" + (", in gray" if is_gray else "")
    draw.text((GAP, GAP // 2), title, "black", FONT)
    for i, sample in enumerate(samples):
        left = GAP + i % COLUMNS * (SIDE + GAP)
        top = LINE + GAP + i // COLUMNS * cell
        _paste(strip, sample, (left, top), is_gray)
        for number, text in enumerate((sample.label or "", sample.key)):
            line_top = top + SIDE + number * LINE
            draw.text((left, line_top), _fitting(draw, text), "black", FONT)
    return strip


def _paste(strip: Image.Image, sample: Specimen, place: tuple[int, int], is_gray: bool) -> None:
    """Paste an image in the middle of its cell, as large as fits; small ones keep sharp pixels."""
    assert sample.image is not None
    image = decode_rgb(sample.image).convert("L" if is_gray else "RGB").convert("RGB")
    scale = min(SIDE / image.width, SIDE / image.height)
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    left, top = place[0] + (SIDE - size[0]) // 2, place[1] + (SIDE - size[1]) // 2
    frame = (left - 1, top - 1, left + size[0], top + size[1])
    ImageDraw.Draw(strip).rectangle(frame, outline=MARK)
    strip.paste(image.resize(size, how), (left, top))


def _fitting(draw: ImageDraw.ImageDraw, text: str) -> str:
    """Shorten a text from the left until it fits below an image."""
    while draw.textlength(text, FONT) > SIDE:
        text = "…" + text.lstrip("…")[1:]
    return text
