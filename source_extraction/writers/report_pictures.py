"""Arrays of the run -> the pictures of report.html, as text for embedding in a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image as Pictures
from PIL import ImageColor

from .pictures import MASKED_COLOR, greys
from .thumbnails import downsample_labels

# Up to this number of pixels a picture keeps every value, since small images are enlarged; above it, JPEG takes a third
# of the space and loses little more than noise.
MOST_LOSSLESS = 400_000
JPEG_QUALITY = 75
# zlib's level: higher ones do not compress noise any further.
COMPRESSION = 2
OUTLINE_COLOR = "#ffb000"  # for the outlines of the segmentation map: neither a grey nor the red of the ellipses


@dataclass(frozen=True)
class Layer:
    """A picture of the page: its name on buttons, its title, its meaning, and the picture itself (a data: URI).

    `over` names the layer below it, if it is transparent.
    """

    name: str
    title: str
    caption: str
    picture: str
    over: str = ""
    scale: tuple[float, float] | None = None  # the values of its darkest and its brightest colour


def layers(
    thumbnail: np.ndarray,
    sky_thumbnail: np.ndarray,
    background: np.ndarray,
    rms: np.ndarray,
    segmentation: np.ndarray,
    *,
    unit: str,
    rows_from_top: bool,
) -> list[Layer]:
    """All pictures, from the run's arrays.

    The first four have the pixels of a picture (height, width), in the image's `unit`; `segmentation` is the map of the
    whole image. Row 0 is at the bottom unless `rows_from_top`.
    """

    def upright(pixels: np.ndarray) -> np.ndarray:
        return pixels if rows_from_top else pixels[::-1]

    masked = "; blue is masked" if np.isnan(sky_thumbnail).any() else ""
    return [
        Layer(
            "subtracted",
            "Without background",
            f"The image without its background, in greys that show faint and bright sources alike{masked}.",
            _grey(upright(sky_thumbnail)),
        ),
        Layer(
            "image",
            "Image",
            "The image as it is, in greys that show faint and bright alike.",
            _grey(upright(thumbnail)),
        ),
        Layer(
            "outlines",
            "Outlines",
            "The outlines of the sources: the edges of the pixels that the segmentation map gives to each.",
            _outlines(upright(downsample_labels(segmentation))),
            over="subtracted",
        ),
        _map("background", "Background", "The background that was estimated", upright(background), unit),
        _map("rms", "Noise", "The noise of the background (its RMS)", upright(rms), unit),
    ]


def as_uri(data: bytes, kind: str) -> str:
    """A file as a data: URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _grey(pixels: np.ndarray) -> str:
    picture = Pictures.fromarray(greys(pixels, pixels))
    masked = np.isnan(pixels)
    if masked.any():
        picture = picture.convert("RGB")
        picture.paste(ImageColor.getrgb(MASKED_COLOR), mask=Pictures.fromarray(masked))
    return _encoded(picture)


def _map(name: str, title: str, meaning: str, values: np.ndarray, unit: str) -> Layer:
    """A smooth map in colours from its lowest to its highest value."""
    # Only after `pictures` has imported it, which handles user settings that are not text.
    from matplotlib import colormaps

    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    with np.errstate(invalid="ignore"):
        shade = np.nan_to_num((values - low) * (255 / (high - low) if high > low else 0.0))
    picture = Pictures.fromarray(np.clip(shade, 0, 255).astype(np.uint8))
    picture.putpalette((colormaps["viridis"](range(256))[:, :3] * 255).astype(np.uint8).tobytes())
    caption = f"{meaning}, in colours from {low:.5g} to {high:.5g}{unit and ' '}{unit}."
    return Layer(name, title, caption, _encoded(picture.convert("RGB")), scale=(low, high))


def _outlines(labels: np.ndarray) -> str:
    """The pixels of sources that touch another source, the sky or the image's edge; all others are transparent."""
    inside = labels > 0
    for axis in (0, 1):
        same = np.diff(labels, axis=axis) == 0
        ends = np.zeros((1, labels.shape[1]) if axis == 0 else (labels.shape[0], 1), dtype=bool)
        inside &= np.concatenate((same, ends), axis) & np.concatenate((ends, same), axis)
    picture = Pictures.fromarray(((labels > 0) & ~inside).astype(np.uint8))
    picture.putpalette([0, 0, 0, *ImageColor.getrgb(OUTLINE_COLOR)])
    data = BytesIO()
    picture.save(data, "PNG", bits=1, transparency=0)
    return as_uri(data.getvalue(), "png")


def _encoded(picture: Pictures.Image) -> str:
    data = BytesIO()
    if picture.width * picture.height <= MOST_LOSSLESS:
        picture.save(data, "PNG", compress_level=COMPRESSION)
        return as_uri(data.getvalue(), "png")
    picture.save(data, "JPEG", quality=JPEG_QUALITY)
    return as_uri(data.getvalue(), "jpeg")
