"""What a user of SEP would write without this project, with the two precautions that SEP needs.

float32 pixels are scaled by the power of two that brings the global RMS into [1, 2); masked pixels are set to 0
with an error of 1e30.
"""

import math

import numpy as np
import sep

DEFAULT_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)


def extract(
    pixels: np.ndarray,
    masked: np.ndarray | None = None,
    *,
    thresh: float = 1.5,
    err_option: str = "float_globalrms",
    kernel: np.ndarray | None = DEFAULT_KERNEL,
    filter_type: str = "matched",
    mesh: dict | None = None,
    **options: object,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sources, segmentation map, background and RMS maps, in the image's units."""
    rms = sep.Background(pixels.astype(np.float32), mask=masked, **(mesh or {})).globalrms
    scale = 2.0 ** (1 - math.frexp(rms)[1])
    data = (pixels * scale).astype(np.float32)
    background = sep.Background(data, mask=masked, **(mesh or {}))
    data -= background.back()
    err = {"float_globalrms": background.globalrms, "array_rms": background.rms(), "none": None}[err_option]
    if err_option == "none":
        thresh *= scale
    if masked is not None:
        data[masked] = 0
        err = np.full(data.shape, 1 if err is None else err, dtype=np.float32) if np.ndim(err) == 0 else err
        err[masked] = 1e30
    if err_option != "array_rms":
        filter_type = "conv"
    sources, labels = sep.extract(
        data, thresh, err=err, filter_kernel=kernel, filter_type=filter_type, segmentation_map=True, **options
    )
    for field in ("thresh", "flux", "cflux", "peak", "cpeak"):
        sources[field] /= scale
    if err_option == "none":
        for field in ("errx2", "erry2", "errxy"):
            sources[field] = 0
    return sources, labels, background.back() / np.float32(scale), background.rms() / np.float32(scale)
