"""Named corruptions with five severities, for datasets without shifts of their own.

The corruptions follow ImageNet-C (Hendrycks and Dietterich, 2019). Lengths are relative to the
image's size, so that a severity means the same at 32 and at 224 pixels.
"""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

# Amounts at severities 1 to 5.
_NOISE = (0.04, 0.07, 0.10, 0.14, 0.18)  # standard deviation, pixels in [0, 1]
_IMPULSE = (0.01, 0.03, 0.05, 0.08, 0.12)  # share of pixels
_BLUR = (0.012, 0.018, 0.025, 0.035, 0.05)  # radius, fraction of the side
_CONTRAST = (0.7, 0.5, 0.38, 0.27, 0.18)  # factor
_BRIGHTNESS = (1.2, 1.4, 1.6, 1.8, 2.0)  # factor
_JPEG = (50, 35, 25, 15, 8)  # quality
_PIXELATE = (0.8, 0.65, 0.55, 0.45, 0.35)  # resolution, fraction of the side
_ROTATION = (10, 20, 30, 40, 50)  # largest angle, degrees
_OCCLUSION = (0.25, 0.32, 0.40, 0.48, 0.55)  # side of the patch, fraction of the side


def _noise(image, amount, rng):
    pixels = np.asarray(image) / 255 + rng.normal(0, amount, (*image.size[::-1], 3))
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def _impulse(image, amount, rng):
    pixels = np.array(image)
    where = rng.random(pixels.shape[:2]) < amount
    pixels[where] = 255 * rng.integers(0, 2, (where.sum(), 1))
    return Image.fromarray(pixels)


def _blur(image, amount, rng):
    return image.filter(ImageFilter.GaussianBlur(amount * image.width))


def _contrast(image, amount, rng):
    return ImageEnhance.Contrast(image).enhance(amount)


def _brightness(image, amount, rng):
    return ImageEnhance.Brightness(image).enhance(amount)


def _jpeg(image, amount, rng):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=amount)
    return Image.open(buffer).convert("RGB")


def _pixelate(image, amount, rng):
    small = [max(1, round(side * amount)) for side in image.size]
    return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def _rotation(image, amount, rng):
    angle = rng.uniform(-amount, amount)
    mean = tuple(np.asarray(image).reshape(-1, 3).mean(0).astype(int))
    return image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=mean)


def _occlusion(image, amount, rng):
    pixels = np.array(image)
    side = max(1, round(amount * image.width))
    top, left = (int(rng.integers(0, limit - side + 1)) for limit in pixels.shape[:2])
    pixels[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def _grayscale(image, amount, rng):
    return ImageEnhance.Color(image).enhance(amount)


CORRUPTIONS = {
    "noise": (_noise, _NOISE),
    "impulse_noise": (_impulse, _IMPULSE),
    "blur": (_blur, _BLUR),
    "contrast": (_contrast, _CONTRAST),
    "brightness": (_brightness, _BRIGHTNESS),
    "jpeg": (_jpeg, _JPEG),
    "pixelate": (_pixelate, _PIXELATE),
    "rotation": (_rotation, _ROTATION),
    "occlusion": (_occlusion, _OCCLUSION),
    "grayscale": (_grayscale, (0.8, 0.6, 0.4, 0.2, 0.0)),
}


def corrupt(images: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """Corrupt every image of a set.

    Args:
        images: uint8, shape (n, h, w, 3).
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: the random generator of image i is seeded with (seed, i), so that the result does
            not depend on the other images.

    Returns:
        uint8, shape (n, h, w, 3).
    """
    apply, amounts = CORRUPTIONS[name]
    out = np.empty_like(images)
    for i, image in enumerate(images):
        rng = np.random.default_rng([seed, i])
        out[i] = np.asarray(apply(Image.fromarray(image), amounts[severity - 1], rng))
    return out
