"""From original image pixels to network input pixels to output cells, and back.

One convention everywhere, COCO's: the centre of the pixel in column c and row r is
x = c, y = r. Output cell c covers the input pixels 4c to 4c + 3, so its centre is input
pixel 4c + 1.5. With that, mirroring the input (x' = W - 1 - x) and mirroring the maps
(c' = S - 1 - c) are the same mirroring.

A transform is a float64 array of shape (2, 3) that takes original pixels to input pixels,
as `cv2.warpAffine` uses it.
"""

import cv2
import numpy as np

from hgg.config import NUM_STRIDE


def letterbox(width: int, height: int, input_size: int) -> np.ndarray:
    """The un-augmented view: the longer side fills the input, centred, aspect kept (AE).

    Returns: (2, 3), original pixels to input pixels.
    """
    return augmented(width, height, input_size, angle=0.0, scale=1.0, shift_x=0.0, shift_y=0.0)


def augmented(
    width: int,
    height: int,
    input_size: int,
    *,
    angle: float,
    scale: float,
    shift_x: float,
    shift_y: float,
) -> np.ndarray:
    """A turned, scaled and shifted view, as AE augments.

    The input shows a square crop of the original whose side is `scale` times the longer
    side, so people grow as `scale` falls.

    Args:
        width, height: size of the original image in pixels.
        input_size: side of the square network input in pixels.
        angle: degrees about the image's centre; positive turns the picture clockwise on screen.
        scale: side of the crop as a multiple of the longer side, above 0; 1 is the letterbox.
        shift_x, shift_y: how far the picture moves right and down, as shares of the crop's side.

    Returns: (2, 3), original pixels to input pixels.
    """
    zoom = input_size / (max(width, height) * scale)
    cos, sin = zoom * np.cos(np.radians(angle)), zoom * np.sin(np.radians(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    target = (input_size - 1) / 2 + input_size * np.array([shift_x, shift_y])
    return np.column_stack([turn, target - turn @ centre])


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Move points (..., 2) of x, y by a transform (2, 3); returns (..., 2) float64."""
    return np.asarray(points, np.float64) @ transform[:, :2].T + transform[:, 2]


def invert(transform: np.ndarray) -> np.ndarray:
    """The transform (2, 3) that undoes this one."""
    turn = np.linalg.inv(transform[:, :2])
    return np.column_stack([turn, -turn @ transform[:, 2]])


def to_cells(points_pixels: np.ndarray) -> np.ndarray:
    """Input pixels to output cells, both counted at their centres."""
    return (points_pixels + 0.5) / NUM_STRIDE - 0.5


def to_pixels(points_cells: np.ndarray) -> np.ndarray:
    """Output cells to input pixels, both counted at their centres."""
    return (points_cells + 0.5) * NUM_STRIDE - 0.5


def into_cells(transform: np.ndarray) -> np.ndarray:
    """The transform (2, 3) from original pixels on to output cells."""
    return np.column_stack([transform[:, :2] / NUM_STRIDE, to_cells(transform[:, 2])])


def cells_inside(
    width: int, height: int, transform: np.ndarray, columns: int, rows: int | None = None
) -> np.ndarray:
    """Which output cells lie on the photograph, at least in part; (rows, columns) bool, square by default."""
    cells = (np.arange(columns, dtype=np.float64), np.arange(rows or columns, dtype=np.float64))
    centres = np.stack(np.meshgrid(*cells), axis=-1)  # rows, columns, (x, y)
    places = apply(invert(transform), to_pixels(centres))
    reach = 0.5 + 0.5 / np.sqrt(area_ratio(transform))  # half a pixel and half a cell
    return ((places > -reach) & (places < np.array([width, height]) - 1 + reach)).all(axis=-1)


def area_ratio(transform: np.ndarray) -> float:
    """Output cells squared per original pixel squared."""
    return float(abs(np.linalg.det(transform[:, :2]))) / NUM_STRIDE**2


def warp(image: np.ndarray, transform: np.ndarray, columns: int, rows: int | None = None) -> np.ndarray:
    """Resample an image (H, W, 3) uint8 into the network input (rows, columns, 3), black outside.

    Without `rows` the input is square.

    Bilinear sampling skips pixels when it shrinks by more than two, so an image that is to
    shrink so far is first averaged down by a whole factor. Maps (H, W) and other targets
    than the input work alike.
    """
    factor = int(1 / np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    if factor > 1:
        image, transform = _shrink(image, transform, factor)
    return cv2.warpAffine(image, transform, (columns, rows or columns), flags=cv2.INTER_LINEAR)


def _shrink(image: np.ndarray, transform: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Average an image down; the transform then starts from the smaller image's pixels."""
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    steps = np.array([width / small[0], height / small[1]])  # original pixels per small pixel
    shifted = transform[:, 2] + transform[:, :2] @ ((steps - 1) / 2)
    smaller = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return smaller, np.column_stack([transform[:, :2] * steps, shifted])
