"""Whether models, their start, their classes and the folders of images fit together."""

from collections import Counter
from collections.abc import Sequence

from soups.data import prompts
from soups.errors import LeftOut, UserError
from soups.models.fitting import class_order, layouts
from soups.models.foreign import reading
from soups.models.pretrained import Pretrained
from soups.setup.images import Images
from soups.setup.models import Seen


def check_several(seen: Sequence[Seen], usable: Sequence[Seen], architecture: str | dict) -> None:
    """Check that there are two models to average."""
    if len(seen) == 1:
        raise UserError(
            f"--checkpoints finds one model ({seen[0].path}), expected at least two because a soup "
            "is the average of several models"
        )
    if len(usable) < 2:
        raise UserError(
            f"--checkpoints finds {len(seen)} models, of which {len(usable)} can be read and has "
            f"the architecture {architecture}, expected at least two because a soup is the average "
            "of several models"
        )


def check_classes(seen: Sequence[Seen], file: str | None, data: Images) -> list[str]:
    """Check class names and numbers of classes against the class folders.

    Args:
        seen: the models of the architecture.
        file: the file of ``--classes``, or None.
        data: the folders of images.

    Returns:
        a sentence about models that the run will leave out, or nothing.

    Raises:
        UserError: if the classes of the file fit no model or not the folders, or if fewer than two
            models fit.
    """
    order = class_order.from_file(file) if file else None
    titles = prompts.display_names(data.classes, None)
    if order:
        _check_order(seen, file, order, data, titles)
    wrong = {each.name: why for each in seen if (why := _contradiction(each, order, data, titles))}
    if len(seen) - len(wrong) < min(2, len(seen)):
        raise UserError(next(iter(wrong.values())))
    return [f"The run will leave out {name}: {why}" for name, why in wrong.items()]


def _check_order(
    seen: Sequence[Seen], file: str, order: Sequence[str], data: Images, titles: Sequence[str]
) -> None:
    counts = Counter(each.found.classes for each in seen if each.found.classes)
    if counts and len(order) not in counts:
        raise UserError(
            f"--classes is {file!r} with {len(order)} class names, expected "
            f"{counts.most_common(1)[0][0]}, as the heads of the models have"
        )
    try:
        class_order.rows(order, data.classes, titles, f"--classes {file}")
    except LeftOut as error:
        raise UserError(str(error)) from None


def _contradiction(
    each: Seen, order: Sequence[str] | None, data: Images, titles: Sequence[str]
) -> str:
    """Why the classes of a model do not fit, or "". The import of a model has the same rules."""
    count, have = each.found.classes, len(data.classes)
    names = each.names
    if names and order and class_order.unrelated(names, data.classes, titles):
        names = None  # such as numbers, which --classes replaces
    for given, where in ((names, each.path), (order, "--classes")):
        if given and count and len(given) != count:
            return (
                f"{each.path} has a head for {count} classes, but {where} names {len(given)}, "
                "expected as many"
            )
    if names:
        try:
            rows = class_order.rows(names, data.classes, titles, each.path)
        except LeftOut as error:
            return str(error)
        if order and rows != class_order.rows(order, data.classes, titles, "--classes"):
            return (
                f"{each.path} names its classes in another order than --classes, expected the same"
            )
    elif not order and count and count != have:
        return (
            f"{each.path} has a head for {count} classes, but {data.root}/{data.train} has {have} "
            "class folders, expected the classes of the models"
            + (" or --classes with their names" if count > have else "")
        )
    return ""


def check_start(
    file: str, model: Pretrained, weights: str, classes: str | None, data: Images
) -> None:
    """Check that the start can be read and fits, as its import in the run does.

    Args:
        file: the file of ``--start``.
        model: a model of the architecture.
        weights: which weights of a training file are read, "plain" or "ema".
        classes: the file of ``--classes``, or None.
        data: the folders of images.

    Raises:
        UserError: if it is unreadable, or if it has another architecture or other classes.
    """
    order = class_order.from_file(classes) if classes else None
    titles = prompts.display_names(data.classes, None)
    try:
        layouts.fit(
            reading.read(file, weights), model, data.classes, "as is", titles=titles, order=order
        )
    except LeftOut as error:
        raise UserError(f"--start is {file!r}, which cannot be used ({error.verdict}): {error}") \
            from None  # fmt: skip
