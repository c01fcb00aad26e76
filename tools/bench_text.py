"""Benchmarks of texts: a BERT of base size with random weights, with and without sorting by length.

python tools/bench_text.py [number of texts] [threads]

`make bench-text` prints tokens per second of training and of evaluation, without padding. Batches
are padded to their longest text. A run of the workflow makes batches of texts of similar length.
The tool compares them with batches in random order. The lengths of the texts are drawn from a
log-normal distribution, from 8 to 256 tokens.
"""

import argparse
import time

import _library  # noqa: F401

BATCH, CLASSES, VOCABULARY = 16, 2, 30522
MEDIAN, SPREAD, SHORTEST, LONGEST = 40, 0.7, 8, 256  # tokens of a text


class Texts:
    """Random token ids, see `problems.Problem.inputs`.

    Args:
        number: of texts.
    """

    def __init__(self, number: int) -> None:
        import numpy as np

        rng = np.random.default_rng(0)
        lengths = np.exp(rng.normal(np.log(MEDIAN), SPREAD, number)).round()
        self.lengths = lengths.clip(SHORTEST, LONGEST).astype(np.int32)
        self._rows = rng.integers(1000, VOCABULARY, (number, 2 + LONGEST), np.int32)
        self._rows[:, :2] = self.lengths[:, None]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows):
        return self._rows[rows, : 2 + self.lengths[rows].max()]


class Unsorted:
    """Texts without their lengths, which evaluation then leaves in their order."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, rows):
        return self._texts[rows]


def model():
    """A classifier with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    from soups.jobs import devices
    from soups.text.classifier import TextClassifier
    from soups.text.pooling import POOLINGS

    torch.manual_seed(0)
    encoder = BertModel(BertConfig(), add_pooling_layer=False)
    width = encoder.config.hidden_size
    return TextClassifier(encoder, CLASSES, width, POOLINGS["first"], True, 103, []).to(
        devices.device()
    )


def trained(classifier, texts: Texts, batches) -> float:
    """Seconds of one training step per batch."""
    import torch
    import torch.nn.functional as F

    from soups.jobs import devices
    from soups.training.optim import adamw

    device, optimizer = devices.device(), adamw(classifier.train(), 1e-5, 0.01)

    def step(rows) -> None:
        batch = torch.from_numpy(texts[rows]).to(device)
        loss = F.cross_entropy(classifier(batch), torch.zeros(len(rows), dtype=int, device=device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step(batches[0])
    return seconds(lambda: [step(rows) for rows in batches])


def seconds(call) -> float:
    """Seconds of a call, with its work on a GPU."""
    import torch

    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def padding(texts: Texts, batches) -> float:
    """Share of padding in batches."""
    padded = sum(len(rows) * int(texts.lengths[rows].max()) for rows in batches)
    return 1 - sum(int(texts.lengths[rows].sum()) for rows in batches) / padded


def main(number: int, threads: int) -> None:
    import numpy as np
    import torch

    from soups.jobs.job import limit_threads
    from soups.models.forward import forward
    from soups.text.batches import of_similar_length
    from soups.training import optim

    limit_threads(threads)
    texts, classifier = Texts(number), model()
    tokens = int(texts.lengths.sum())
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else f"CPU, {threads} threads"
    weights = sum(p.numel() for p in classifier.parameters()) / 1e6
    print(
        f"BERT with {weights:.0f} million weights, {number} texts of {tokens / number:.0f} tokens"
    )
    print(f"on average, batches of {BATCH}, float32, {device}\n")
    print("| work | order of the texts | padding | tokens/s |\n|---|---|---|---|")
    orders = {
        "random": [np.array(rows) for rows in optim.batches(number, BATCH, 0, 0)],
        "by length": of_similar_length(texts.lengths, BATCH, 0, 0),
    }
    for order, batches in orders.items():
        took = trained(classifier, texts, batches)
        seen = sum(int(texts.lengths[rows].sum()) for rows in batches)
        print(f"| training | {order} | {padding(texts, batches):.0%} | {seen / took:,.0f} |")
    classifier.eval()
    for order, inputs in (("random", Unsorted(texts)), ("by length", texts)):
        rows = np.arange(number) if order == "random" else np.argsort(texts.lengths, kind="stable")
        batches = [rows[start : start + BATCH] for start in range(0, number, BATCH)]
        forward(classifier, inputs, np.arange(BATCH), batch=BATCH)
        took = seconds(lambda inputs=inputs: forward(classifier, inputs, batch=BATCH))
        print(f"| evaluation | {order} | {padding(texts, batches):.0%} | {tokens / took:,.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="?", type=int, default=128, help="number of texts")
    parser.add_argument("threads", nargs="?", type=int, default=2, help="number of CPU threads")
    given = parser.parse_args()
    main(given.texts, given.threads)
