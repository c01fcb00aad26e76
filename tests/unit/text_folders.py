"""Tiny text classifiers of transformers with random weights, in the folders of a training."""

from functools import partial
from pathlib import Path

import torch
from transformers import AutoTokenizer

from tests.texts import KINDS, reviews, save_model

__all__ = ["CLASSES", "KINDS", "SECONDS", "TEXTS", "folder_of", "logits_of"]
HOW = {"padding": True, "truncation": True, "return_tensors": "pt"}
CLASSES = ["negative", "neutral", "positive"]
TEXTS = [review["text"] for review in reviews(8)]
SECONDS = [review["text"] for review in reviews(8, 1, "books")]


def folder_of(kind: str, folder: Path, names=CLASSES, seed: int = 0, **config):
    """Write a folder with a classifier and its tokenizer, and return transformers' model.

    Args:
        kind: a key of `KINDS`.
        folder: the folder to make.
        names: class names in the order of the head's rows.
        seed: of the weights.
        config: further entries of the configuration.
    """
    by_number = dict(enumerate(names))
    by_name = {name: number for number, name in by_number.items()}
    classes = {"id2label": by_number, "label2id": by_name}
    model = save_model(folder, kind, "ForSequenceClassification", seed, **classes | config)
    # Each call trains a tokenizer anew, and the order of its words may differ.
    model.fields = partial(_fields, AutoTokenizer.from_pretrained(folder), kind == "Bert")
    return model


def _fields(tokenizer, types: bool, *texts: list[str]) -> dict:
    """The arguments of a model for texts."""
    return tokenizer(*texts, return_token_type_ids=types, **HOW)


@torch.inference_mode()
def logits_of(model, texts=TEXTS, seconds=None, folder: Path | None = None):
    """Logits that transformers alone gives for texts.

    Args:
        model: of transformers.
        texts, seconds: the texts.
        folder: of an export, from which the tokenizer is read. By default the model is one of
            `folder_of`, with its own tokenizer.
    """
    both = [list(texts)] if seconds is None else [list(texts), list(seconds)]
    if folder is None:
        return model(**model.fields(*both)).logits
    # The folder of an export tells which arguments the model takes.
    return model(**AutoTokenizer.from_pretrained(folder)(*both, **HOW)).logits
