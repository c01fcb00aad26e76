"""Probes, fine-tuning and soups of text encoders, with dropout."""

import copy
import itertools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

pytest.importorskip("transformers", reason="`make text` installs it")

from soups import problems
from soups.data.prepared import PreparedSet, write_set
from soups.errors import UserError
from soups.jobs import devices, distributed
from soups.jobs.distributed import Named, spread
from soups.jobs.resume import Resumable
from soups.mixing import learned
from soups.models import checkpoints
from soups.models.blocks import groups
from soups.models.checkpoints import Checkpoint
from soups.models.forward import forward
from soups.models.pretrained import bring_in
from soups.models.stack import Stack
from soups.text import preparation
from soups.training import optim
from soups.training.finetune import finetune, finetune_on
from soups.training.starts import starting_points
from tests import texts
from tests.unit.training import PLAIN, apart, distance, same

ROWS = np.arange(30)  # training texts, 3 batches of 8 in an epoch
PROBE = {"lr": 0.1, "epochs": 5, "batch_size": 8, "weight_decay": 0.0, "seed": 0}
ROW = PLAIN | {"epochs": 2.5, "augment": 1}  # 8 steps: 3, 3 and 2
KINDS = {
    "plain": ROW | {"augment": 0},
    "masked": ROW,
    "averaged": ROW | {"ema": 0.7},
    "swa": ROW | {"swa": 0.6, "swa_lr": 0.5},
    "sam": ROW | {"sam": 0.05, "layer_decay": 0.7},
    "distilled": ROW | {"distill": 0.5},
}


