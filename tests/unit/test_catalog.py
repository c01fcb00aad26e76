import pytest

from soups import catalog
from soups.errors import UserError

INGREDIENTS = ["m0", "m1", "m0_ema"]


def pool(variants, query, key):
    names = [name for name in INGREDIENTS if ("ema" in name) == (variants == ["ema"])]
    return names[:1] if query else names


def soups(settings: dict) -> dict:
    return catalog.soups(settings, pool)


def test_defaults_are_filled_in():
    made = soups({"cooked": {"method": "ties", "density": 0.5}, "off": None})
    assert made == {
        "cooked": {
            "method": "ties",
            "options": {"density": 0.5, "scales": catalog.SCALES},
            "ingredients": ["m0", "m1"],
            "of": [],
            "row": "cooked",
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
        }
    )
    assert made["line"]["ingredients"] == ["m0_ema"]
    assert made["best"]["ingredients"] == ["m0_ema", "m0"]
    assert made["alone"]["ingredients"] == ["m0", "m1"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"x": {"method": "uniform", "trim": 0.1}}, "soups.x.trim: not an option of method 'uni"),
        ({"x": {"method": "wise_ft"}}, "soups.x.of is missing, expected the name of a soup"),
        ({"x": {"method": "wise_ft", "of": "y"}}, "soups.x.of is 'y', expected one of best_ind"),
        ({"x": {"method": "wise_ft", "of": "x"}}, "soups.x.of is 'x', which needs this soup"),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": {"method": "wise_ft", "of": "x"}},
            "soups.y.of is 'x', which needs this soup itself",
        ),
        (
            {"x": {"method": "greedy_random"}, "y": {"method": "wise_ft", "of": "x"}},
            "soups.y.of is 'x', expected one of best_individual, y",
        ),
        (
            {"x": {"method": "greedy_random"}, "x_1": {"method": "uniform"}},
            "soups.x_1 is also an order of soups.x",
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
    with pytest.raises(UserError, match=r"ensembles.cooked: a soup is called so too"):
        catalog.ensembles({"cooked": {"method": "uniform"}}, made, pool)


def test_every_model_has_an_id_of_its_own():
    made = soups({"m0": {"method": "uniform"}})
    with pytest.raises(UserError, match="'m0' is the id of another model"):
        catalog.check_names(INGREDIENTS, made, {})
    with pytest.raises(UserError, match="'oracle' is the id of another model"):
        catalog.check_names([], soups({"oracle": {"method": "uniform"}}), {})


def test_curves_start_from_something():
    of, settings, made = ["best_individual", "ties", "greedy"], {"ties": None}, {"greedy": {}}
    assert catalog.curve_ends(of, settings, made) == ["best_individual", "greedy"]
    with pytest.raises(UserError, match=r"curves.wise_ft.of has 'tise', expected among best_ind"):
        catalog.curve_ends(["tise"], settings, made)


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


def test_something_is_cooked():
    with pytest.raises(UserError, match="soups has none that is not null"):
        soups({"uniform": None})
