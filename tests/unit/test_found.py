"""Ready-made models: finding and naming their files, and tables with any columns."""

import pytest

from soups.errors import UserError
from soups.experiment import found, sweep


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a function that makes empty files in an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return make


RUNS = (
    "runs/lr1/model_best.pth.tar",
    "runs/lr2/model_best.pth.tar",
    "runs/lr10/model_best.pth.tar",
)


def test_models_have_the_names_of_what_the_wildcards_stand_for(files):
    files(*RUNS, "runs/lr1/args.yaml", "more/a.pth", "more/b.safetensors", "more/notes.txt")
    expected = dict(zip(("lr1", "lr2", "lr10"), RUNS, strict=True))
    assert list(found.find("runs/*/model_best.pth.tar").items()) == list(expected.items())
    assert found.find("runs/**/model_best.pth.tar") == expected
    assert found.find(list(RUNS)) == expected
    assert found.find("more/*") == {"a": "more/a.pth", "b": "more/b.safetensors"}
    assert found.find("more") == found.find("more/*")
    assert found.find("more/a.pth") == {"a": "more/a.pth"}
    assert list(found.find(["more/a.pth", "runs/*/*.tar"])) == [
        "a", "lr1_model_best", "lr2_model_best", "lr10_model_best",
    ]  # fmt: skip


def test_names_stay_when_files_are_added(files):
    files("runs/lr1/a.pth", "runs/lr2/a.pth")
    before = found.find("runs/*/*.pth")
    files("runs/lr1/b.pth", "runs/x/y.pth")
    assert before.items() <= found.find("runs/*/*.pth").items()


def test_folders_of_hugging_face_are_models(files):
    files("hf/one/config.json", "hf/one/model.safetensors", "hf/two/model.safetensors.index.json")
    files("hf/logs/events.out", "hf/readme.md")
    assert found.find("hf/*") == {"one": "hf/one", "two": "hf/two"} == found.find("hf")
    assert found.find("hf/one") == {"one": "hf/one"}
    files("hf/one/checkpoint-5/config.json", "hf/one/checkpoint-5/model.safetensors")
    deep = {"one_checkpoint-5": "hf/one/checkpoint-5"}
    assert found.find("hf/**") == deep | {"one": "hf/one", "two": "hf/two"}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("1.pth", "m_1"),
        ("1e5.pth", "m_1e5"),
        ("nan.pth", "m_nan"),
        ("True.pth", "m_True"),
        ("initialization.pth", "m_initialization"),
        ("lr0.001 wd=0.1.ckpt", "lr0_001_wd_0_1"),
        ("epoch=3-step=10.ckpt", "epoch_3-step_10"),
        ("_x_.pt", "x"),
        ("a[1].pt", "a_1"),
    ],
)
def test_names_are_valid_and_no_reader_takes_them_for_numbers(files, file, name):
    files(f"m/{file}")
    assert found.find("m/*") == {name: f"m/{file}"}
    assert found.find(f"m/{file}") == {name: f"m/{file}"}


def test_equal_names_get_a_part_of_a_hash(files):
    files("m/a.1.pt", "m/A_1.pt", "m/猫.pt")
    names = list(found.find("m/*"))
    assert len({name.casefold() for name in names}) == 3
    assert all(found.NAME.fullmatch(name) for name in names)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("none/*", "has 'none/*', which finds no file of weights and no folder of a model"),
        ("runs", r"a pattern such as runs/\*/model_best.pth.tar"),
        ("runs/lr1/*.yaml", "finds no file of weights"),
    ],
)
def test_a_pattern_that_finds_nothing_is_an_error(files, pattern, sentence):
    files(*RUNS, "runs/lr1/args.yaml")
    with pytest.raises(UserError, match=sentence.replace("/*'", r"/\*'")):
        found.find(pattern)


# Tables


def given(kind: str, table: str | None, models: dict | None = None) -> dict:
    return sweep.ready_made({"kind": kind, "table": table}, models)


def test_a_table_of_ready_made_models_has_any_columns_and_invents_none(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("model,optimizer,lr,steps\na,adam,1e-4,10\nb.pth,sgd,,20\n")
    models = {"a": "m/a.pth", "b": "m/b.pth", "c": "m/c.pth"}
    rows = given("files", str(table), models)
    assert rows == {
        "a": {"optimizer": "adam", "lr": 0.0001, "steps": 10},
        "b": {"optimizer": "sgd", "lr": None, "steps": 20},
        "c": {"optimizer": None, "lr": None, "steps": None},
    }
    assert list(rows) == ["a", "b", "c"]
    assert given("files", None, models) == {"a": {}, "b": {}, "c": {}}
    table.write_text("model,batch\na,128\nb,unknown\n")  # a single word makes it a column of text
    assert given("table", str(table)) == {"a": {"batch": "128"}, "b": {"batch": "unknown"}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model,lr\nd,1\n", "row 2 has the model 'd', which is no model of ingredients.checkp"),
        ("model,lr\na,1\na.pth,1\n", "model 'a' occurs twice"),
        ("name,lr\na,1\n", "has the columns name, lr, expected a column 'model'"),
        ("model,lr\nsame.pth,1\n", "the model 'same.pth', which may be x or y"),
    ],
)
def test_a_table_that_does_not_fit_the_models_is_an_error(tmp_path, text, sentence):
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=sentence):
        given("files", str(table), {"a": "m/a.pth", "x": "x/same.pth", "y": "y/same.pth"})
