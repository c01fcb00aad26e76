"""Small text models with tokenizers of their own, and generated reviews of two domains.

The models are saved as Hugging Face saves them. Their weights are random, and no file is fetched.
"""

import csv
import json
import re
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

CLASSES = ("bad", "good")
# Words that tell the class, in the domain of the training set and in another one.
TELLING = {
    "films": {"bad": ("dull", "slow", "clumsy", "noisy"), "good": ("moving", "clever", "bright")},
    "books": {"bad": ("dull", "tedious", "clumsy"), "good": ("clever", "gripping", "bright")},
}
THINGS = {
    "films": ("film", "plot", "actor", "scene", "ending"),
    "books": ("book", "plot", "author", "chapter", "ending"),
}
OPENINGS = ("the", "this", "her", "his", "that whole", "a long")
CLOSINGS = ("indeed", "in the end", "to be honest", "for most of the time", "as we all said")
SECONDS = {"bad": ("nobody liked it", "they left early"), "good": ("they loved it", "all stayed")}

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32}  # fmt: skip
KINDS = {
    "Bert": SIZE | {"max_position_embeddings": 40},
    "Roberta": SIZE | {"max_position_embeddings": 42, "type_vocab_size": 1, "pad_token_id": 0,
                       "bos_token_id": 2, "eos_token_id": 3},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
                   "max_position_embeddings": 40},
    "DebertaV2": SIZE | {"max_position_embeddings": 40, "type_vocab_size": 0,
                         "relative_attention": True, "position_buckets": 8,
                         "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm",
                         "position_biased_input": False},
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
           "decoder_start_token_id": 0},
}  # fmt: skip


def reviews(count: int, seed: int = 0, domain: str = "films", pairs: bool = False) -> list[dict]:
    """Generated reviews, alternately bad and good.

    Args:
        count: number of reviews.
        seed: of the words.
        domain: a key of `TELLING`.
        pairs: whether each review has a second text.

    Returns:
        dictionaries with ``text``, perhaps ``second``, ``label`` and ``from``.
    """
    generator = np.random.default_rng(seed)
    made = []
    for i in range(count):
        label = CLASSES[i % 2]
        pick = generator.choice
        words = [pick(OPENINGS), pick(THINGS[domain]), "is", pick(TELLING[domain][label])]
        words += ["and", pick(TELLING[domain][label])] if generator.random() < 0.5 else []
        words += [pick(CLOSINGS)] if generator.random() < 0.7 else []
        # A number makes each text differ from all others.
        made.append({"text": f"{' '.join(words)} {domain[0]}{seed}{i}", "label": label})
        if pairs:
            made[-1]["second"] = str(pick(SECONDS[label]))
        made[-1]["from"] = f"{domain}.csv:{i + 2}"
    return made


def write_csv(path: Path, records: list[dict], delimiter: str = ",") -> Path:
    """Write reviews as a table with a header."""
    names = [name for name in ("text", "second", "label") if name in records[0]]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)
    return path


def write_jsonl(path: Path, records: list[dict]) -> Path:
    """Write reviews as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def tokenizer(kind: str, length: int = 40) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary comes from generated reviews.

    Args:
        kind: a key of `KINDS`. A T5 gets a Unigram model, all others get WordPiece.
        length: tokens of a text at most, as the tokenizer says itself.
    """
    texts = [review[key] for domain in TELLING for review in reviews(80, domain=domain, pairs=True)
             for key in ("text", "second")]  # fmt: skip
    return _unigram(texts, length) if kind == "T5" else _wordpiece(texts, length)


def _wordpiece(texts: list[str], length: int) -> transformers.PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words, letters = _parts([text.lower() for text in texts])
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=length, pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def _parts(texts: list[str]) -> tuple[list[str], list[str]]:
    """Words and letters in order. Trainers of tokenizers order equal counts at random."""
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text)})
    return words, sorted({letter for word in words for letter in word})


def _unigram(texts: list[str], length: int) -> transformers.PreTrainedTokenizerFast:
    words, letters = _parts(texts)
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>", "<extra_id_0>")]
    pieces += [(piece, -8.0) for piece in ("▁", *letters)] + [(f"▁{word}", -5.0) for word in words]
    made = Tokenizer(models.Unigram(pieces, 2))  # 2 is the place of <unk>
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    made.decoder = decoders.Metaspace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=length, pad_token="<pad>", unk_token="<unk>",
        eos_token="</s>", extra_special_tokens=["<extra_id_0>"],
    )  # fmt: skip


def save_model(folder: Path, kind: str = "Bert", ending: str | None = None, seed: int = 0, **more):
    """Write the folder of a small model with random weights and its tokenizer.

    Args:
        folder: to write.
        kind: a key of `KINDS`.
        ending: of the class in transformers, such as "ForSequenceClassification" or "ForMaskedLM".
            By default the model of pre-training.
        seed: of the weights.
        more: further entries of the configuration, such as ``num_labels``.

    Returns:
        the model of transformers, in evaluation mode.
    """
    made = tokenizer(kind)
    torch.manual_seed(seed)
    default = "ForConditionalGeneration" if kind == "T5" else "ForMaskedLM"
    config = getattr(transformers, f"{kind}Config")(
        **{"vocab_size": len(made)} | KINDS[kind] | more
    )
    own = getattr(transformers, f"{kind}{default if ending is None else ending}")(config).eval()
    own.save_pretrained(folder)
    made.save_pretrained(folder)
    return own


def bert(folder: Path, **more) -> Path:
    """Write the folder of a small BERT, and return the folder."""
    save_model(folder, "Bert", **more)
    return folder


def t5(folder: Path, **more) -> Path:
    """Write the folder of a small T5, and return the folder."""
    save_model(folder, "T5", **more)
    return folder
