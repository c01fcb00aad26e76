"""The provenance of soups, which are mixed again from their ingredients."""

import shutil

import pytest
import torch
import verify as tool

from soups.errors import UserError
from soups.mixing import recipes
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import bring_in
from soups.usage import verify
from tests.unit.cooked import cooked

MERGE = {"rule": "ties", "density": 0.5, "scale": 0.7}


@pytest.fixture
def soup(pretrained, tmp_path):
    return cooked(tmp_path / "results", pretrained)


def verified(path, root=None) -> list[str]:
    """The sentences about a soup, none if it is the same to the byte."""
    soup = verify.soup_at(path)
    paths, sentences = verify.find(soup, root)
    return sentences or verify.differences(soup, paths)


@pytest.mark.parametrize(
    "recipe",
    [
        None,
        recipes.recipe({"m00": 0.3, "initialization": 0.7}, "wise_ft"),
        recipes.recipe({"m00": 1.0, "m01": 1.0}, "ties", merge=MERGE),
    ],
    ids=["uniform", "with the start", "ties"],
)
def test_a_soup_is_the_same_when_it_is_mixed_again(pretrained, tmp_path, recipe):
    assert verified(cooked(tmp_path / "results", pretrained, recipe)) == []


def test_the_tool_tells_the_provenance(soup, capsys):
    assert tool.main(str(soup), None, False) == 0
    text = capsys.readouterr().out
    assert "Verified. The soup mixed again from 2 ingredients is the same to the byte." in text
    for part in ("method: uniform", "ingredient m00: coefficient 0.5, sha256", "code: version",
                 "configuration, finetune:", "4 classes: cat, dog, bird, fish",
                 "images: 16 pixels, bicubic, short side, centre crop, mean [0.5,"):  # fmt: skip
        assert part in text, part


def test_other_tensors_are_named(soup, capsys):
    checkpoint = Checkpoint(soup)
    state = checkpoint.state()
    # The smallest change that a number can have
    state["head.bias"][0] = torch.nextafter(state["head.bias"][0], torch.tensor(9.0))
    checkpoints.save(soup, state, checkpoint.note)
    assert verified(soup) == [
        f"head.bias is different in the soup mixed again (1 of {len(state)} tensors)."
    ]
    assert tool.main(str(soup), None, False) == 1
    assert "Not verified.\nhead.bias is different" in capsys.readouterr().out
    state["extra"] = state.pop("head.bias")
    checkpoints.save(soup, state, checkpoint.note)
    assert verified(soup) == [
        "extra is only in the file.",
        "head.bias is only in the soup mixed again.",
    ]


def test_an_ingredient_that_is_missing_or_changed_is_named(soup):
    models = soup.parent.parent / "models"
    changed = Checkpoint(models / "m00.safetensors")
    checkpoints.save(models / "m00.safetensors", changed.state(), changed.note | {"x": 1})
    (models / "m01.safetensors").unlink()
    one, other = verified(soup)
    assert one.startswith(f"{models}/m00.safetensors has changed: its sha256 is not ")
    assert other.startswith("Ingredient m01 (sha256 ")
    assert other.endswith(f"is missing in {models}.")


def test_renamed_ingredients_are_found_in_another_folder_by_their_hashes(soup, tmp_path):
    (tmp_path / "kept" / "deep").mkdir(parents=True)
    for i, path in enumerate(sorted((soup.parent.parent / "models").glob("m0*.safetensors"))):
        shutil.move(path, tmp_path / "kept" / "deep" / f"renamed{i}.safetensors")
    assert len(verified(soup)) == 2
    assert verified(soup, tmp_path / "kept") == []
    with pytest.raises(UserError, match="nowhere: no such folder"):
        verified(soup, tmp_path / "nowhere")


def test_a_model_that_is_no_soup_is_refused(soup):
    with pytest.raises(UserError, match=r"m00\.safetensors has no recipe in its header"):
        verify.soup_at(soup.parent.parent / "models" / "m00.safetensors")


def test_statistics_that_were_measured_again_are_not_compared(tmp_path):
    torch.manual_seed(0)
    model = bring_in("timm/test_efficientnet", None)
    path = cooked(tmp_path / "results", model, recalibrate_batch_norm=8)
    soup = verify.soup_at(path)
    assert verify.recalibrated(soup)
    assert verified(path) == []
    state = soup.state()
    state["head.bias"] += 1
    checkpoints.save(path, state, soup.note)
    assert len(verified(path)) == 1


def test_tensors_are_compared_by_their_bytes():
    nan = torch.tensor([float("nan")])
    assert not verify.differs(nan, nan.clone())
    assert verify.differs(torch.tensor(0.0), torch.tensor(-0.0))
    assert verify.differs(torch.ones(2), torch.ones(2, dtype=torch.float16))
    assert verify.differs(torch.ones(2), torch.ones(1, 2))
    assert not verify.differs(torch.ones(0), torch.ones(0))


def test_equal_runs_give_equal_bytes(pretrained, tmp_path):
    one, other = (cooked(tmp_path / name, pretrained) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_renamed_copies_of_one_model_are_both_found(soup, tmp_path):
    one = soup.parent.parent / "models" / "m00.safetensors"
    digest = Checkpoint(soup).note["ingredients"]["m00"]
    checkpoint = Checkpoint(soup)
    recipe = checkpoint.note["recipe"] | {"coefficients": {"m00": 0.5, "copy": 0.5}}
    both = {"m00": digest, "copy": digest}
    note = checkpoint.note | {"recipe": recipe, "ingredients": both, "order": list(both)}
    checkpoints.save(soup, Checkpoint(one).state(), note)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(one, elsewhere / "renamed.safetensors")
    paths, sentences = verify.find(verify.soup_at(soup), elsewhere)
    assert (set(paths), sentences) == ({"m00", "copy"}, [])
    (elsewhere / "renamed.safetensors").unlink()
    assert len(verified(soup, elsewhere)) == 2


@pytest.mark.parametrize(
    "odd",
    [{"recipe": 1}, {"recipe": {}}, {"ingredients": []}, {"ingredients": {"m00": None}}],
    ids=str,
)
def test_an_odd_header_has_no_recipe(soup, odd):
    checkpoint = Checkpoint(soup)
    checkpoints.save(soup, checkpoint.state(), checkpoint.note | odd)
    with pytest.raises(UserError, match="has no recipe in its header"):
        verify.soup_at(soup)
