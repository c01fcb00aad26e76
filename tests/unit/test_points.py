"""Points in weight space, compared with soups that are mixed and evaluated explicitly."""

import numpy as np
import pytest
import torch

from soups.data.prepared import PreparedSet, identity, write_set
from soups.evaluation.metric import METRICS
from soups.evaluation.samples import Samples
from soups.evaluation.significance import compare
from soups.mixing.mix import Mixture, mix
from soups.mixing.mixed_model import MixedModel
from soups.mixing.points import Landscape, Points, evaluate, gain
from soups.mixing.recipes import alone, recipe, uniform
from soups.models import checkpoints
from soups.models.batch_norm import kept
from soups.models.checkpoints import Checkpoint
from soups.models.forward import forward
from tests.unit.training import convolutional

NAMES = ["m0", "m1", "m2"]
SETS = ("test", "art")


@pytest.fixture
def model(pretrained):
    torch.manual_seed(1)
    model = pretrained.classifier(4).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture
def paths(model, tmp_path) -> dict:
    """Files of ingredients that are far enough apart for their soups to disagree."""
    generator = torch.Generator().manual_seed(0)
    paths = {name: tmp_path / f"{name}.safetensors" for name in NAMES}
    for path in paths.values():
        state = {
            name: tensor + 0.3 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in model.state_dict().items()
        }
        checkpoints.save(path, state, {"pretrained": "one"})
    return paths


@pytest.fixture
def sets(images, labels, tmp_path) -> dict:
    """A test set and a shift, which has the first 40 of the same images."""
    classes = identity(["a", "b", "c", "d"])
    write_set(tmp_path / "test.npy", images, labels, classes)
    write_set(tmp_path / "art.npy", images[:40], labels[:40], classes)
    return {name: PreparedSet(tmp_path / f"{name}.npy") for name in SETS}


@pytest.fixture
def samples(sets) -> Samples:
    return Samples([data.path for data in sets.values()], {"test": 50, "shift": 30})


@pytest.fixture
def explicit(model, paths, samples):
    """A function that returns the logits of a recipe's soup on the sampled images."""

    def logits(made: dict) -> dict:
        model.load_state_dict(mix(made, paths))
        return {
            name: forward(model, samples.sets[name].inputs, samples.rows[name]).numpy()
            for name in SETS
        }

    return logits


@pytest.fixture
def cached(explicit, samples, sets, model, paths, tmp_path) -> dict:
    """Files of cached logits of the first two models on whole sets."""
    files = {}
    for name in NAMES[:2]:
        model.load_state_dict(checkpoints.Checkpoint(paths[name]).state())
        files[name] = {key: tmp_path / f"{name}.{key}.npy" for key in SETS}
        for key, data in sets.items():
            np.save(files[name][key], forward(model, data.inputs).numpy())
    return files


@pytest.fixture
def mixed(model, paths) -> MixedModel:
    return MixedModel(model, paths, kept)


@pytest.fixture
def points(mixed, samples, cached) -> Points:
    return Points(mixed, samples, cached)


def close(ours: dict, theirs: dict) -> None:
    """Check that two dictionaries of logits are nearly equal."""
    assert ours.keys() == theirs.keys()
    for name, logits in ours.items():
        np.testing.assert_allclose(logits, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "made",
    [
        uniform(["m0"]), uniform(["m0", "m1"]), uniform(NAMES), uniform(["m2", "m1"]),
        uniform(NAMES, "greedy"), recipe({"m0": 1.5, "m2": -0.5}, "wise_ft"),
    ],
)  # fmt: skip
def test_a_point_has_the_logits_of_its_soup(points, explicit, made):
    points.of(uniform(["m0", "m1"]))  # An earlier soup must not change a later one.
    close(points.of(made), explicit(made))


