"""Shape without texture and shape against texture, for images that come with a mask of their object.

Geirhos et al., "ImageNet-trained CNNs are biased towards texture" (ICLR 2019), section 2: black silhouettes
and Canny edges on white, and cue conflict. Theirs was made by style transfer; here a texture fills another
object's shape, as in their filled silhouettes.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gencls.errors import GenclsError
from gencls.stimuli.manipulations._images import as_batch, grey, number, pieces


def silhouette(mask: np.ndarray) -> np.ndarray:
    """The object in black on white.

    `mask` is H×W or n×H×W, bool, True on the object; the result is H×W×3 or n×H×W×3, float64, 0 or 1.
    Raises GenclsError for a mask of another type or shape, and for one without an object.
    """
    masks = _masks(mask, "silhouette")
    return np.repeat(np.where(masks, 0.0, 1.0)[..., None], 3, axis=-1)


def edges(image: np.ndarray, mask: np.ndarray | None = None, sigma: float = 2**0.5, share: float = 0.3) -> np.ndarray:
    """Canny's edges, black on white.

    `image` is H×W×3 or n×H×W×3, float RGB in [0, 1]; so is the result, of 0 and 1. With a `mask` (H×W or
    n×H×W, bool) all outside the object is taken to be white, so that its outline and what lies inside are all
    that is drawn. `sigma`, in pixels, is the blur; edges start where the gradient is among the `share` of
    pixels with the steepest ones and go on down to 0.4 of that threshold (as in Matlab, with which the
    benchmark's edges were drawn). Canny, "A computational approach to edge detection" (1986). Raises
    GenclsError for bad images, masks and numbers.
    """
    what = "edges"
    number(sigma, what, "sigma", 0)
    number(share, what, "share", 0, 1)
    batch, single = as_batch(image, what)
    masks = None if mask is None else _matching(mask, batch, single, what)
    out = np.ones_like(batch, order="C")
    for rows, piece in pieces(batch, what):
        light = grey(piece, double=True)
        if masks is not None:
            light[~masks[rows]] = 1
        for i, plane in enumerate(light):
            out[rows.start + i][_canny(plane, sigma, share)] = 0
    return out[0] if single else out


def texture_patch(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An object's texture all over the image: the largest square inside its mask, continued by mirroring.

    `image` is H×W×3, float RGB in [0, 1]; so is the result. `mask` is H×W, bool, True on the object.
    Raises GenclsError for bad images and masks, and where the largest square is below 2×2 pixels.
    """
    what = "texture"
    batch, single = as_batch(image, what)
    if not single:
        raise GenclsError(f"{what}: one image at a time, not {len(batch)}; call it for each")
    inside = _matching(mask, batch, single, what)[0]
    _, piece = next(pieces(batch, what))
    # side[y, x]: of the largest square whose lower right corner is there; each row only needs the one above
    # it.
    corner, side = (0, 0), 0
    above = np.zeros(inside.shape[1] + 1, int)
    for y, row in enumerate(inside):
        current = np.zeros_like(above)
        for x in np.flatnonzero(row):
            current[x + 1] = 1 + min(above[x], above[x + 1], current[x])
        if current.max() > side:
            side = int(current.max())
            corner = (y + 1 - side, int(current.argmax()) - side)
        above = current
    if side < 2:
        raise GenclsError(
            f"{what}: no square of 2×2 pixels lies inside the mask; the object is too thin to show a texture"
        )
    top, left = corner
    height, width = inside.shape
    rows = np.pad(np.arange(top, top + side), (top, height - top - side), "symmetric")
    columns = np.pad(np.arange(left, left + side), (left, width - left - side), "symmetric")
    return piece[0][np.ix_(rows, columns)]


def cue_conflict(texture: np.ndarray, mask: np.ndarray, background: float = 1.0) -> np.ndarray:
    """The shape of one object filled with the texture of another.

    `texture` is H×W×3 or n×H×W×3, float RGB in [0, 1], and so is the result; for the texture of an object
    that comes with a mask of its own see `texture_patch`. `mask` is H×W or n×H×W, bool, True on the object
    whose shape is shown. `background` is the grey outside, 1 for white. Raises GenclsError for bad images,
    masks and backgrounds.
    """
    what = "cue conflict"
    level = number(background, what, "background", 0, 1)
    batch, single = as_batch(texture, what)
    masks = _matching(mask, batch, single, what)
    out = np.full_like(batch, level, order="C")
    for rows, piece in pieces(batch, what):
        out[rows][masks[rows]] = piece[masks[rows]]
    return out[0] if single else out


def _masks(mask: np.ndarray, what: str) -> np.ndarray:
    masks = np.asarray(mask)
    if masks.dtype != bool or masks.ndim not in (2, 3):
        raise GenclsError(
            f"{what}: a mask is H×W (or n×H×W) bool, True on the object, "
            f"not {'×'.join(map(str, masks.shape))} {masks.dtype}"
        )
    empty = np.flatnonzero(~masks.reshape(-1, *masks.shape[-2:]).any(axis=(1, 2)))
    if len(empty):
        raise GenclsError(f"{what}: mask {empty[0]} holds no object; leave that image out")
    return masks


def _matching(mask: np.ndarray, batch: np.ndarray, single: bool, what: str) -> np.ndarray:
    """The masks of a batch, n×H×W."""
    masks = _masks(mask, what)
    wanted = batch.shape[1:3] if single else batch.shape[:3]
    if masks.shape != wanted:
        raise GenclsError(
            f"{what}: the mask is {'×'.join(map(str, masks.shape))}, the image asks for {'×'.join(map(str, wanted))}"
        )
    return masks[None] if single else masks


def _canny(light: np.ndarray, sigma: float, share: float) -> np.ndarray:
    """H×W bool: where edges are."""
    smooth = ndimage.gaussian_filter(light, sigma, mode="nearest")
    dy, dx = ndimage.sobel(smooth, axis=0, mode="nearest"), ndimage.sobel(smooth, axis=1, mode="nearest")
    steepness = np.hypot(dx, dy)
    if steepness.max() < 1e-9:  # nothing but rounding
        return np.zeros(light.shape, bool)
    # An edge is a maximum along the gradient, between whose neighbours the steepness is interpolated.
    y, x = np.indices(light.shape)
    with np.errstate(invalid="ignore"):
        step = np.nan_to_num(np.stack([dy, dx]) / np.maximum(np.abs(dy), np.abs(dx)))
    ahead, behind = (
        ndimage.map_coordinates(steepness, [y + sign * step[0], x + sign * step[1]], order=1) for sign in (1, -1)
    )
    ridge = (steepness > behind) & (steepness >= ahead)
    high = max(np.quantile(steepness, 1 - share), 1e-9)
    strong = ridge & (steepness >= high)
    return ndimage.binary_propagation(strong, np.ones((3, 3)), ridge & (steepness >= 0.4 * high))
