import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from soups.errors import UserError
from soups.mixing.mix import mix
from soups.mixing.recipes import interpolate, members, recipe, uniform, used
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.fitting import layouts
from soups.models.foreign import reading
from soups.models.pretrained import bring_in

NOTE = {"pretrained": "0123456789abcdef"}
DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])
SHAPES = st.dictionaries(
    st.sampled_from(["head.weight", "head.bias", "visual.conv", "scale"]),
    st.lists(st.integers(1, 4), max_size=3).map(tuple),
    min_size=1,
)


def ingredient(shapes: dict, dtype: torch.dtype, seed: int) -> dict[str, torch.Tensor]:
    """A state dict of random tensors."""
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}


def write(folder, states: list[dict], note: dict = NOTE) -> dict:
    """Write ingredients m0, m1, ... and return their paths by name."""
    paths = {f"m{i}": folder / f"m{i}.safetensors" for i in range(len(states))}
    for path, state in zip(paths.values(), states, strict=True):
        checkpoints.save(path, state, note)
    return paths


@given(SHAPES, DTYPES, st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.integers(0, 999))
def test_a_mixture_is_the_weighted_sum_in_float64(tmp_path, shapes, dtype, weights, seed):
    weights[0] = weights[0] or 1.0  # A recipe needs a coefficient other than 0.
    states = [ingredient(shapes, dtype, seed + i) for i in range(len(weights))]
    paths = write(tmp_path, states)
    soup = mix(recipe(dict(zip(paths, weights, strict=True)), "test"), paths)
    assert {n: (tuple(t.shape), t.dtype) for n, t in soup.items()} == {
        n: (s, dtype) for n, s in shapes.items()
    }
    limits = torch.finfo(dtype)
    for name, tensor in soup.items():
        naive = sum(
            w * state[name].double().numpy() for w, state in zip(weights, states, strict=True)
        )
        # The soup is rounded once, by at most half a unit in the last place. A sum in the
        # ingredients' own precision would have a larger error.
        np.testing.assert_allclose(
            tensor.double().numpy(), naive,
            rtol=0.501 * limits.eps, atol=1e-14 + limits.smallest_normal * limits.eps,
        )  # fmt: skip


@given(
    SHAPES,
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
    st.integers(1, 12),
)
def test_identical_ingredients_average_to_themselves_to_the_bit(tmp_path, shapes, dtype, count):
    state = ingredient(shapes, dtype, 0)
    paths = write(tmp_path, [state] * count)
    soup = mix(uniform(paths), paths)
    assert soup.keys() == state.keys()
    for name, tensor in soup.items():
        assert torch.equal(tensor, state[name])


def test_an_average_equals_a_calculation_by_hand(tmp_path):
    paths = write(tmp_path, [{"w": torch.tensor([1.0, 5.0])}, {"w": torch.tensor([2.0, -5.0])}])
    assert mix(uniform(paths), paths)["w"].tolist() == [1.5, 0.0]
    assert mix(recipe({"m0": 2.0, "m1": -1.0}, "test"), paths)["w"].tolist() == [0.0, 15.0]


def test_an_ingredient_with_coefficient_0_is_not_read(tmp_path):
    paths = write(tmp_path, [{"w": torch.ones(2)}])
    paths["gone"] = tmp_path / "gone.safetensors"
    soup = mix(recipe({"gone": 0, "m0": 1.0}, "test"), paths)
    assert soup["w"].tolist() == [1, 1]
    with pytest.raises(UserError, match=r"gone\.safetensors does not exist"):
        mix(recipe({"m0": 0.5, "gone": 0.5}, "test"), paths)


def test_a_recipe_needs_a_coefficient_other_than_0(tmp_path):
    with pytest.raises(UserError, match="recipe 'test': all coefficients are 0"):
        mix(recipe({"m0": 0, "m1": 0.0}, "test"), {})


