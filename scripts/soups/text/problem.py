"""The problem of text classification. The other modules of this package do the work."""

from typing import ClassVar

from soups.problems import Problem


class Text(Problem):
    """Text classification: one text or two, in files of the user or of GLUE."""

    name = "text"
    example, examples = "text", "texts"
    unlabelled = "texts.txt"
    checked = (
        "The column cut counts texts that are longer than the model takes. Repeated texts, and "
        "texts that are also in the training set, are counted and stay."
    )
    captions: ClassVar = {
        "contact_sheet": (
            "One text of every class in the test set and every shift. Long texts are cut."
        ),
    }
    tower, compared = "text encoder", ("pooling",)
    modules = (*Problem.modules, "soups.text.models")
    off: ClassVar = {
        "mixup": 0,
        "crop": 1,
        "interpolation": "bicubic",
        "flip": 0,
        "rand_augment_ops": 0,
        "rand_augment_magnitude": 0,
    }

    def check(self, config):
        from soups.text import packages, settings

        packages.check(config["data"])
        return settings.check(config)

    def shifts(self, data):
        from soups.text import settings

        return settings.shifts(data)

    def offered_shifts(self, data):
        from soups.text import settings

        return settings.offered_shifts(data)

    def source(self, data):
        """`text.source.Texts`."""
        from soups.text.source import Texts

        return Texts.of(data)

    def rules(self, data):
        return "data_text.smk"

    def tables(self, source):
        return ["data"]

    def model_settings(self, config):
        from soups.text import settings

        length = settings.settings_of(config["data"])["max_length"]
        return {"pooling": config["model"]["pooling"], "max_length": length}

    def metric(self, data):
        from soups.text import settings

        return settings.metric(data)

    def inputs(self, data):
        from soups.text.tokens import Tokens

        return Tokens(data.path)

    def copied(self, data, rows, threads):
        yield data.inputs[rows]

    def described(self, data):
        return {"problem": self.name, "pad": data.meta["pad"]}

    def family(self, architecture):
        from soups.text.models import TextModel

        return TextModel

    def check_import(self, model, params, ours):
        from soups.text.imported import check_settings

        check_settings(model, params.settings)

    def check_inputs(self, inputs, pretrained):
        from soups.text.tokens import check_fit

        check_fit(inputs, pretrained)

    def check_beside(self, path, pretrained):
        from soups.text.ready_made import check_tokenizer

        check_tokenizer(path, pretrained)

    def batches(self, inputs, rows, size, epoch, seed):
        from soups.text.batches import of_similar_length

        return of_similar_length(inputs.lengths[rows], size, epoch, seed)

    def augmented(self, model, batch, strength, generator):
        from soups.text.augment import masked

        return masked(batch, strength, model.mask_token, model.special, generator)

    def card(self, config, note, heldout, model):
        from soups.text.card import entries

        return entries(note, heldout)

    def given(self, card, places, listed=None, columns=None):
        from soups.errors import UserError
        from soups.text import packages

        packages.require("the model classifies texts")
        from soups.text.given import GivenTexts

        if listed:
            raise UserError(f"--list is {listed!r}, expected no such option for texts")
        return GivenTexts.of(card, places, columns)

    def facts(self, card):
        texts = "two texts" if card["pair"] else "one text"
        length = f"an example is {texts}, cut to {card['max_length']} tokens"
        return [("texts", length), ("features", f"pooling {card['pooling']}")]

    def compared_logits(self, ours, theirs, card):
        from soups.text.export import compared_logits

        return compared_logits(ours, theirs, card)

    def write_beside(self, folder, library, card):
        from soups.text.export import write_tokenizer

        write_tokenizer(folder, library, card)

    def sheet(self, sets, classes, params):
        from soups.text.sheet import sheet

        return sheet(sets, classes)

    def class_names(self, data):
        return self.source(data).classes

    def numbers(self, data, corpus):
        from soups.text import counts

        return counts.numbers(self.source(data)), 0

    def preparation(self, plan, numbers):
        from soups.text import counts

        return counts.preparation(numbers)

    def classifier_bytes(self, config, classes):
        import torch

        from soups.models.sizes import size_of

        with torch.device("meta"):  # shapes without memory
            encoder = self.random_model(config, classes).whole
        return size_of(encoder) + 4 * (encoder.config.hidden_size + 1) * len(classes)

    def random_model(self, config, classes):
        from soups.text.models import TextModel

        return TextModel(config["model"]["architecture"], **self.model_settings(config))

    def samples(self, pretrained, data, store, folder):
        from soups.text.samples import TextSamples

        return TextSamples(pretrained, self.source(data), folder)


PROBLEM = Text()
