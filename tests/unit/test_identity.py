"""The identity of a saved state covers everything that the trained weights depend on."""

import json
import os
from types import SimpleNamespace

import finetune
import numpy as np
import pretrain
import pytest

from soups.jobs.distributed import Named


@pytest.fixture
def state_of(monkeypatch):
    """A function that returns the path of the state from which a script resumes a job."""

    def path(script, job):
        class Reached(Exception):
            pass

        def resumable(*args):
            raise Reached(made(*args).path)

        made = script.Resumable
        monkeypatch.setattr(script, "Resumable", resumable)
        with pytest.raises(Reached) as reached:
            script.main(job)
        monkeypatch.setattr(script, "Resumable", made)
        return reached.value.args[0]

    return path


def test_a_state_of_pretraining_depends_on_images_captions_and_prompts(state_of, tmp_path):
    paths = {name: tmp_path / name for name in ("images", "captions", "train")}
    with paths["images"].open("wb") as file:
        np.save(file, np.zeros((2, 4, 4, 3), np.uint8))
    paths["captions"].write_text("a cat\na dog\n")
    paths["train"].write_text(json.dumps({"mapping": [["cat", [0]], ["dog", [1]]]}))
    params = {
        "templates": ["a {}"], "architecture": {}, "settings": {"seed": 0}, "stage": 1,
        "state": str(tmp_path),
    }  # fmt: skip

    def state(**changed):
        job = SimpleNamespace(input=Named(paths), params=SimpleNamespace(**params | changed))
        return state_of(pretrain, job)

    first = state()
    assert state() == first
    assert state(templates=["the {}"]) != first
    assert state(settings={"seed": 1}) != first
    paths["train"].write_text(json.dumps({"mapping": [["cow", [0]], ["dog", [1]]]}))
    assert state() != first


def test_a_state_of_a_fine_tune_depends_on_its_images(state_of, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "PreparedSet", lambda _: None)
    images = [tmp_path / name for name in ("train.npy", "train.labels.npy")]
    for path in images:
        path.write_bytes(b"before")
    np.save(tmp_path / "rows.npy", np.arange(4))
    (tmp_path / "start").write_bytes(b"weights")
    given = Named(images=images, heldout=["heldout"], teacher=[], train=tmp_path / "rows.npy")
    given["initialization"] = tmp_path / "start"

    def state(lr=0.1, name="m00"):
        params = {"hyperparameters": {"lr": lr}, "classes": None, "compute": {}, "stage": 1}
        job = SimpleNamespace(
            input=given,
            params=SimpleNamespace(**params, state=str(tmp_path)),
            output=SimpleNamespace(weights=f"models/{name}.safetensors"),
        )
        return state_of(finetune, job)

    first = state()
    assert state() == first
    assert first.name.startswith("m00-")
    assert state(lr=0.2) != first
    assert state(name="m01") != first
    images[0].write_bytes(b"afterwards")
    longer = state()
    assert longer != first
    os.utime(images[0], ns=(0, 0))  # the size is the same, but the time of change is not
    assert state() not in (first, longer)