# The probabilities of dropout in the configurations.
DROPOUT = {
    "Bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "DistilBert": ("dropout", "attention_dropout", "seq_classif_dropout"),
    "T5": ("dropout_rate",),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A function that returns a model, and a set of reviews as its tokens."""
    known = {}

    def make(kind: str = "Bert", pooling: str = "native", dropout: float = 0.1):
        key = kind, pooling, dropout
        if key not in known:
            folder = tmp_path_factory.mktemp(kind)
            texts.save_model(folder, kind, **dict.fromkeys(DROPOUT[kind], dropout))
            model = loaded(folder, pooling)
            records = texts.reviews(60, pairs=True)
            for i, record in enumerate(records):  # of many lengths
                record["text"] += " indeed" * (i % 11)
            labels, mapping = preparation.labelled("train", records, texts.CLASSES)
            rows, more = preparation.tokenized(model.made_from, "train", records)
            write_set(folder / "train.npy", rows, labels, mapping, **more)
            known[key] = model, PreparedSet(folder / "train.npy")
        model, data = known[key]
        return copy.deepcopy(model), data

    return make


def loaded(folder, pooling: str):
    text = problems.named("text")
    return bring_in(f"transformers/{folder}", str(folder), problem=text, pooling=pooling)


@pytest.fixture
def tune(prepared, tmp_path):
    """A function that fine-tunes a classifier and returns its weights."""
    runs = itertools.count()

    def weights(row, state=None, kind="Bert", pooling="native", **more) -> dict:
        model, data = prepared(kind, pooling)
        state = state or Resumable(tmp_path / "fresh", {"run": next(runs)})
        start = started(model)
        return finetune(start, data.inputs, data.labels, ROWS, row, state, **more).state_dict()

    return weights


def started(model):
    """A classifier whose head is not zero, so that rounding decides no sign of a gradient."""
    classifier = model.classifier(2)
    torch.manual_seed(7)
    torch.nn.init.normal_(classifier.head.weight)
    return classifier


@pytest.fixture
def teacher() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(len(ROWS), 2)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_finetune_with_dropout_ends_with_the_same_bits(
    tune, killed, tmp_path, teacher, kind
):
    whole = tune(KINDS[kind], teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        tune(KINDS[kind], killed(tmp_path, {"kind": kind}), teacher=teacher)
    state = Resumable(tmp_path, {"kind": kind})
    assert state.path.exists()
    assert same(tune(KINDS[kind], state, teacher=teacher), whole)


def test_a_t5_resumes_and_learns(tune, killed, tmp_path, prepared):
    model, data = prepared("T5", "decoder")
    row = ROW | {"lr": 0.005, "epochs": 12, "augment": 0, "layer_decay": 0.9}
    whole = tune(row, kind="T5", pooling="decoder")
    with pytest.raises(KeyboardInterrupt):
        tune(row, killed(tmp_path, {}), kind="T5", pooling="decoder")
    assert same(tune(row, Resumable(tmp_path, {}), kind="T5", pooling="decoder"), whole)
    classifier = model.classifier(2).eval()
    classifier.load_state_dict(whole)
    logits = forward(classifier, data.inputs, exact=True).numpy()
    assert (logits.argmax(1) == data.labels).mean() > 0.8


@pytest.mark.parametrize("kind", DROPOUT)
def test_dropout_is_active_in_training_alone(prepared, kind):
    batch = torch.from_numpy(prepared(kind)[1].inputs[ROWS])
    usual, still = (prepared(kind, dropout=p)[0].classifier(2) for p in (0.1, 0.0))
    with torch.no_grad():
        assert not torch.equal(usual.train().features(batch), usual.features(batch))
        assert torch.equal(still.train().features(batch), still.features(batch))
        assert torch.equal(usual.eval().features(batch), still.eval().features(batch))


def test_the_seed_decides_the_dropout(tune):
    assert not same(tune(KINDS["plain"]), tune(KINDS["plain"] | {"seed": 4}))


def test_accumulated_gradients_are_those_of_the_whole_batch(configured, prepared, tmp_path):
    made = []
    for number in (1, 3):
        configured(accumulate=number)
        model, data = prepared("DistilBert", dropout=0)
        state, row = Resumable(tmp_path, {"number": number}), PLAIN | {"lr": 0.001}
        start = started(model)
        made.append(finetune(start, data.inputs, data.labels, ROWS, row, state).state_dict())
    assert distance(*made) < 1e-4


@pytest.mark.parametrize(("kind", "pooling"), [("Bert", "native"), ("T5", "decoder")])
def test_recomputed_activations_give_the_same_model(configured, prepared, tmp_path, kind, pooling):
    made = []
    for on in (False, True):
        configured(checkpoint_activations=on)
        model, data = prepared(kind, pooling)
        state, row = Resumable(tmp_path, {"on": on}), PLAIN | {"lr": 0.001}
        start = started(model)
        made.append(finetune(start, data.inputs, data.labels, ROWS, row, state).state_dict())
        assert not any(getattr(m, "gradient_checkpointing", False) for m in start.modules())
    # Dropout draws the same numbers when activations are computed again.
    assert distance(*made) < 1e-5


def test_activations_are_recomputed_in_every_block(prepared):
    classifier = prepared()[0].classifier(2)
    devices.checkpointing(classifier.tower, True)
    having = [m for m in classifier.modules() if getattr(m, "gradient_checkpointing", False)]
    assert having


def test_layers_near_the_input_learn_more_slowly(prepared):
    for kind, pooling in (("Bert", "native"), ("T5", "decoder")):
        classifier = prepared(kind, pooling)[0].classifier(2)
        optimizer = optim.adamw(classifier, 1.0, 0.1, layer_decay=0.5)
        scale = {
            id(parameter): group["scale"]
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        named = dict(classifier.named_parameters())
        assert len(scale) == len(named)
        scales = [scale[id(parameter)] for parameter in named.values()]
        assert scale[id(named["head.weight"])] == 1
        assert scales[0] == min(scales) == 0.5 ** (3 if kind == "Bert" else 5)


def test_starting_points_are_a_probe_and_a_head_of_zeros(prepared):
    model, data = prepared("Bert", "mean")
    made = starting_points(model, data, ROWS, data, [], PROBE | {"epochs": 20})
    assert list(made) == ["newhead", "initialization"]
    assert not made["newhead"].state["head.weight"].any()
    classifier = model.classifier(2).eval()
    classifier.load_state_dict(made["initialization"].state)
    whole = forward(classifier, data.inputs, exact=True).numpy()
    np.testing.assert_allclose(made["initialization"].logits, whole, atol=1e-4)
    assert (whole.argmax(1) == data.labels).mean() > 0.6


def test_a_set_of_another_tokenizer_is_refused_before_the_probe(prepared):
    _, data = prepared()
    small = SimpleNamespace(
        inputs=data.inputs, problem=data.problem, vocabulary=data.inputs.highest, max_length=40
    )
    with pytest.raises(UserError, match="another model's tokenizer made them"):
        starting_points(small, data, ROWS, data, [], PROBE)


def test_a_model_of_one_task_trains_with_a_frozen_part_of_the_head(prepared, tmp_path):
    model, data = prepared()
    start = started(model)
    before = copy.deepcopy(start.state_dict())
    state = Resumable(tmp_path, {})
    finetune_on(start, data, ROWS, PLAIN, state, ["good"])
    assert torch.equal(start.head.weight, before["head.weight"])
    assert start.head.out_features == 2


@pytest.mark.parametrize("by", ["model", "block", "tensor"])
def test_the_gradient_of_a_learned_soup_is_that_of_autograd(prepared, tmp_path, by):
    model, data = prepared("T5", "decoder")
    classifier = started(model).eval().double()
    generator = torch.Generator().manual_seed(0)
    paths = [tmp_path / f"m{k}.safetensors" for k in range(3)]
    for path in paths:
        state = {
            name: (tensor + 0.2 * torch.randn(tensor.shape, generator=generator)).float()
            for name, tensor in classifier.state_dict().items()
        }
        checkpoints.save(path, state, {"pretrained": "one"})
    group = groups(list(classifier.state_dict()), by)
    w = torch.randn(3, 1 + max(group.values()), generator=generator, dtype=torch.float64)
    w.requires_grad_()
    x, y = torch.from_numpy(data.inputs[ROWS]), torch.from_numpy(data.labels[ROWS])
    states, alpha = [Checkpoint(path).state() for path in paths], w.softmax(0)
    mixture = {
        name: sum(alpha[k, i] * states[k][name].double() for k in range(3))
        for name, i in group.items()
    }
    F.cross_entropy(functional_call(classifier, mixture, (x,)), y).backward()
    expected, w.grad = w.grad, None

    classifier.load_state_dict({name: tensor.detach() for name, tensor in mixture.items()})
    F.cross_entropy(classifier(x), y).backward()
    parameters, gradients = dict(classifier.named_parameters()), []
    with Stack([Checkpoint(path) for path in paths]) as stack:
        for i in range(w.shape[1]):
            names = [name for name, index in group.items() if index == i]
            gradients.append(learned.coefficient_gradient(parameters, stack, names))
    w.softmax(0).backward(torch.stack(gradients, dim=1))
    torch.testing.assert_close(w.grad, expected, rtol=1e-4, atol=1e-8)


TOGETHER = {"Bert": "native", "T5": "decoder"}


def train_together(task) -> None:
    """Fine-tune models without dropout together with the other process."""
    out, folder = {}, task.params.folder
    for kind, pooling in TOGETHER.items():
        out[kind] = tuned_in(f"{folder}/{kind}", pooling)
        first, second = distributed.gather({k: v.numpy() for k, v in out[kind].items()})
        assert all(np.array_equal(second[name], value) for name, value in first.items())
    if distributed.rank() == 0:
        torch.save(out, task.output.result)


def tuned_in(folder: str, pooling: str) -> dict:
    """Weights of a model that is fine-tuned on the set in its folder."""
    start, data = started(loaded(folder, pooling)), PreparedSet(f"{folder}/train.npy")
    state = Resumable(f"{folder}/states", {"world": distributed.world()})
    row = PLAIN | {"lr": 0.001, "epochs": 1}
    model = finetune(start, data.inputs, data.labels, ROWS, row, state)
    return copy.deepcopy(model.state_dict())


def test_two_processes_train_the_same_weights_as_one(prepared, tmp_path, configured):
    for kind, pooling in TOGETHER.items():
        source = prepared(kind, pooling, dropout=0)[1].path.parent
        shutil.copytree(source, tmp_path / kind)
    task = SimpleNamespace(
        input=Named(),
        output=Named(result=tmp_path / "result.pt"),
        params=Named(folder=str(tmp_path)),
        log=[tmp_path / "job.log"],
        threads=2,
        config={"compute": {"device": "cpu", "gpus": 2}},
    )
    configured(**task.config["compute"])
    spread(train_together, task)
    together = torch.load(tmp_path / "result.pt")
    configured(device="cpu")
    for kind, pooling in TOGETHER.items():
        one = tuned_in(str(tmp_path / kind), pooling)
        before = started(loaded(tmp_path / kind, pooling)).state_dict()
        assert distance(together[kind], one) < 1e-4 < 1e-2 < apart(one, before)
