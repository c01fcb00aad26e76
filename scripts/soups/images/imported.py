"""The image size and the pixel statistics of an imported model."""

import logging

from soups.errors import UserError

log = logging.getLogger("soups")


def complete(model, params) -> None:
    """Give a model the configured image size and pixel statistics.

    Args:
        model: the `models.pretrained.Pretrained`, changed in place.
        params: of the rule ``import_pretrained``.

    Raises:
        UserError: if the model takes no images of the configured size.
    """
    own, size = model.image_size, params.image_size
    if size not in (None, own):
        # Ready-made models have the positions of the size that they were trained for.
        if params.source is None or not hasattr(model, "resize"):
            raise UserError(
                f"data.folders.image_size is {size}, expected {own}, the size of "
                f"model.architecture {params.architecture!r} with model.pretrained "
                f"{params.source!r}"
            )
        model.resize(size)
        log.info("the model takes images of %d pixels in place of %d", size, own)
    model.mean = params.pixels["mean"] or model.mean
    model.std = params.pixels["std"] or model.std
    log.info("the pixels have mean %s and std %s", model.mean, model.std)
