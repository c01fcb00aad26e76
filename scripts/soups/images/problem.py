"""The problem of image classification. The modules of `data`, `models` and others do the work."""

import numpy as np

from soups.problems import Problem


class Images(Problem):
    """Image classification, on drawn images or on image folders."""

    name = "images"
    example, examples = "image", "images"
    unlabelled = "images/"
    checked = "Corrupt images are left out."
    tower, compared = "image tower", ("mean", "std")

    def check(self, config):
        from soups.images import settings

        return settings.check(config)

    def shifts(self, data):
        from soups.images import settings

        return settings.shifts(data)

    def store(self, data):
        from soups.images import settings

        return settings.store(data)

    def source(self, data):
        """`experiment.sources.Folders`, or None if the images are drawn."""
        from soups.experiment.sources import Folders

        return Folders.of(data) if data["source"] == "folders" else None

    def rules(self, data):
        return "data_folders.smk" if data["source"] == "folders" else "data_world.smk"

    def tables(self, source):
        if source is None:
            return []
        return ["data", "real"] if source.real else ["data"]

    def has_zeroshot(self, model):
        from soups.models import architectures

        return architectures.has_text(model)

    def inputs(self, data):
        """A memory-mapped array, images in a folder, or images in one file of JPEGs."""
        from soups.images.originals import originals

        decode = data.meta.get("decode") or {}
        if "ends" not in decode:
            return originals(data)
        from soups.data.decode import PackedImages

        ends, packed = (data.path.with_name(decode[key]) for key in ("ends", "packed"))
        return PackedImages(packed, np.load(ends), decode["size"], decode["upright"])

    def copied(self, data, rows, threads):
        from soups.data import decode
        from soups.images.originals import originals

        return decode.blocks(originals(data), threads, rows)

    def family(self, architecture):
        from soups.models.pretrained import family

        return family(architecture)

    def check_import(self, model, params, ours):
        from soups.images.imported import complete

        if not ours:
            complete(model, params)

    def check_inputs(self, inputs, pretrained):
        from soups.models.forward import check_size

        check_size(inputs, pretrained.image_size)

    def transforms(self, hyperparameters, inputs):
        from soups.data.loading import Transforms

        return Transforms.of(hyperparameters, inputs.shape[1])

    def batches(self, inputs, rows, size, epoch, seed):
        from soups.training import optim

        return list(optim.batches(len(rows), size, epoch, seed))

    def augmented(self, model, batch, strength, generator):
        from soups.training.augment import augment

        return augment(model.pixels(batch), strength, generator)

    def card(self, config, note, heldout, model):
        from soups.images.card import entries

        return entries(config, note, heldout, model)

    def given(self, card, places, listed=None, columns=None):
        from soups.errors import UserError
        from soups.images.given import GivenImages, images_of

        if columns:
            raise UserError(f"--columns is {columns!r}, expected no such option for images")
        return GivenImages(card, images_of(places, listed))

    def facts(self, card):
        pixels = f"{card['image_size']} pixels, {card['resize']}, {card['crop']} crop"
        unit = "unit length" if card["normalize_features"] else "as they are"
        pixels = f"{pixels}, mean {card['mean']}, std {card['std']}"
        return [("images", pixels), ("features", unit)]

    def compared_logits(self, ours, theirs, card):
        from soups.images.export import compared_logits

        return compared_logits(ours, theirs, card)

    def write_beside(self, folder, library, card):
        from soups.images.export import write_processor

        write_processor(folder, card)

    def sheet(self, sets, classes, params):
        from soups.images.sheet import sheet

        return sheet(sets, classes, params)

    def class_names(self, data):
        source = self.source(data)
        return _drawn_classes() if source is None else source.classes

    def known_numbers(self, config, shifts):
        from soups.images import counts

        return counts.known(config, shifts)

    def numbers(self, data, corpus):
        from soups.images import counts

        return counts.numbers(data, corpus)

    def prepared_bytes(self, config):
        from soups.images import counts

        return counts.prepared_bytes(config)

    def classifier_bytes(self, config, classes):
        from soups.images import models

        return models.classifier_bytes(config["model"]["architecture"], classes)

    def random_model(self, config, classes):
        from soups.images import models

        size = (config.get("data", {}).get("folders") or {}).get("image_size")
        return models.random_model(config["model"]["architecture"], classes, size)

    def preparation(self, plan, numbers):
        from soups.images import counts

        return counts.preparation(plan, numbers)

    def samples(self, pretrained, data, store, folder):
        from soups.images.samples import ImageSamples

        return ImageSamples(pretrained.image_size, data, store, folder)


def _drawn_classes() -> list[str]:
    from soups.world.shapes import CLASSES

    return [shape.name for shape in CLASSES]


PROBLEM = Images()
