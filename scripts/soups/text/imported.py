"""The settings of an imported text model."""

from collections.abc import Mapping

from soups.errors import UserError


def check_settings(model, settings: Mapping) -> None:
    """Check that a model has the settings of the configuration.

    Args:
        model: the `text.models.TextModel`, perhaps from a file of another run of the workflow.
        settings: ``pooling`` and ``max_length``, which may be None.

    Raises:
        UserError: naming the setting, its value and that of the file.
    """
    for key, attribute in (("model.pooling", "pooling"), ("data.text.max_length", "max_length")):
        wanted, found = settings[attribute], getattr(model, attribute)
        if wanted not in (None, found):
            raise UserError(
                f"{key} is {wanted!r}, expected {found!r}, as model.pretrained was imported with"
            )
