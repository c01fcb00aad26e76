import pytest

from soups.errors import UserError
from soups.experiment import catalog, registry

INGREDIENTS = ["m0", "m1", "m0_ema"]
STARTS = dict.fromkeys(INGREDIENTS, "initialization")


def pool(variants, query, key):
    names = [name for name in INGREDIENTS if ("ema" in name) == (variants == ["ema"])]
    return names[:1] if query else names


def soups(settings: dict) -> dict:
    return catalog.soups(settings, pool, STARTS)


def test_defaults_are_filled_in():
    made = soups({"cooked": {"method": "ties", "density": 0.5}, "off": None})
    assert made == {
        "cooked": {
            "method": "ties",
            "options": {"density": 0.5, "scales": registry.SCALES},
            "pool": ["m0", "m1"],
            "ingredients": ["m0", "m1"],
            "of": [],
            "row": "cooked",
            "start": "initialization",
        }
    }


def test_orders_are_recipes_of_their_own():
    made = soups({"mixed": {"method": "greedy_random", "orders": 2}})
    assert list(made) == ["mixed_0", "mixed_1"]
    assert [entry["options"] for entry in made.values()] == [
        {"seed": 0, "order": 0}, {"seed": 0, "order": 1},
    ]  # fmt: skip
    assert {entry["row"] for entry in made.values()} == {"mixed"}


def test_a_soup_of_a_soup_may_hold_what_that_may_hold():
    made = soups(
        {
            "line": {"method": "wise_ft", "of": "averaged"},
            "averaged": {"method": "uniform", "variants": ["ema"]},
            "best": {"method": "best_of", "of": ["line", "plain"]},
            "plain": {"method": "uniform", "query": "row < 1"},
            "alone": {"method": "wise_ft", "of": "best_individual"},
            "both": {"method": "best_of", "of": ["averaged", "best_individual"]},
        }
    )
    assert made["both"]["ingredients"] == ["m0_ema", "m0", "m1"]
    assert made["both"]["pool"] == ["m0", "m1"]
    assert made["line"]["ingredients"] == ["m0_ema"]
    assert made["best"]["ingredients"] == ["m0_ema", "m0"]
    assert made["alone"]["ingredients"] == ["m0", "m1"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"x": {"method": "uniform", "trim": 0.1}},
            "soups.x.trim is not an option of 'uniform', exp",
        ),
        ({"x": {"method": "wise_ft"}}, "soups.x.of is missing, expected the name of a soup"),
        ({"x": {"method": "wise_ft", "of": "y"}}, "soups.x.of is 'y', expected one of best_ind"),
        ({"x": {"method": "wise_ft", "of": "x"}}, "soups.x.of is 'x', which needs this soup"),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": {"method": "wise_ft", "of": "x"}},
            "soups.y.of is 'x', which needs this soup itself",
        ),
        (
            {"x": {"method": "greedy_random"}, "y": {"method": "wise_ft", "of": "x"}},
            "soups.y.of is 'x', expected one of best_individual",
        ),
        (
            {"x": {"method": "greedy_random"}, "x_1": {"method": "uniform"}},
            "soups.x_1 is also an order of soups.x",
        ),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": None},
            "soups.x.of is 'y', which is switched off; set soups.x to null too",
        ),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": {"method": "ties"}},
            "soups.x.of leads to 'y', which is no weighted sum of its ingredients (ties)",
        ),
        (
            {
                "x": {"method": "wise_ft", "of": "y"},
                "y": {"method": "best_of", "of": ["z"]},
                "z": {"method": "median"},
            },
            "soups.x.of leads to 'z', which is no weighted sum",
        ),
        (
            {"x": {"method": "wise_ft", "of": ["y", "y"]}, "y": {"method": "uniform"}},
            "soups.x.of is ['y', 'y'], expected one name",
        ),
        (
            {"x": {"method": "best_of", "of": "y", "query": "row < 1"}, "y": {"method": "uniform"}},
            "soups.x.query is 'row < 1', expected none: its ingredients are those of y",
        ),
    ],
)
def test_bad_soups(settings, sentence):
    with pytest.raises(UserError) as error:
        soups(settings)
    assert sentence in str(error.value)


