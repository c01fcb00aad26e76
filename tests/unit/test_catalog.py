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


def test_a_soup_gets_the_defaults_of_its_method():
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


def test_an_option_newer_than_finished_soups_is_left_out_at_its_old_value():
    """The parameters of rules that made these soups stay the same."""
    for spec in ({}, {"accept": "at_least"}):
        assert soups({"g": {"method": "greedy", **spec}})["g"]["options"] == {}
    assert soups({"g": {"method": "greedy", "accept": "better"}})["g"]["options"] == {
        "accept": "better"
    }
    made = catalog.ensembles({"e": {"method": "greedy", "accept": "better"}}, {}, pool)
    assert made["e"]["options"] == {"average": "logits", "accept": "better"}


def test_each_order_is_a_recipe():
    made = soups({"mixed": {"method": "greedy_random", "orders": 2}})
    assert list(made) == ["mixed_0", "mixed_1"]
    assert [entry["options"] for entry in made.values()] == [
        {"seed": 0, "order": 0}, {"seed": 0, "order": 1},
    ]  # fmt: skip
    assert {entry["row"] for entry in made.values()} == {"mixed"}


def test_a_soup_of_soups_has_all_their_ingredients():
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
        (
            {"x": {"method": "wise_ft", "of": "x"}},
            "soups.x.of is 'x', which itself needs this soup",
        ),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": {"method": "wise_ft", "of": "x"}},
            "soups.y.of is 'x', which itself needs this soup",
        ),
        (
            {"x": {"method": "greedy_random"}, "y": {"method": "wise_ft", "of": "x"}},
            "soups.y.of is 'x', expected one of best_individual",
        ),
        (
            {"x": {"method": "greedy_random"}, "x_1": {"method": "uniform"}},
            "soups has the name 'x_1', expected another one because an order of soups.x",
        ),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": None},
            "soups.x.of is 'y', which is null, expected soups.x: null as well",
        ),
        (
            {"x": {"method": "wise_ft", "of": "y"}, "y": {"method": "ties"}},
            "soups.x.of leads to 'y' of the method 'ties', expected a soup that is a weighted sum",
        ),
        (
            {
                "x": {"method": "wise_ft", "of": "y"},
                "y": {"method": "best_of", "of": ["z"]},
                "z": {"method": "median"},
            },
            "soups.x.of leads to 'z' of the method 'median', expected",
        ),
        (
            {"x": {"method": "wise_ft", "of": ["y", "y"]}, "y": {"method": "uniform"}},
            "soups.x.of is ['y', 'y'], expected one name",
        ),
        (
            {"x": {"method": "best_of", "of": "y", "query": "row < 1"}, "y": {"method": "uniform"}},
            "soups.x.query is 'row < 1', expected no such key because the",
        ),
    ],
)
def test_an_invalid_soup_is_an_error(settings, sentence):
    with pytest.raises(UserError) as error:
        soups(settings)
    assert sentence in str(error.value)


def test_ensembles_get_defaults_and_members():
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
    with pytest.raises(UserError, match=r"ensembles has the name 'cooked', expected another"):
        catalog.ensembles({"cooked": {"method": "uniform"}}, made, pool)


def test_a_name_that_is_taken_is_an_error():
    made = soups({"m0": {"method": "uniform"}})
    with pytest.raises(UserError, match=r"soups has the name 'm0', expected another one"):
        catalog.check_names(INGREDIENTS, soups=made, ensembles={})
    with pytest.raises(UserError, match=r"ensembles has the name 'oracle', expected another"):
        catalog.check_names(["oracle"], soups={}, ensembles={"oracle": {"row": "oracle"}})


def test_lines_go_from_starts_to_models():
    of, settings = ["ties", "greedy", "best_individual"], {"ties": None}
    made = {"greedy": {"start": "initialization"}, "apart": {"start": None}}
    assert catalog.curve_ends(of, settings, made, ["zeroshot", "zeroshot"]) == {
        "best_individual": "zeroshot", "greedy": "initialization",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"curves.wise_ft.of has 'tise', expected one of best_ind"):
        catalog.curve_ends(["tise"], settings, made, [])
    for name, starts in (("apart", []), ("best_individual", ["zeroshot", "newhead"])):
        with pytest.raises(UserError, match=rf"of has '{name}', whose ingredients are fine-tuned"):
            catalog.curve_ends([name], settings, made, starts)


def test_the_start_of_a_soup_is_that_of_its_ingredients():
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
    with pytest.raises(
        UserError, match=r"soups.mixed needs a common start for the method 'wise_ft'"
    ):
        catalog.soups(mixed, pool, starts)
    with pytest.raises(
        UserError, match=r"soups.x needs a common start for the method 'model_stock'"
    ):
        catalog.soups({"x": {"method": "model_stock"}}, pool, starts | {"m1": "newhead"})
    apart = catalog.soups({"x": {"method": "median"}}, pool, starts | {"m1": "newhead"})
    assert apart["x"]["start"] is None


def test_rows_are_in_the_order_of_the_methods():
    made = soups(
        {
            "part": {"method": "uniform", "query": "row < 1"},
            "fitted": {"method": "learned"},
            "greedy": {"method": "greedy"},
            "uniform": {"method": "uniform"},
        }
    )
    assert list(made) == ["uniform", "part", "greedy", "fitted"]


def test_references_have_to_be_rows():
    sections, rows = [{"a": {}, "off": None}, {"e": {}}], ["best_individual", "a", "e"]
    assert catalog.references(["a", "off", "e"], sections, rows) == ["a", "e"]
    with pytest.raises(UserError, match="compare_with has 'b', expected one of best_individual, a"):
        catalog.references(["b"], sections, rows)


def test_a_configuration_without_soups_is_an_error():
    with pytest.raises(UserError, match="soups has only null entries"):
        soups({"uniform": None})
