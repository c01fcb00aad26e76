"""The doctor finds each disease in models that were made to have it, and none in healthy ones."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from soups.doctor import geometry, kinship, predictions, verdicts
from soups.doctor.copies import is_copy
from soups.doctor.examination import Examination, examine
from soups.doctor.summary import summarise
from soups.errors import LeftOut
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.outcomes import ALONE, CLUSTERS, COLLAPSED, FINE, MODELS, START, TODO, UNIFORM_SOUP
from tests.unit.clinic import CLASSES, EARLIER, TRAIN, Clinic, changed, fresh, trained, with_head


def clinic_of(folder, name: str, steps: int) -> Clinic:
    """A clinic with four models that were fine-tuned from a trained start."""
    start = trained(fresh(name), steps, 1e-3, 0, EARLIER)
    clinic = Clinic(folder, name, start)
    clinic.healthy = {f"m{i}": trained(start, 20, 3e-4, i) for i in range(4)}
    return clinic


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> Clinic:
    return clinic_of(tmp_path_factory.mktemp("vit"), "test_vit", 120)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory) -> Clinic:
    """Models with batch normalisation, whose statistics were trained as well."""
    return clinic_of(tmp_path_factory.mktemp("resnet"), "test_resnet", 40)


def said(found: Examination) -> dict[str, str]:
    return {verdict.model: verdict.verdict for verdict in found.verdicts}


def about(found: Examination, model: str) -> verdicts.Verdict:
    return next(verdict for verdict in found.verdicts if verdict.model == model)


def texts(rows: list[dict], subject: str) -> str:
    return " ".join(row["text"] for row in rows if row["about"] == subject)


@pytest.mark.parametrize("known", [True, False], ids=["start known", "start unknown"])
@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_healthy_models_are_fine(name, known, request):
    clinic = request.getfixturevalue(name)
    found = clinic.examine(clinic.healthy, clinic.start if known else None)
    assert said(found) == dict.fromkeys(clinic.healthy, FINE)
    rows = summarise(found)
    assert [row["about"] for row in rows] == [MODELS, CLUSTERS, UNIFORM_SOUP, ALONE]
    assert rows[0]["text"] == "The doctor examined 4 models: 4 fine."


def test_models_from_a_start_with_a_head_of_zeros_are_fine(vit):
    start = copy.deepcopy(vit.start)
    nn.init.zeros_(start.head.weight)
    models = {f"z{i}": trained(start, 25, lr, i) for i, lr in enumerate((3e-4, 1e-3, 5e-4))}
    assert set(said(vit.examine(models, start)).values()) == {FINE}
    assert set(said(vit.examine(models)).values()) == {FINE}


@pytest.fixture(scope="module")
def stranger() -> nn.Module:
    return trained(fresh("test_vit", 9), 60, 1e-3, 9)


@pytest.mark.parametrize("known", [True, False], ids=["start known", "start unknown"])
def test_a_model_with_another_initialisation(vit, stranger, known):
    models = {"stranger": stranger, **vit.healthy}
    found = vit.examine(models, vit.start if known else None)
    assert said(found) == {"stranger": verdicts.OTHER_INITIALISATION} | dict.fromkeys(
        vit.healthy, FINE
    )
    verdict = about(found, "stranger")
    assert abs(verdict.evidence.first_layer) < 0.1 > abs(verdict.evidence.backbone)
    assert "almost orthogonal" in verdict.reason
    assert "from the start of the others" in verdict.advice


def test_the_models_that_belong_together_are_those_of_the_start_or_the_largest_group():
    linked = torch.eye(5).bool()
    linked[1, 2] = linked[2, 1] = linked[2, 3] = linked[3, 2] = True
    # The most accurate model, 4, is alone.
    assert kinship.relatives(linked, [4, 1, 3, 2]) == [1, 3, 2]
    linked[0, 4] = linked[4, 0] = True
    assert kinship.relatives(linked, [4, 1, 3, 2], start=0) == [4]
    assert kinship.relatives(torch.eye(3).bool(), [2, 0, 1]) == [2]


def test_a_freshly_drawn_head(vit):
    models = {**vit.healthy, "own": trained(with_head(vit.start, 11), 40, 1e-3, 11)}
    for start in (vit.start, None):
        found = vit.examine(models, start)
        assert said(found) == dict.fromkeys(vit.healthy, FINE) | {"own": verdicts.OTHER_HEAD}
    evidence = about(found, "own").evidence
    assert evidence.backbone > 0.9
    assert abs(evidence.head) < 0.3
    assert "its head is not correlated" in about(found, "own").reason


def test_every_model_has_a_head_of_its_own(vit):
    models = {f"h{i}": trained(with_head(vit.start, i), 40, 1e-3, i) for i in range(20, 23)}
    found = vit.examine(models)
    others = {name for name in models if name != found.best}
    assert {name for name, v in said(found).items() if v == verdicts.OTHER_HEAD} == others


def reordered(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    order = [3, 0, 4, 1, 5, 2]
    with torch.no_grad():
        model.head.weight.copy_(model.head.weight[order])
        model.head.bias.copy_(model.head.bias[order])
    return model


def test_another_order_of_classes(vit):
    models = {**vit.healthy, "order": reordered(vit.healthy["m1"])}
    found = vit.examine(models, vit.start)
    assert said(found) == dict.fromkeys(vit.healthy, FINE) | {"order": verdicts.OTHER_ORDER}
    evidence = about(found, "order").evidence
    assert evidence.heldout < 0.3
    assert evidence.renamed == about(found, "m1").evidence.heldout


def test_a_sweep_whose_classes_are_all_in_another_order(vit):
    models = {name: reordered(model) for name, model in vit.healthy.items()}
    assert set(said(vit.examine(models)).values()) == {verdicts.OTHER_ORDER}


def test_a_model_at_chance(vit):
    labels = np.random.default_rng(0).permutation(TRAIN[1])
    chance = trained(vit.start, 60, 2e-3, 3, labels=labels)
    found = vit.examine({**vit.healthy, "chance": chance}, vit.start)
    assert said(found) == dict.fromkeys(vit.healthy, FINE) | {"chance": verdicts.AT_CHANCE}
    assert "16.7%" in about(found, "chance").reason


def test_models_that_left_the_basin(vit):
    """Models that part early in training with a large learning rate do not share a basin."""
    early = trained(fresh("test_vit"), 5, 1e-3, 0, EARLIER)
    models = {f"e{i}": trained(early, 150, 2e-3, i) for i in range(2)}
    found = vit.examine(models, early)
    other = next(name for name in models if name != found.best)
    verdict = about(found, other)
    assert said(found) == {found.best: FINE, other: verdicts.LEFT_BASIN}
    barrier = verdict.evidence.barrier
    assert barrier.low > 0.02
    assert barrier.accuracy < min(barrier.ends)
    assert f"{100 * barrier.drop:.1f} points below the straight line" in verdict.reason
    assert "smaller learning rate" in verdict.advice
    rows = summarise(found)
    assert "1 left the basin, with barriers of up to" in texts(rows, ALONE)
    assert "points below the best model" in texts(rows, COLLAPSED)
    assert texts(rows, TODO) == (
        f"{other}: leave it out, or train it again with a smaller learning rate."
    )


def test_a_model_that_has_grown_is_no_stranger(vit):
    grown = trained(vit.start, 60, 3e-2, 2)
    found = vit.examine({**vit.healthy, "grown": grown}, vit.start)
    verdict = about(found, "grown")
    assert verdict.verdict in (verdicts.LEFT_BASIN, verdicts.AT_CHANCE)
    assert "times as long as those of θ₀" in verdict.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_copy_is_a_duplicate(vit, dtype):
    twin = changed(vit.healthy["m2"], lambda t: t.to(dtype).float())
    found = vit.examine({**vit.healthy, "twin": twin})
    assert said(found) == dict.fromkeys(vit.healthy, FINE) | {"twin": verdicts.DUPLICATE}
    assert about(found, "twin").evidence.twin == "m2"
    assert "those of m2" in about(found, "twin").reason


def test_nearly_equal_weights_are_a_duplicate(vit):
    near = changed(vit.healthy["m2"], lambda t: t + 1e-5 * torch.randn_like(t))
    assert said(vit.examine({**vit.healthy, "near": near}))["near"] == verdicts.DUPLICATE


def test_a_barely_trained_model(vit):
    barely = trained(vit.start, 1, 1e-7, 4)
    found = vit.examine({**vit.healthy, "barely": barely}, vit.start)
    assert said(found) == dict.fromkeys(vit.healthy, FINE) | {"barely": verdicts.BARELY_TRAINED}
    assert about(found, "barely").evidence.changed == 0


def test_statistics_of_batch_normalisation_that_need_a_new_measurement(resnet):
    far = trained(resnet.start, 80, 2e-2, 2)
    found = resnet.examine({**resnet.healthy, "far": far}, resnet.start)
    # The far model may be the most accurate one. The others share a basin without it.
    assert said(found) == dict.fromkeys(resnet.healthy, FINE) | {"far": verdicts.BATCH_NORM}
    verdict = about(found, "far")
    assert verdict.evidence.barrier.recalibrated > verdict.evidence.barrier.accuracy + 0.05
    assert verdict.advice == "Set model.recalibrate_batch_norm: 300."


def test_left_out_models_keep_their_reasons(vit, tmp_path):
    patients = vit.patients(vit.healthy, vit.start)
    path = tmp_path / "gone.safetensors"
    checkpoints.save_left_out(path, LeftOut("diverged", "tensor 'head.bias' has NaN"), {})
    missing = np.full((len(patients.labels), CLASSES), np.nan, np.float32)
    known = patients.logits
    patients.paths = {"gone": path, **patients.paths}
    patients.logits = lambda name: missing if name == "gone" else known(name)
    found = examine(patients)
    gone = about(found, "gone")
    assert (gone.verdict, gone.reason) == (verdicts.DIVERGED, "Tensor 'head.bias' has NaN.")
    assert gone.row()["verdict"] == "diverged"
    assert said(found) == {"gone": verdicts.DIVERGED} | dict.fromkeys(vit.healthy, FINE)
    patients.paths = {"gone": path}
    found = examine(patients)
    assert found.best is None
    assert len(summarise(found)) == 1


def test_weights_that_are_not_finite_are_named(vit):
    """Logits of saturated models may be finite although a weight is infinite."""
    patients = vit.patients({"bad": vit.healthy["m0"], **vit.healthy}, vit.start)
    state = Checkpoint(patients.paths["bad"]).state()
    state["visual.norm.weight"][3] = torch.inf
    checkpoints.save(patients.paths["bad"], state, {})
    found = examine(patients)
    assert said(found) == {"bad": verdicts.DIVERGED} | dict.fromkeys(vit.healthy, FINE)
    assert "'visual.norm.weight'" in about(found, "bad").reason


def test_other_architectures_classes_and_pretrained_models_cannot_be_mixed(vit):
    wide = copy.deepcopy(vit.healthy["m0"])
    wide.head = nn.Linear(wide.head.in_features, CLASSES + 1)
    deep = copy.deepcopy(vit.healthy["m0"])
    deep.visual.extra = nn.Linear(2, 2)
    models = {**vit.healthy, "wide": wide, "deep": deep, "named": vit.healthy["m0"]}
    found = vit.examine(models, notes={"named": {"pretrained": "another"}})
    assert said(found) == dict.fromkeys(vit.healthy, FINE) | {
        "wide": verdicts.OTHER_CLASSES,
        "deep": verdicts.OTHER_ARCHITECTURE,
        "named": verdicts.OTHER_INITIALISATION,
    }
    assert "'head.bias'" in about(found, "wide").reason


def test_a_start_that_is_not_that_of_the_models_is_told_and_not_used(vit):
    found = vit.examine(vit.healthy, fresh("test_vit", 5))
    assert set(said(found).values()) == {FINE}
    assert "not related to these models" in texts(summarise(found), START)


def test_the_uniform_soup_is_tried_without_the_models_that_harm_it(resnet):
    strangers = {f"s{i}": trained(fresh("test_resnet", i), 30, 1e-3, i) for i in (8, 9)}
    found = resnet.examine({**resnet.healthy, **strangers}, resnet.start)
    rows = summarise(found)
    assert "Without s8, s9, the uniform soup of the other 4 has 9" in texts(rows, COLLAPSED)
    assert "s8, s9: leave them out, or fine-tune them again" in texts(rows, TODO)


def test_a_greedy_soup_of_one_model_among_fine_ones_is_explained_by_the_images(vit):
    found = vit.examine(vit.healthy, vit.start)
    text = texts(summarise(found), ALONE)
    assert f"If the greedy soup holds {found.best} alone, 3 of the 3 others fit to it" in text
    assert "One of 300 held-out images is worth 0.3 points." in text


def test_distances_and_cosines_are_those_of_the_weights(vit):
    paths = vit.patients(vit.healthy, vit.start).paths
    found = geometry.measure({name: Checkpoint(path) for name, path in paths.items()})
    states = [Checkpoint(path).state() for path in paths.values()]

    def vectors(part):
        return torch.stack(
            [
                torch.cat(
                    [
                        t.double().flatten()
                        for n, t in s.items()
                        if geometry.group(n, t.shape) == part
                    ]
                )
                for s in states
            ]
        )

    for part in geometry.EVERYTHING:
        rows = vectors(part)
        torch.testing.assert_close(found.distances(part), torch.cdist(rows, rows))
        torch.testing.assert_close(found.inner(part), rows @ rows.T)
    assert vectors(geometry.STEM).shape[1] == states[0]["visual.patch_embed.proj.weight"].numel()
    heads = torch.stack([s["head.weight"].double() for s in states])
    heads = (heads - heads.mean(1, keepdim=True)).flatten(1)
    wanted = torch.nn.functional.cosine_similarity(heads[:, None], heads[None], dim=-1)
    torch.testing.assert_close(found.head_correlations(), wanted)


def test_a_renaming_of_classes_gains_nothing_from_noise():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 50
    guesses = rng.integers(0, 50, 200)
    after = predictions.renamed(guesses, labels, 50)
    assert not predictions.has_other_order(guesses == labels, after, best=0.1)
    guess = predictions.chance(guesses, labels)
    assert predictions.is_at_chance(guesses == labels, guess, best=0.9)


def test_few_images_do_not_put_a_fair_model_at_chance():
    right = np.arange(20) < 13
    assert not predictions.is_at_chance(right, guess=0.5, best=0.4)


def test_a_model_that_finds_a_rare_class_is_not_at_chance():
    labels = np.arange(1000) % 10 == 0
    often = np.zeros(1000, int)
    finds = np.where(labels | (np.arange(1000) % 7 == 0), 1, 0)
    assert (finds == labels).mean() < (often == labels).mean()
    for guesses, expected in ((often, True), (finds, False)):
        guess = predictions.chance(guesses, labels.astype(int))
        assert predictions.is_at_chance(guesses == labels, guess, best=0.6) == expected


def test_two_classes_in_another_order_are_enough():
    labels = np.arange(600) % 6
    swapped = np.array([1, 0, 2, 3, 4, 5])[labels]
    after = predictions.renamed(swapped, labels, 6)
    assert after.all()
    assert predictions.has_other_order(swapped == labels, after, best=0.9)


def test_models_of_other_seeds_are_no_copies(vit):
    paths = vit.patients(vit.healthy, vit.start).paths
    assert not is_copy(Checkpoint(paths["m0"]), Checkpoint(paths["m1"]))
