"""The section `data.text`: presets with the quirks of GLUE's files, defaults, and checks."""

import copy

import pytest
import yaml

from soups.errors import UserError
from soups.experiment import settings as experiment
from soups.experiment.plan import Plan
from soups.text import reading, settings
from soups.text.source import Texts

SCHEMA = "rules/schemas/config.schema.yaml"
TSV = "text\tlabel\na\tpos\nb\tneg\n"


@pytest.fixture
def glue(tmp_path):
    """A folder with tiny files that have the quirks of the released ones."""
    rte = 'index\tsentence1\tsentence2\tlabel\n0\tA "b.\tC\tentailment\n1\tD\tE"\tnot_entailment\n'
    mrpc = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    mrpc += '1\t1\t2\tHe said "a.\t"b\n0\t3\t4\tc\td\n'
    cola = "gj04\t1\t\tOur friends won't.\ngj04\t0\t*\tThem \"goed.\n"
    sst = "sentence\tlabel\nit 's good \t1\nbad .\t0\n"
    sets = {
        "RTE": {"train.tsv": rte, "dev.tsv": rte, "test.tsv": "index\tsentence1\tsentence2\n"},
        "MRPC": {"msr_paraphrase_train.txt": mrpc.replace("\n", "\r\n"), "dev.tsv": mrpc,
                 "test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n"},
        "CoLA": {"train.tsv": cola, "dev.tsv": cola},
        "SST-2": {"train.tsv": sst, "dev.tsv": sst, "test.tsv": "index\tsentence\n"},
    }  # fmt: skip
    for folder, files in sets.items():
        for name, content in files.items():
            write(tmp_path / folder / name, content)
    return tmp_path


@pytest.fixture
def validate(root, tmp_path, monkeypatch):
    """A function that validates the default with texts and with some keys changed."""
    monkeypatch.chdir(tmp_path)
    base = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    base["model"] |= {"architecture": "transformers/m", "pretrained": "m"}
    for name in ("train.tsv", "test.tsv", "shift.tsv"):
        write(tmp_path / name, TSV)

    def validated(text: dict | None, files=(), **sections) -> dict:
        config = copy.deepcopy(base)
        config["data"] |= {"source": "text", "text": text}
        for key, change in sections.items():
            config[key] = config[key] | change if isinstance(change, dict) else change
        experiment.validate(config, root / SCHEMA, files)
        return config

    return validated