@pytest.mark.parametrize(
    ("coefficients", "merge", "only"),
    [
        ({"m0": 1.0, "m1": 0.0}, None, "m0"),
        ({"m0": {"a": 1.0, "b": 1.0}}, None, "m0"),
        ({"m0": {"a": 1.0, "b": 0.5}}, None, None),
        ({"m0": 0.5}, None, None),
        ({"m0": 1.0, "m1": 1.0}, None, None),
        ({"m0": 1.0}, {"rule": "median"}, None),
    ],
)
def test_a_recipe_of_one_whole_model_is_that_model(coefficients, merge, only):
    assert alone(recipe(coefficients, "any", merge)) == only


def test_a_model_alone_keeps_its_own_batch_statistics(model, paths, samples, explicit):
    """A recipe of one model is that model, however soups get their statistics."""

    def disturb(mixed) -> None:
        torch.nn.init.zeros_(mixed.head.weight)

    points = Points(MixedModel(model, paths, disturb), samples, {})
    close(
        points.of(recipe({"m1": 1.0, "m0": 0.0}, "wise_ft")), explicit(recipe({"m1": 1.0}, "one"))
    )
    of_two = points.of(uniform(["m0", "m1"]))["test"]
    assert not np.ptp(of_two, axis=0).any()  # every image has the bias as its logits
    sets = samples.sets["art"], samples.sets["test"], 9
    plane = Landscape(MixedModel(model, paths, disturb), *sets)
    usual = Landscape(MixedModel(model, paths, kept), *sets)
    one, two = recipe({"m1": 1.0}, "corner"), uniform(["m0", "m1"])
    assert plane.of(one) == usual.of(one)
    assert plane.of(two) != usual.of(two)


def test_growing_uniform_soups_add_each_model_once_to_a_running_sum(mixed, monkeypatch):
    added, add = [], Mixture.add

    def recorded(self, checkpoint) -> None:
        added.append(checkpoint.path.stem)
        add(self, checkpoint)

    monkeypatch.setattr(Mixture, "add", recorded)
    for n in range(1, 4):
        mixed.average(NAMES[:n])
    assert added == NAMES[:2]  # The last model is a candidate, so it is not added to the sum.
    mixed.average(["m0", "m2"])
    assert added == [*NAMES[:2], "m0"]


def test_a_growing_soup_has_the_bits_of_a_candidate_and_reads_each_model_once(mixed, monkeypatch):
    trials = [weights_of(mixed.average(NAMES[:n])) for n in range(1, 4)]
    opened, init = [], Checkpoint.__init__

    def recorded(self, path) -> None:
        opened.append(path.stem)
        init(self, path)

    monkeypatch.setattr(Checkpoint, "__init__", recorded)
    for n, trial in enumerate(trials, 1):
        grown = weights_of(mixed.average(NAMES[:n], grows=True))
        assert all(torch.equal(value, trial[name]) for name, value in grown.items())
    assert sorted(opened) == ["m0", "m1", "m2"]


