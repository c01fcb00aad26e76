"""Tiny text classifiers of transformers with random weights, in the folders of a training."""

from pathlib import Path

import torch

WORDS = ["good", "bad", "film", "a", "the", "very", "not", "plot", "actor", "music", "guitar", "."]
TEXTS = ["a good film", "the plot not good", "very very bad music .", "the actor", "bad guitar",
         "not a very good plot .", "good", "the the bad film . not good"]  # fmt: skip
SECONDS = ["bad", "a film", "the music .", "very good actor", "plot", "not good", "film .", "a"]
CLASSES = ["negative", "neutral", "positive"]

SMALL = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 24}  # fmt: skip
KINDS = {
    "Bert": SMALL,
    "DistilBert": {"vocab_size": 20, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24,
                   "max_position_embeddings": 24},
    "Roberta": SMALL | {"type_vocab_size": 1, "pad_token_id": 0, "bos_token_id": 2,
                        "eos_token_id": 3},
    "T5": {"vocab_size": 20, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2,
           "pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0},
}  # fmt: skip


def folder_of(kind: str, folder: Path, names=CLASSES, seed: int = 0, **config):
    """Write a folder with a classifier and its tokenizer, and return transformers' model.

    Args:
        kind: a key of `KINDS`.
        folder: the folder to make.
        names: class names in the order of the head's rows.
        seed: of the weights.
        config: further entries of the configuration.
    """
    import transformers

    torch.manual_seed(seed)
    by_number = dict(enumerate(names))
    by_name = {name: number for number, name in by_number.items()}
    made = getattr(transformers, f"{kind}Config")(
        **KINDS[kind] | {"id2label": by_number, "label2id": by_name} | config
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(made).eval()
    model.save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return model


def tokenizer(kind: str):
    """The tokenizer of `WORDS`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    second = 0 if kind == "Roberta" else 1
    made.post_processor = processors.TemplateProcessing(
        single="$A [SEP]" if kind == "T5" else "[CLS] $A [SEP]",
        pair=f"$A [SEP] $B:{second} [SEP]:{second}"
        if kind == "T5"
        else f"[CLS] $A [SEP] $B:{second} [SEP]:{second}",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
             "sep_token": "[SEP]", "mask_token": "[MASK]"}  # fmt: skip
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if kind == "Bert" else [])]
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=24, model_input_names=inputs, **names
    )


@torch.inference_mode()
def logits_of(model, kind: str, texts=TEXTS, seconds=None, folder: Path | None = None):
    """Logits that transformers alone gives for texts.

    Args:
        model: of transformers.
        kind: a key of `KINDS`.
        texts, seconds: the texts.
        folder: where the tokenizer is read from; by default it is `tokenizer`.
    """
    from transformers import AutoTokenizer

    made = tokenizer(kind) if folder is None else AutoTokenizer.from_pretrained(folder)
    both = [list(texts)] if seconds is None else [list(texts), list(seconds)]
    return model(**made(*both, padding=True, truncation=True, return_tensors="pt")).logits