def test_ensembles():
    made = soups({"cooked": {"method": "greedy"}})
    settings = {"all": {"method": "uniform"}, "its": {"method": "members", "of": "cooked"}}
    entries = catalog.ensembles(settings | {"off": None}, made, pool)
    assert list(entries) == ["all", "its"]
    assert entries["its"]["options"] == {"average": "logits"}
    with pytest.raises(UserError, match=r"ensembles.x.of is 'y', expected one of"):
        catalog.ensembles({"x": {"method": "members", "of": "y"}}, made, pool)
    for method in (
        {"method": "wise_ft", "of": "best_individual"},
        {"method": "best_of", "of": "l"},
    ):
        both = soups({"l": {"method": "wise_ft", "of": "best_individual"}, "x": method})
        with pytest.raises(UserError, match=r"ensembles.e.of is 'x', expected one of"):
            catalog.ensembles({"e": {"method": "members", "of": "x"}}, both, pool)
    with pytest.raises(UserError, match=r"ensembles.e.of is 'best_individual', expected one of"):
        catalog.ensembles({"e": {"method": "members", "of": "best_individual"}}, made, pool)
    with pytest.raises(UserError, match=r"ensembles.cooked: a soup is called so too"):
        catalog.ensembles({"cooked": {"method": "uniform"}}, made, pool)


def test_every_model_has_an_id_of_its_own():
    made = soups({"m0": {"method": "uniform"}})
    with pytest.raises(UserError, match=r"soups.m0: an ingredient, .* is called 'm0' already"):
        catalog.check_names(INGREDIENTS, soups=made, ensembles={})
    with pytest.raises(UserError, match=r"ensembles.oracle: an ingredient"):
        catalog.check_names(["oracle"], soups={}, ensembles={"oracle": {"row": "oracle"}})


def test_curves_lead_from_starts_to_models():
    of, settings = ["ties", "greedy", "best_individual"], {"ties": None}
    made = {"greedy": {"start": "initialization"}, "apart": {"start": None}}
    assert catalog.curve_ends(of, settings, made, ["zeroshot", "zeroshot"]) == {
        "best_individual": "zeroshot", "greedy": "initialization",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"curves.wise_ft.of has 'tise', expected among best_ind"):
        catalog.curve_ends(["tise"], settings, made, [])
    for name, starts in (("apart", []), ("best_individual", ["zeroshot", "newhead"])):
        with pytest.raises(UserError, match=rf"of has '{name}', whose ingredients are fine-tuned"):
            catalog.curve_ends([name], settings, made, starts)


def test_the_start_is_that_of_the_ingredients():
    starts = {"m0": "zeroshot", "m1": "zeroshot", "m0_ema": "newhead"}
    made = catalog.soups(
        {
            "base": {"method": "uniform"},
            "other": {"method": "learned", "variants": ["ema"]},
            "mixed": {"method": "best_of", "of": ["base", "other"]},
        },
        pool,
        starts,
    )
    assert {name: entry["start"] for name, entry in made.items()} == {
        "mixed": None, "base": "zeroshot", "other": "newhead",
    }  # fmt: skip
    mixed = {
        "line": {"method": "wise_ft", "of": "best_individual"},
        "other": {"method": "uniform", "variants": ["ema"]},
        "mixed": {"method": "best_of", "of": ["line", "other"]},
    }
    with pytest.raises(UserError, match=r"soups.mixed is made by wise_ft and holds models fine"):
        catalog.soups(mixed, pool, starts)
    with pytest.raises(UserError, match=r"soups.x is made by model_stock and holds models fine"):
        catalog.soups({"x": {"method": "model_stock"}}, pool, starts | {"m1": "newhead"})
    apart = catalog.soups({"x": {"method": "median"}}, pool, starts | {"m1": "newhead"})
    assert apart["x"]["start"] is None


def test_rows_are_in_the_papers_order_whatever_overlays_do():
    made = soups(
        {
            "part": {"method": "uniform", "query": "row < 1"},
            "fitted": {"method": "learned"},
            "greedy": {"method": "greedy"},
            "uniform": {"method": "uniform"},
        }
    )
    assert list(made) == ["uniform", "part", "greedy", "fitted"]


def test_references_are_rows():
    sections, rows = [{"a": {}, "off": None}, {"e": {}}], ["best_individual", "a", "e"]
    assert catalog.references(["a", "off", "e"], sections, rows) == ["a", "e"]
    with pytest.raises(UserError, match="compare_with has 'b', expected among best_individual, a"):
        catalog.references(["b"], sections, rows)


def test_something_is_cooked():
    with pytest.raises(UserError, match="soups has none that is not null"):
        soups({"uniform": None})