def test_integer_tensors_come_from_the_first_ingredient(tmp_path):
    states = [{"n": torch.tensor(n), "w": torch.ones(1)} for n in (7, 9)]
    paths = write(tmp_path, states)
    soup = mix(uniform(paths), paths)
    assert (soup["n"].item(), soup["n"].dtype) == (7, torch.int64)


# Tensors as real checkpoints have them


def mixed(folder, states: list[dict]) -> dict[str, torch.Tensor]:
    """The uniform soup of some state dicts, after it was saved and read again."""
    paths = write(folder, states)
    checkpoints.save(folder / "soup.safetensors", mix(uniform(paths), paths), NOTE)
    return Checkpoint(folder / "soup.safetensors").state()


def test_tied_weights_are_saved_and_mixed_under_both_names(tmp_path):
    states = []
    for value in (1.0, 4.0):
        layer = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(layer.weight, value)
        states.append({"in.weight": layer.weight, "out.weight": layer.weight})
    soup = mixed(tmp_path, states)
    assert soup["in.weight"].tolist() == soup["out.weight"].tolist() == [[2.5, 2.5]] * 2
    assert soup["in.weight"].data_ptr() != soup["out.weight"].data_ptr()


def test_views_of_one_memory_are_saved_and_mixed_by_their_own_values(tmp_path):
    states = []
    for factor in (1, 3):
        whole = factor * torch.arange(6.0).reshape(2, 3)
        states.append({"qkv": whole, "q": whole[0], "k": whole[1], "overlap": whole.flatten()[1:4],
                       "turned": whole.T, "wide": torch.tensor(float(factor)).expand(2, 2),
                       "none": whole[:0]})  # fmt: skip
    soup = mixed(tmp_path, states)
    assert soup["qkv"].tolist() == [[0, 2, 4], [6, 8, 10]]
    assert (soup["q"].tolist(), soup["k"].tolist()) == ([0, 2, 4], [6, 8, 10])
    assert soup["overlap"].tolist() == [2, 4, 6]
    assert soup["turned"].tolist() == [[0, 6], [2, 8], [4, 10]]
    assert soup["wide"].tolist() == [[2, 2], [2, 2]]
    assert soup["none"].shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_whole_numbers_keep_their_dtype_and_come_from_the_first_model(tmp_path, dtype):
    states = [{"ids": torch.tensor([1, 0, n]).to(dtype), "w": torch.ones(1)} for n in (0, 1, 1)]
    soup = mixed(tmp_path, states)
    assert torch.equal(soup["ids"], states[0]["ids"])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_position_ids_in_half_precision_stay_exact(tmp_path, count):
    ids = torch.arange(257)[None].half()
    soup = mixed(tmp_path, [{"position_ids": ids, "w": torch.ones(1)}] * count)
    assert torch.equal(soup["position_ids"], ids)


def test_models_with_batch_normalisation_are_mixed_with_their_counters(tmp_path):
    pretrained = bring_in("timm/test_resnet", None)
    states = []
    for i in range(3):
        torch.manual_seed(i)
        theirs = timm.create_model("test_resnet", num_classes=4).train()
        for _ in range(i + 1):
            theirs(torch.randn(4, 3, 32, 32))
        torch.save({"state_dict": theirs.state_dict()}, tmp_path / f"{i}.pth.tar")
        contents = reading.read(tmp_path / f"{i}.pth.tar")
        states.append(layouts.fitted(contents, pretrained, list("abcd")))
    soup = mixed(tmp_path, states)
    counters = [name for name in soup if name.endswith("num_batches_tracked")]
    assert counters
    assert {(int(soup[name]), soup[name].dtype) for name in counters} == {(1, torch.int64)}
    for name in (n for n in soup if n.endswith(("running_mean", "running_var", "conv1.weight"))):
        want = sum(state[name].double() for state in states) / 3
        torch.testing.assert_close(soup[name].double(), want, rtol=1e-6, atol=1e-7)
    model = pretrained.classifier(4)
    model.load_state_dict(soup)
    assert torch.isfinite(model.eval()(torch.randn(2, 3, 32, 32))).all()


