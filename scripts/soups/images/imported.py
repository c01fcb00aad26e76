"""The pixels of an imported model."""

import logging

from soups.errors import UserError

log = logging.getLogger("soups")


def complete(model, params) -> None:
    """Check the size of a model's images, and give it the configured pixel statistics.

    Args:
        model: the `models.pretrained.Pretrained`, changed in place.
        params: of the rule ``import_pretrained``.

    Raises:
        UserError: if the configuration has another size.
    """
    if params.image_size not in (None, model.image_size):
        raise UserError(
            f"data.folders.image_size is {params.image_size}, expected {model.image_size}, the "
            f"size of model.architecture {params.architecture!r} with model.pretrained "
            f"{params.source!r}"
        )
    model.mean = params.pixels["mean"] or model.mean
    model.std = params.pixels["std"] or model.std
    log.info("the pixels have mean %s and std %s", model.mean, model.std)