def weights_of(model) -> dict[str, torch.Tensor]:
    """A copy of a model's state dict."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_an_ensemble_is_the_mean_of_cached_logits(points, explicit):
    one, two = (explicit(recipe({name: 1.0}, "one")) for name in NAMES[:2])
    close(points.of_ensemble(NAMES[:2]), {name: (one[name] + two[name]) / 2 for name in SETS})


def test_logits_of_a_model_without_cached_ones_are_computed_once(
    mixed, points, explicit, monkeypatch
):
    calls, single = [], mixed.single
    monkeypatch.setattr(mixed, "single", lambda name: calls.append(name) or single(name))
    for name in [*NAMES, *NAMES]:
        close(points.of_single(name), explicit(recipe({name: 1.0}, "one")))
    assert calls == ["m2"]


def test_a_line_has_the_soups_between_its_models_and_their_temperatures(points, explicit, sets):
    alphas = [0, 0.25, 1]
    soups, betas = points.on_line("m0", "m2", alphas)
    assert betas is None
    for alpha, logits in zip(alphas, soups, strict=True):
        close(logits, explicit(recipe({"m0": 1 - alpha, "m2": alpha}, "line")))
    again, betas = points.on_line("m0", "m2", alphas, sets["test"])
    close(again[1], soups[1])
    assert np.isnan(betas).tolist() == [True, False, True]
    assert betas[1] > 0


PLAN = [
    {"labels": {"method": "b", "n": 0}, "recipe": uniform(["m0"]), "against": 0},
    {"labels": {"method": "a", "n": 1}, "recipe": uniform(["m0", "m1"]), "against": 0},
    {"labels": {"method": "b", "n": 2}, "recipe": uniform(["m0", "m1"], "greedy")},
    {"labels": {"method": "a", "n": 3}, "ensemble": ["m0", "m1"], "against": 1},
    {"labels": {"method": "a", "n": 4}, "recipe": recipe({"m0": 1.0, "m1": 0.0}, "line")},
]


def test_every_point_of_a_plan_has_the_accuracies_of_its_soup_or_ensemble(
    points, samples, explicit
):
    rows, right = evaluate(PLAN, points, samples)
    wanted = [samples.outcomes(explicit(point["recipe"])) for point in PLAN if "recipe" in point]
    wanted.insert(3, samples.outcomes(points.of_ensemble(["m0", "m1"])))
    for point, row, ours, theirs in zip(PLAN, rows, right, wanted, strict=True):
        assert all((ours[name] == theirs[name]).all() for name in SETS)
        assert {"method": row["method"], "n": row["n"]} == point["labels"]
        assert {name: row[name] for name in samples.row(theirs)} == samples.row(theirs)
        assert ("test_gain" in row) == ("against" in point)
    assert rows[0]["test_gain"] == rows[0]["shifts_mean_gain"] == 0
    assert rows[1]["test_gain"] == pytest.approx(rows[1]["test"] - rows[0]["test"], abs=2e-6)
    assert rows[3]["art"] - rows[1]["art"] == pytest.approx(rows[3]["shifts_mean_gain"], abs=2e-6)


def test_points_with_the_same_models_and_shares_are_computed_once(points, samples, monkeypatch):
    calls = []
    for name in ("of", "of_ensemble"):
        function = getattr(points, name)
        monkeypatch.setattr(points, name, lambda made, f=function: calls.append(made) or f(made))
    evaluate(PLAN, points, samples)
    # Points are computed method by method. Point 2 has the models and shares of point 1, and
    # point 0 those of point 4.
    assert calls == [PLAN[1]["recipe"], PLAN[3]["ensemble"], PLAN[4]["recipe"]]


def test_a_gain_has_the_bounds_of_the_paired_test(samples):
    rng = np.random.default_rng(0)
    ours, theirs = (
        {name: rng.random(len(samples.rows[name])) < level for name in SETS} for level in (0.8, 0.3)
    )
    columns = gain(ours, theirs, samples)
    test, shifts = compare(ours, theirs, ["art"], {})
    assert columns == {
        "test_gain": round(test["difference"], 6),
        "test_gain_lo": round(test["lo"], 6),
        "test_gain_hi": round(test["hi"], 6),
        "shifts_mean_gain": round(shifts["difference"], 6),
        "shifts_mean_gain_lo": round(shifts["lo"], 6),
        "shifts_mean_gain_hi": round(shifts["hi"], 6),
    }
    assert columns["test_gain_lo"] < columns["test_gain"] < columns["test_gain_hi"]


def test_a_landscape_has_held_out_loss_and_test_accuracy(mixed, model, paths, sets, images, labels):
    heldout, test = sets["art"], sets["test"]
    made = recipe({"m0": 0.5, "m1": 0.75, "m2": -0.25}, "plane")
    row = Landscape(mixed, heldout, test, 1000).of(made)
    model.load_state_dict(mix(made, paths))
    logits = forward(model, images).double()
    loss = torch.nn.functional.cross_entropy(logits[:40], torch.from_numpy(labels[:40])).item()
    assert row["heldout_loss"] == pytest.approx(loss, abs=1e-5)
    accuracy = (logits.argmax(1).numpy() == labels).mean()
    assert row["test"] == pytest.approx(accuracy, abs=1e-6)
    assert (row["n_heldout"], row["n_test"]) == (40, 60)
    part = Landscape(mixed, heldout, test, 7).of(made)
    assert (part["n_heldout"], part["n_test"]) == (7, 7)


def test_points_and_landscapes_have_the_metric(points, explicit, mixed, sets):
    matthews = METRICS["matthews"]
    paths = [data.path for data in sets.values()]
    samples = Samples(paths, {"test": 50, "shift": 30}, metric=matthews)
    made = {"labels": {"method": "x"}, "recipe": PLAN[0]["recipe"]}
    (row,), (outcomes,) = evaluate([made], points, samples)
    logits = explicit(made["recipe"])
    for name in SETS:
        codes = matthews.outcomes(logits[name], samples.labels[name], samples.members[name])
        np.testing.assert_array_equal(outcomes[name], codes)
        assert row[name] == pytest.approx(matthews.value(codes), abs=1e-6)
    other = samples.outcomes(explicit(PLAN[1]["recipe"]))
    columns = gain(outcomes, other, samples)
    apart = matthews.value(outcomes["test"]) - matthews.value(other["test"])
    assert columns["test_gain"] == pytest.approx(apart, abs=1e-6)
    test = sets["test"]
    found = Landscape(mixed, sets["art"], test, 1000, matthews).of(made["recipe"])
    guesses = forward(mixed.of(made["recipe"]), test.inputs).numpy()
    assert found["test"] == pytest.approx(matthews.of(guesses, test.labels), abs=1e-6)


# Batch statistics


@pytest.fixture
def with_statistics(tmp_path) -> tuple:
    """A model with batch normalisation, and two files of it."""
    model, paths = convolutional().eval(), {}
    for i, scale in enumerate((1.0, 3.0)):
        state = {
            name: scale * tensor if tensor.is_floating_point() else tensor + i
            for name, tensor in model.state_dict().items()
        }
        paths[f"m{i}"] = tmp_path / f"bn{i}.safetensors"
        checkpoints.save(paths[f"m{i}"], state, {"pretrained": "one"})
    return model, paths


def test_mixed_models_get_new_batch_statistics_and_single_models_keep_theirs(with_statistics):
    model, paths = with_statistics
    settled = []
    mixed = MixedModel(model, paths, settled.append)
    mixed.single("m1")
    assert settled == []
    assert torch.equal(model.visual[1].running_var, torch.full((8,), 3.0))
    mixed.of(uniform(["m0", "m1"]))
    mixed.average(["m0", "m1"])
    mixed.load(checkpoints.Checkpoint(paths["m0"]).state())
    mixed.cooked(uniform(["m0", "m1"]))
    assert settled == [model] * 4
    assert torch.equal(model.visual[1].running_var, torch.full((8,), 2.0))


def test_a_cooked_state_has_the_new_statistics_in_the_dtypes_of_the_ingredients(with_statistics):
    model, paths = with_statistics
    for path in paths.values():
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in checkpoints.Checkpoint(path).items()
        }
        checkpoints.save(path, state, {"pretrained": "one"})

    def settle(model) -> None:
        model.visual[1].running_mean.fill_(7)

    made = uniform(["m0", "m1"])
    cooked, state = MixedModel(model, paths, settle).cooked(made)
    assert cooked is model
    plain = mix(made, paths)
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        name: tensor.dtype for name, tensor in plain.items()
    }
    for name, tensor in state.items():
        wanted = torch.full_like(tensor, 7) if name.endswith("running_mean") else plain[name]
        assert torch.equal(tensor, wanted), name