GOOD = {"bias": torch.ones(2), "weight": torch.ones(2, 3)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"bias": torch.ones(2)}, "tensor 'weight' is missing"),
        (GOOD | {"extra": torch.ones(1)}, "tensor 'extra' is .* expected no such tensor"),
        (GOOD | {"weight": torch.ones(3, 2)}, r"tensor 'weight' is .*3, 2.* expected .*2, 3"),
        (GOOD | {"weight": torch.ones(2, 3).double()}, "tensor 'weight' is .*F64.* expected .*F32"),
    ],
)
def test_checkpoints_with_other_tensors_cannot_be_mixed(tmp_path, state, message):
    paths = write(tmp_path, [GOOD, state])
    with pytest.raises(UserError, match=rf"m1\.safetensors: {message}.*m0\.safetensors"):
        mix(uniform(paths), paths)


def test_checkpoints_with_another_start_cannot_be_mixed(tmp_path):
    paths = write(tmp_path, [GOOD, GOOD])
    checkpoints.save(paths["m1"], GOOD, {"pretrained": "fedcba9876543210"})
    with pytest.raises(UserError, match=r"m1.*: .*fedcba987654, expected 0123456789ab as in .*m0"):
        mix(uniform(paths), paths)


def test_a_recipe_records_how_it_was_chosen():
    assert uniform(["a", "b", "c", "d"], heldout_images=9) == {
        "method": "uniform",
        "coefficients": {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25},
        "selection": {"heldout_images": 9},
    }


def test_a_checkpoint_gives_its_tensors_in_name_order(tmp_path):
    paths = write(tmp_path, [{"b": torch.zeros(2), "a": torch.ones(1, 3, dtype=torch.int64)}])
    checkpoint = Checkpoint(paths["m0"])
    assert [name for name, _ in checkpoint.items()] == ["a", "b"]
    assert checkpoint.shapes() == {"a": ((1, 3), "I64"), "b": ((2,), "F32")}
    assert checkpoint.note == NOTE


# Coefficients per tensor, interpolation


def test_coefficients_may_differ_by_tensor(tmp_path):
    states = [{"a": torch.ones(2), "b": torch.ones(2)}, {"a": torch.zeros(2), "b": torch.ones(2)}]
    paths = write(tmp_path, states)
    soup = mix(recipe({"m0": {"a": 0.25, "b": 1.0}, "m1": {"a": 0.75, "b": 2.0}}, "test"), paths)
    assert (soup["a"].tolist(), soup["b"].tolist()) == ([0.25, 0.25], [3, 3])


@given(st.floats(-1, 2))
def test_interpolation_is_a_line_from_the_start(alpha):
    by_number = interpolate(uniform(["a", "b"]), "start", alpha, "line")["coefficients"]
    assert by_number == {"a": alpha / 2, "b": alpha / 2, "start": 1 - alpha}
    layered = recipe({"a": {"t": 1.0, "u": 0.5}, "start": {"t": 0.0, "u": 0.5}}, "test")
    by_tensor = interpolate(layered, "start", alpha, "line")["coefficients"]
    assert by_tensor["a"] == {"t": alpha, "u": alpha / 2}
    assert by_tensor["start"] == pytest.approx({"t": 1 - alpha, "u": 1 - alpha / 2})


def test_only_weighted_sums_can_be_interpolated():
    with pytest.raises(UserError, match="made by 'median', expected"):
        interpolate(recipe({"a": 1.0}, "median", {"rule": "median"}), "start", 0.5, "line")


def test_members_are_the_used_models_without_the_start():
    made = recipe({"a": 0.5, "b": 0, "c": {"t": 0.0}, "d": {"t": 0.1}, "zeroshot": 0.5}, "test")
    assert used(made) == ["a", "d", "zeroshot"]
    assert members(made) == ["a", "d"]
