"""One gray and one colored picture, in every form that files give them; made as the tests run."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, features

SIDE = 64
Y, X = np.mgrid[:SIDE, :SIDE]
GRAY = (X + 2 * Y).astype(np.uint8)
GRAY[8:20, 4:12] = 255
COLOR = np.stack([4 * X, 4 * Y, np.zeros_like(X)], axis=2).astype(np.uint8)
COLOR[8:20, 4:12] = (0, 0, 255)
GLYPH = np.zeros((SIDE, SIDE), np.uint8)
GLYPH[16:40, 8:24] = 255

LOSSLESS, ROUNDED, LOSSY = 0, 1, 12
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Form:
    """A file, what is in it, and how far a decoder may be off."""

    name: str
    payload: bytes
    pixels: np.ndarray
    tolerance: int


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tif(array, **options):
    return saved(Image.fromarray(array), "TIFF", **options)


def png_of_16_bits(values_HWC):
    """A PNG of 16-bit colors, which Pillow does not write."""
    height, width, channels = values_HWC.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def turned(orientation):
    """The colored picture as a camera stores it, and the tag that says how to turn it."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),  # to be turned to the right by a quarter
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return Image.fromarray(np.ascontiguousarray(undo[orientation](COLOR))), exif


def exif_behind_the_pixels(png):
    start = png.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(png[start : start + 4], "big")
    end = png.index(b"IEND") - 4
    return png[:start] + png[stop:end] + png[start:stop] + png[end:]


