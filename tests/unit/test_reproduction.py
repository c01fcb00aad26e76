import pandas as pd
import pytest
import yaml

from soups.claims import published
from soups.claims.reproduction import compare
from soups.experiment import sweep
from soups.roles import ENSEMBLE, GREEDY, UNIFORM, Roles
from tests.unit.test_overlays import merge

MEASURES = list(published.SETS_OF_MEASURES)


@pytest.fixture
def table(root):
    """The released table."""
    return published.load(root / "experiments" / "published" / "clip-vitb32-72.csv")


def ours(table, names, offset=0.0):
    """The published accuracies of some rows, with an offset."""
    rows = [
        {m: table.loc[theirs, sets].astype(float).mean() + offset
         for m, sets in published.SETS_OF_MEASURES.items()}
        for theirs in names
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("rows", [{}, {UNIFORM: "mean", GREEDY: "mine"}])
def test_models_match_by_name_and_soups_by_role(table, rows):
    rows = {UNIFORM: UNIFORM, GREEDY: GREEDY, ENSEMBLE: ENSEMBLE} | rows
    models = ours(table, ["model_0", "model_43"], 0.01)
    models.insert(0, "model", ["model_0", "model_43"])
    methods = ours(table, ["uniform_soup", "greedy_soup", "ensemble"], -0.02)
    methods.insert(0, "method", [rows[UNIFORM], rows[GREEDY], rows[ENSEMBLE]])
    found = compare(models, methods, table, Roles(rows))
    assert set(found["model"]) == {"model_0", "model_43", *rows.values()}
    assert len(found) == 5 * len(MEASURES)
    differences = {"ensemble": -0.02, "model": 0.01, "soup": -0.02}
    by_kind = found.groupby("kind")["difference"]
    assert by_kind.min().round(6).to_dict() == differences
    assert by_kind.max().round(6).to_dict() == differences
    best = found[(found["model"] == "model_43") & (found["measure"] == "test")]
    assert best["published"].item() == pytest.approx(0.80386, abs=1e-5)


def test_models_and_measures_of_only_one_side_are_left_out(table):
    models = ours(table, ["model_1"])[["heldout", "test", "v2", "shifts_mean"]]
    models.insert(0, "model", ["m00"])
    none = pd.DataFrame({"method": []})
    assert compare(models, none, table, Roles.named()).empty
    models["model"] = "model_1"
    # Means over different shifts are not compared.
    assert compare(models, none, table, Roles.named())["measure"].tolist() == [
        "heldout",
        "test",
        "v2",
    ]


def test_the_published_sweep_has_the_hyperparameters_of_the_released_table(root, config, table):
    settings = {"kind": "table", "table": str(root / "experiments" / "published" / "sweep.csv")}
    rows = sweep.draw(settings, config["finetune"])
    assert list(rows) == [f"model_{i}" for i in range(72)]
    assert rows["model_0"]["epochs"] == 0  # This model is the linear probe.
    # The authors' seeds are unknown. Models with equal hyperparameters need different seeds.
    assert [row["seed"] for row in rows.values()] == list(range(72))
    for name, row in list(rows.items())[1:]:
        for key in published.HYPERPARAMETERS:
            assert row[key] == table.loc[name, key]
        magnitude, operations = published.rand_augment(table.loc[name, "rand_augment"])
        assert row["rand_augment_ops"] == (operations or 0)
        # CLIP's own preprocessing, or timm's training transforms.
        plain = pd.isna(table.loc[name, "rand_augment"])
        assert (row["crop"], row["flip"]) == ((1, 0) if plain else (0.08, 0.5))
        assert row["rand_augment_magnitude"] == (magnitude or 0)


def test_the_released_experiment_takes_models_as_the_authors_code_does(root, config):
    """It takes a model only if the soup becomes better. Every greedy rule has this option."""
    for name in ("imagenet", "released"):
        path = root / "experiments" / f"{name}.yaml"
        config = merge(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    rules = [
        spec.get("accept")
        for section in ("soups", "ensembles")
        for spec in config[section].values()
        if spec["method"].startswith("greedy")
    ]
    assert rules == ["better"] * 4
    learned = [spec for spec in config["soups"].values() if spec["method"] == "learned"]
    assert [spec["batch_size"] for spec in learned] == [256, 256]


def test_the_search_of_the_main_experiment_draws_both_pipelines_as_often(root, config, table):
    """The search has the published shares of the pipelines and of RandAugment's operations."""
    overlay = yaml.safe_load((root / "experiments" / "imagenet.yaml").read_text(encoding="utf-8"))
    search = merge(config, overlay)["sweep"]["random"] | {"n": 1000}
    rows = sweep.draw({"kind": "random", "random": search}, config["finetune"]).values()
    known = [
        published.rand_augment(text)[1] for text in published.fine_tuned(table)["rand_augment"]
    ]
    timm = [operations for operations in known if operations is not None]
    ours = [row["rand_augment_ops"] for row in rows if row["crop"] < 1]
    assert len(ours) / len(rows) == pytest.approx(len(timm) / len(known), abs=0.04)
    for number in range(3):
        share = ours.count(number) / len(ours)
        assert share == pytest.approx(timm.count(number) / len(timm), abs=0.1)
    assert all(not row["rand_augment_ops"] and not row["flip"] for row in rows if row["crop"] == 1)