def write(path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def refusal(validate, *arguments, **sections) -> str:
    with pytest.raises(UserError) as error:
        validate(*arguments, **sections)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


def read(source: Texts, name: str) -> list[dict]:
    return reading.read(source.origin(name), name)[0]


PLAIN = {"train": "train.tsv", "test": "test.tsv"}


@pytest.mark.parametrize(
    ("preset", "first", "classes", "metric", "train", "test"),
    [
        (
            "rte",
            {"text": 'A "b.', "second": "C", "label": "entailment"},
            ["not_entailment", "entailment"],
            "accuracy",
            "RTE/train.tsv",
            "RTE/dev.tsv",
        ),
        (
            "mrpc",
            {"text": 'He said "a.', "second": '"b', "label": "equivalent"},
            ["not_equivalent", "equivalent"],
            "accuracy_and_f1",
            "MRPC/msr_paraphrase_train.txt",
            "MRPC/dev.tsv",
        ),
        (
            "cola",
            {"text": "Our friends won't.", "label": "acceptable"},
            ["unacceptable", "acceptable"],
            "matthews",
            "CoLA/train.tsv",
            "CoLA/dev.tsv",
        ),
        (
            "sst2",
            {"text": "it 's good", "label": "positive"},
            ["negative", "positive"],
            "accuracy",
            "SST-2/train.tsv",
            "SST-2/dev.tsv",
        ),
    ],
)
def test_every_preset_reads_files_as_released(
    validate, glue, preset, first, classes, metric, train, test
):
    text = {"preset": preset, "root": str(glue)}
    config = validate(text, name="glue/{preset}")
    assert config["name"] == f"glue/{preset}"
    source = Texts.of({"text": text})
    line = 1 if preset == "cola" else 2
    assert read(source, "train")[0] == first | {"from": f"{train}:{line}"}
    assert len(read(source, "train")) == len(read(source, "test")) == 2
    assert source.settings["test"]["files"] == [test]
    assert source.classes == classes
    assert settings.metric({"text": text}) == metric
    assert source.perturbed == ["typos", "casing", "dropped_words"]
    plan = Plan.of(config)
    assert plan.shifts == ["typos", "casing", "dropped_words"]
    assert plan.source.found == ["train", "test"]


def test_the_test_set_of_mrpc_is_the_public_one_where_it_exists(glue):
    text = {"preset": "mrpc", "root": str(glue)}
    labelled = (glue / "MRPC" / "dev.tsv").read_bytes()
    for name in ("msr_paraphrase_test.txt", "test.tsv"):
        (glue / "MRPC" / name).write_bytes(labelled)
        assert Texts.of({"text": text}).settings["test"]["files"] == [f"MRPC/{name}"]


@pytest.mark.parametrize("folder", ["CoLA", "CoLA/original/raw"])
def test_sentences_of_other_sources_are_a_shift_of_cola(validate, glue, folder):
    write(
        glue / folder / "out_of_domain_dev.tsv", "clc95\t1\t\tSomebody left.\nclc95\t0\t*\tLeft.\n"
    )
    if folder.endswith("raw"):
        write(glue / folder / "in_domain_dev.tsv", "gj04\t1\t\tA.\ngj04\t0\t*\tB.\n")
    text = {"preset": "cola", "root": str(glue)}
    source = Texts.of({"text": text})
    name = folder.removeprefix("CoLA").strip("/")
    assert read(source, "out_of_domain")[0]["text"] == "Somebody left."
    wanted = f"CoLA/{name}/in_domain_dev.tsv" if name else "CoLA/dev.tsv"
    assert source.settings["test"]["files"] == [wanted]
    more = {"out_of_domain": None, "typos": {"perturbation": "typos", "severity": 1}}
    assert settings.shifts({"text": text}) == ["out_of_domain"]
    assert settings.shifts({"text": text | {"shifts": more}}) == ["typos"]
    validate(text | {"shifts": more})
    one = {"out_of_domain": None}
    assert "has no shift that is switched on, expected at least one" in refusal(
        validate, text | {"shifts": one}
    )


def test_keys_of_the_user_override_those_of_the_preset(validate, glue):
    write(glue / "own.tsv", "sentence1\tgold\nx\t1\ny\t0\n")
    text = {
        "preset": "rte", "root": str(glue), "train": "own.tsv",
        "test": {"files": "own2.tsv", "columns": {"text": "sentence2"}},
        "columns": {"second": None, "label": "gold"}, "classes": {"0": "no", "1": "yes"},
    }  # fmt: skip
    write(glue / "own2.tsv", "sentence2\tgold\nx\t1\ny\t0\n")
    validate(text)
    source = Texts.of({"text": text})
    assert source.classes == ["no", "yes"]
    assert [read(source, name)[0]["text"] for name in ("train", "test")] == ["x", "x"]


def test_perturbations_are_the_shifts_of_a_set_without_any(validate):
    every = ["typos", "casing", "dropped_words"]
    assert settings.shifts({"text": PLAIN}) == every
    assert settings.shifts({"text": PLAIN | {"shifts": {}}}) == every
    assert settings.shifts({"text": PLAIN | {"shifts": {"casing": None}}}) == [every[0], every[2]]
    assert settings.shifts({"text": PLAIN | {"shifts": {"b": "shift.tsv"}}}) == ["b"]
    assert settings.settings_of({"text": PLAIN})["shifts"]["typos"]["severity"] == 2
    assert validate(PLAIN | {"shifts": {"casing": None}})["data"]["text"]["shifts"] == {
        "casing": None
    }


def test_null_for_an_unknown_shift_is_an_error(validate, tmp_path):
    write(tmp_path / "over.yaml", "data: {text: {train: train.tsv}}")
    files = [tmp_path / "over.yaml"]
    sentence = refusal(validate, PLAIN | {"shifts": {"caseing": None}}, files)
    assert "data.text.shifts.caseing is null" in sentence
    assert "did you mean casing?" in sentence
    validate(PLAIN | {"shifts": {"casing": None}}, files)


def test_defaults_are_filled_in():
    made = settings.settings_of({"text": PLAIN | {"header": False, "max_length": 9}})
    columns = {"text": "text", "second": None, "label": "label"}
    assert made["train"] == {
        "files": ["train.tsv"], "columns": columns, "header": False, "quotes": None
    }  # fmt: skip
    assert (made["root"], made["classes"], made["max_length"]) == (".", None, 9)
    assert (made["limit"], made["seed"], made["metric"]) == ({}, 0, "accuracy")
    hub = settings.settings_of({"text": PLAIN | {"train": {"hub": "imdb"}}})["train"]
    assert (hub["subset"], hub["split"], hub["header"]) == (None, "train", True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "data.source is 'text' but data.text is empty, expected settings as in exp"),
        (
            {"train": "train.tsv"},
            "data.text.test is missing, expected a file of texts, or data.text.p",
        ),
        (
            {"preset": "rtee"},
            "data.text.preset is 'rtee', expected one of rte, mrpc, cola, sst2; did you mean rte?",
        ),
        (
            {"preset": "rte"},
            "data.text: there are no files data/glue/RTE/train.tsv, data/glue/RTE/dev.tsv, "
            "expected the texts of train, test",
        ),
        (
            PLAIN | {"test": "tets.tsv"},
            "data.text: there is no file tets.tsv, expected the texts of t",
        ),
        (PLAIN | {"test": "train.tsv"}, "data.text: train and test both have /"),
        (
            PLAIN | {"test": {"columns": {}}},
            "data.text.test has no origin, expected one of files, hub",
        ),
        (
            PLAIN | {"test": {"files": "test.tsv", "hub": "a"}},
            "data.text.test has files and hub, exp",
        ),
        (
            PLAIN | {"test": {"files": "test.tsv", "split": "a"}},
            "data.text.test has split but no hub",
        ),
        (
            PLAIN | {"columns": {"label": "labl"}},
            "train.tsv: there is no column 'labl', expected one of text, label; did you mean "
            "label?",
        ),
        (
            PLAIN | {"columns": {"text": 1}},
            "data.text.train has columns.text = 1, expected the name of a column because the "
            "columns have names",
        ),
        (
            PLAIN | {"header": False},
            "data.text.train has columns.text = 'text', expected a number from 1 because there "
            "is no header",
        ),
        (
            PLAIN | {"header": False, "columns": {"text": 1, "label": 3}},
            "train.tsv: there is no column 3, expected a number from 1 to 2",
        ),
        (
            PLAIN | {"train": {"files": "train.tsv", "columns": {"second": "label"}}},
            "data.text.test has one text per example, expected the same as in data.text.train",
        ),
        (
            PLAIN | {"limit": {"tests": 3}},
            "data.text.limit has 'tests', expected one of train, test; did you mean test?",
        ),
        (
            PLAIN | {"limit": {"typos": 3}},
            "data.text.limit has 'typos', expected one of train, test",
        ),
        (
            PLAIN | {"shifts": {"lr": "shift.tsv"}},
            "data.text.shifts has the name 'lr', expected anot",
        ),
        (
            PLAIN | {"shifts": {"a": {"perturbation": "typo", "severity": 2}}},
            "data.text.shifts.a.perturbation is 'typo', expected one of typos, casing, "
            "dropped_words, shuffled_words; did you me",
        ),
        (
            PLAIN | {"shifts": {"a": {"perturbation": "typos", "severity": 2, "header": True}}},
            "data.text.shifts.a has perturbation and header, expected only one of them",
        ),
        (PLAIN | {"shifts": {"a": {"perturbation": "typos", "severity": 6}}}, "data.text.shifts.a"),
        (PLAIN | {"shifts": {"a": {"perturbation": "typos"}}}, "data.text.shifts.a"),
        (
            PLAIN | {"classes": {"0": "a", "1": "a"}},
            "data.text.classes has only 'a', expected at least",
        ),
        (PLAIN | {"max_length": 7}, "data.text.max_length is 7, expected at least 8"),
        (PLAIN | {"colums": {}}, "config key data.text.colums is unknown; did you mean columns?"),
    ],
)
def test_a_mistake_is_one_sentence(validate, text, sentence):
    assert sentence in refusal(validate, text)


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        ("", "train.tsv", "train.tsv: the file is empty, expected the names of the columns"),
        (
            "a\ta\tlabel\n",
            "train.tsv",
            "train.tsv: there is no column 'text', expected one of a, a, l",
        ),
        (
            "text\ttext\tlabel\n",
            "train.tsv",
            "train.tsv: there are 2 columns 'text', expected one of this name",
        ),
        (
            "text;label\n",
            "train.tsv",
            "expected one of text;label; cells are divided by ';' there, expected ','",
        ),
        (
            TSV.encode("utf-16"),
            "train.tsv",
            "train.tsv, line 1: byte 0 is 0xff, which is not UTF-8, expected text in UTF-8",
        ),
        (
            "text\n",
            "train.docx",
            "train.docx: the ending is '.docx', expected one of .csv, .tsv, .txt",
        ),
    ],
)
def test_the_first_line_of_a_file_is_checked(validate, tmp_path, content, name, sentence):
    write(tmp_path / name, content)
    assert sentence in refusal(validate, PLAIN | {"train": name})


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"model": {"architecture": "ViT-B-32"}},
            "model.architecture is 'ViT-B-32', expected transformers/ and a folder or a name of "
            "Hugging Face's hub because data.source is 'text'",
        ),
        (
            {"model": {"pretrained": "train"}},
            "model.pretrained is 'train', expected the folder or the",
        ),
        (
            {"model": {"pretrained": "results/recorded/pretrained/world0.safetensors"}},
            "model.pretrain",
        ),
        ({"model": {"pretrained": None}}, "model.pretrained is null, expected pre-trained weights"),
        (
            {"model": {"mean": [0, 0, 0]}},
            "model.mean is [0, 0, 0], expected null because data.source",
        ),
        (
            {"model": {"recalibrate_batch_norm": 5}},
            "model.recalibrate_batch_norm is 5, expected 0 bec",
        ),
        (
            {"compute": {"channels_last": True}},
            "compute.channels_last is true, expected auto or false because",
        ),
        (
            {"tasks": {"a": ["pos", "neg"]}},
            "tasks has 'a', expected no task because models of texts",
        ),
        (
            {"name": "a/{preset}"},
            "name is 'a/{preset}' but data.text.preset is None, expected the name of a preset: "
            "--config 'data={text: {preset: rte}}'",
        ),
    ],
)
def test_settings_for_images_alone_are_refused(validate, sections, sentence):
    assert sentence in refusal(validate, PLAIN, **sections)