def swapped_profile():
    """A color profile in which red is blue and blue is red."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = icc.replace(b"rXYZ", b"?XYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"?XYZ", b"bXYZ", 1)
    return icc.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def in_three(gray):
    return np.repeat(np.asarray(gray, np.uint8)[:, :, None], 3, axis=2)


def layers(shade, alpha=GLYPH):
    color = Image.fromarray(np.full_like(alpha, shade))
    return Image.merge("RGBA", [color, color, color, Image.fromarray(alpha)])


def forms():
    """Return about fifty files of the two pictures."""
    gray, color = Image.fromarray(GRAY), Image.fromarray(COLOR)
    return [*_plain(gray, color), *_wide(), *_transparent(gray, color), *_special(gray, color)]


def _plain(gray, color):
    bits = GRAY > 100
    few = color.quantize(64)
    for kind in ("PNG", "BMP", "GIF", "TIFF"):
        yield Form(f"{kind} L", saved(gray, kind), in_three(GRAY), LOSSLESS)
        one = Image.fromarray(bits)
        yield Form(f"{kind} 1", saved(one, kind), in_three(255 * bits), LOSSLESS)
        yield Form(f"{kind} P", saved(few, kind), np.asarray(few.convert("RGB")), LOSSLESS)
    for kind in ("PNG", "BMP", "TIFF"):
        yield Form(f"{kind} RGB", saved(color, kind), COLOR, LOSSLESS)
    yield Form("WEBP lossless", saved(color, "WEBP", lossless=True), COLOR, LOSSLESS)
    yield Form("WEBP lossy", saved(gray.convert("RGB"), "WEBP", quality=95), in_three(GRAY), LOSSY)
    yield Form("JPEG L", saved(gray, "JPEG", quality=95), in_three(GRAY), LOSSY)
    yield Form("JPEG CMYK", saved(color.convert("CMYK"), "JPEG", quality=100), COLOR, LOSSY)
    yield Form("TIFF CMYK", saved(color.convert("CMYK"), "TIFF"), COLOR, ROUNDED)
    for orientation in range(1, 9):
        image, exif = turned(orientation)
        options = {"exif": exif, "quality": 100, "subsampling": 0}
        yield Form(f"JPEG {orientation}", saved(image, "JPEG", **options), COLOR, LOSSY)


def _wide():
    wide = GRAY.astype(np.uint16)
    unit = (GRAY / 255).astype(np.float32)
    yield Form("PNG 16 bits", saved(Image.fromarray(257 * wide), "PNG"), in_three(GRAY), ROUNDED)
    yield Form("TIFF 16 bits", tif(257 * wide), in_three(GRAY), ROUNDED)
    yield Form("TIFF 12 bits", tif(16 * wide), in_three(GRAY), ROUNDED)
    yield Form("TIFF 8 of 16 bits", tif(wide), in_three(GRAY), LOSSLESS)
    big = Image.frombytes("I;16B", (SIDE, SIDE), (257 * wide).astype(">u2").tobytes())
    yield Form("TIFF big-endian", saved(big, "TIFF"), in_three(GRAY), ROUNDED)
    inverted = TiffImagePlugin.ImageFileDirectory_v2()
    inverted[262] = 0  # white is zero
    negative = tif(257 * (255 - wide), tiffinfo=inverted)
    yield Form("TIFF white is zero", negative, in_three(GRAY), ROUNDED)
    yield Form("TIFF signed", tif(GRAY.astype(np.int32) * 100 - 9000), in_three(GRAY), ROUNDED)
    yield Form("TIFF 32 bits", tif(GRAY.astype(np.int32) * 2**20), in_three(GRAY), ROUNDED)
    yield Form("TIFF float", tif(unit), in_three(GRAY), ROUNDED)
    yield Form("TIFF float -1..1", tif(2 * unit - 1), in_three(GRAY), ROUNDED)
    yield Form("TIFF float 0..255", tif(255 * unit), in_three(GRAY), ROUNDED)
    yield Form("TIFF float any", tif(1e6 * unit - 3e5), in_three(GRAY), ROUNDED)
    holes = unit.copy()
    holes[40:50, 40:50] = np.nan
    holes[50:60, 40:50] = np.inf
    seen = GRAY.copy()
    seen[40:50, 40:50], seen[50:60, 40:50] = 0, 255
    yield Form("TIFF float with holes", tif(holes), in_three(seen), ROUNDED)
    deep = COLOR.astype(np.uint16)
    yield Form("PNG 16-bit RGB", png_of_16_bits(257 * deep), COLOR, ROUNDED)
    yield Form("PNG 12-bit RGB", png_of_16_bits(16 * deep), COLOR // 16 * 17, LOSSLESS)


def _transparent(gray, color):
    black, white = in_three(255 - GLYPH), in_three(GLYPH)
    for kind in ("PNG", "TIFF"):
        yield Form(f"{kind} black glyph", saved(layers(0), kind), black, LOSSLESS)
        yield Form(f"{kind} white glyph", saved(layers(255), kind), white, LOSSLESS)
    yield Form("WEBP black glyph", saved(layers(0), "WEBP", lossless=True), black, LOSSLESS)
    yield Form("PNG LA", saved(layers(0).convert("LA"), "PNG"), black, LOSSLESS)
    opaque = color.convert("RGBA")
    yield Form("PNG opaque RGBA", saved(opaque, "PNG"), COLOR, LOSSLESS)
    half = saved(layers(0, np.full_like(GLYPH, 0) + GLYPH // 2), "PNG")
    yield Form("PNG half transparent", half, 255 - in_three(GLYPH // 2), ROUNDED)
    palette = Image.fromarray(GLYPH).convert("P")
    for kind in ("PNG", "GIF"):
        payload = saved(palette, kind, transparency=0)
        yield Form(f"{kind} palette with transparency", payload, white, LOSSLESS)
    keyed = saved(Image.fromarray(in_three(GLYPH)), "PNG", transparency=(0, 0, 0))
    yield Form("PNG RGB with a transparent color", keyed, white, LOSSLESS)


def _special(gray, color):
    icc = swapped_profile()
    swapped = COLOR[:, :, ::-1]
    yield Form("PNG with a profile", saved(color, "PNG", icc_profile=icc), swapped, 3)
    options = {"quality": 100, "subsampling": 0, "icc_profile": icc}
    yield Form("JPEG with a profile", saved(color, "JPEG", **options), swapped, LOSSY)
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", struct.pack(">I", 100_000))
    yield Form("PNG with gamma", saved(color, "PNG", pnginfo=gamma), COLOR, LOSSLESS)
    image, exif = turned(6)
    yield Form("PNG turned", saved(image, "PNG", exif=exif), COLOR, LOSSLESS)
    yield Form("WEBP turned", saved(image, "WEBP", exif=exif, lossless=True), COLOR, LOSSLESS)
    yield Form("TIFF turned", saved(image, "TIFF", exif=exif), COLOR, LOSSLESS)
    soft = COLOR // 2 + 64  # LAB of 8 bits is coarse where colors are strong
    yield Form("TIFF LAB", saved(_in_lab(Image.fromarray(soft)), "TIFF"), soft, LOSSY)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options = {"quality": 100, "subsampling": 0, "xmp": xmp}
    yield Form("JPEG turned by XMP", saved(image, "JPEG", **options), COLOR, LOSSY)
    late = exif_behind_the_pixels(saved(image, "PNG", exif=exif))
    yield Form("PNG turned at its end", late, COLOR, LOSSLESS)
    more = {"save_all": True, "append_images": [Image.fromarray(255 - GRAY)]}
    more["duration"] = [20, 60_000]  # a player soon leaves the first frame, for long
    for kind in ("GIF", "PNG", "TIFF"):
        yield Form(f"{kind} of two frames", saved(gray, kind, **more), in_three(GRAY), LOSSLESS)
    moving = saved(gray.convert("RGB"), "WEBP", lossless=True, **more)
    yield Form("WEBP of two frames", moving, in_three(GRAY), LOSSLESS)
    photo = saved(gray, "MPO", quality=95, **more)
    yield Form("MPO", photo, in_three(GRAY), LOSSY)
    if features.check("avif"):
        yield Form("AVIF", saved(gray.convert("RGB"), "AVIF", quality=95), in_three(GRAY), LOSSY)


def _in_lab(color):
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    return ImageCms.profileToProfile(color, *profiles, outputMode="LAB")