def test_the_drawn_model_of_the_default_is_refused(root, validate):
    default = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))["model"]
    assert "model.architecture is an architecture of images" in refusal(
        validate, PLAIN, model={"architecture": default["architecture"]}
    )


def test_a_file_may_mark_the_heldout_texts(validate, tmp_path):
    def heldout(**more):
        section = {"fraction": 0.1, "per_class": None, "indices": "marks.npy", "seed": 0} | more
        return lambda: validate(PLAIN, data={"source": "text", "text": PLAIN, "heldout": section})

    assert "marks.npy': no such file, expected an array that marks" in refusal(heldout())
    assert "expected only one of them" in refusal(heldout(per_class=3))
    write(tmp_path / "marks.npy", "")
    heldout()()


@pytest.mark.parametrize("name", ["glue", "reviews"])
def test_the_shipped_experiments_are_valid(root, validate, glue, name):
    given = yaml.safe_load((root / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
    text = given["data"]["text"] | {"root": str(glue)}
    if name == "glue":
        assert "expected the name of a preset" in refusal(validate, text, name=given["name"])
        text["preset"] = "mrpc"
    for domain in ("books", "dvd", "electronics", "kitchen", "airline"):
        for file in ("train.tsv", "dev.tsv"):
            write(glue / domain / file, 'sentence\tlabel\n"a ""b"" c"\t1\nd\t0\n')
    config = validate(text, name=given["name"], model=given["model"])
    assert config["name"] == {"glue": "glue/mrpc", "reviews": "reviews"}[name]
    plan = Plan.of(config)
    assert len(plan.shifts) == {"glue": 2, "reviews": 4}[name]
    assert (
        read(plan.source, "train")[0]["text"] == {"glue": 'He said "a.', "reviews": 'a "b" c'}[name]
    )
