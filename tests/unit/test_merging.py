"""Merges and the geometry of ingredients, compared with calculations on plain tensors."""

import resource

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soups.errors import UserError
from soups.mixing import geometry
from soups.mixing.mix import mix
from soups.mixing.recipes import recipe, uniform
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint, Held
from soups.models.stack import Stack

SHAPES = {"a": (5, 3), "b": (7,), "scalar": ()}
COUNTS = st.integers(1, 7)


def states(count: int, seed: int = 0) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {n: torch.randn(s, generator=generator) for n, s in SHAPES.items()} for _ in range(count)
    ]


@pytest.fixture
def write(tmp_path):
    """A function that writes a start and ingredients and returns their paths by name."""

    def written(count: int, seed: int = 0, extra: dict | None = None) -> dict:
        paths = {}
        for i, state in enumerate(states(count + 1, seed)):
            name = f"m{i - 1}" if i else "start"
            paths[name] = tmp_path / f"{name}.safetensors"
            checkpoints.save(paths[name], state | (extra or {}), {"pretrained": "one"})
        return paths

    return written


def merged(paths: dict, rule: str, **options) -> dict:
    """Merge all ingredients by a rule."""
    names = [name for name in paths if name != "start"]
    made = recipe(dict.fromkeys(names, 1.0), rule, {"rule": rule, **options})
    return mix(made, paths, "start")


@given(COUNTS, st.integers(0, 99))
def test_the_median_equals_that_of_numpy(write, count, seed):
    soup = merged(write(count, seed), "median")
    assert soup.keys() == SHAPES.keys()
    for name, tensor in soup.items():
        values = np.stack([state[name].numpy() for state in states(count + 1, seed)[1:]])
        np.testing.assert_allclose(tensor, np.median(values, axis=0), rtol=1e-6)


@given(st.integers(3, 7), st.integers(0, 99), st.integers(0, 1))
def test_the_trimmed_mean_is_the_mean_of_the_sorted_middle(write, count, seed, trim):
    soup = merged(write(count, seed), "trimmed_mean", trim=trim)
    assert soup.keys() == SHAPES.keys()
    for name, tensor in soup.items():
        values = np.sort([state[name].numpy() for state in states(count + 1, seed)[1:]], axis=0)
        expected = values[trim : count - trim].mean(0)
        np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-7)


def test_a_trimmed_mean_that_trims_nothing_is_the_uniform_soup(write):
    paths = write(5)
    plain = mix(uniform([f"m{i}" for i in range(5)]), paths)
    soup = merged(paths, "trimmed_mean", trim=0)
    assert soup.keys() == plain.keys() == SHAPES.keys()
    for name, tensor in soup.items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-6, atol=1e-8)


def test_ties_follows_the_published_algorithm(write):
    """Compare with algorithm 1 of Yadav et al., element by element."""
    paths, density, scale = write(4, seed=3), 0.5, 1.5
    start, *ingredients = states(5, seed=3)
    flat = [torch.cat([(s[n] - start[n]).flatten() for n in SHAPES]).tolist() for s in ingredients]
    keep = round(density * len(flat[0]))
    kept = []
    for change in flat:
        largest = sorted(range(len(change)), key=lambda i: -abs(change[i]))[:keep]
        kept.append([v if i in largest else 0.0 for i, v in enumerate(change)])
    expected = []
    for values in zip(*kept, strict=True):
        sign = np.sign(sum(values))
        same = [v for v in values if v and np.sign(v) == sign]
        expected.append(scale * sum(same) / len(same) if same else 0.0)
    soup = merged(paths, "ties", density=density, scale=scale)
    change = torch.cat([(soup[n] - start[n]).flatten() for n in SHAPES])
    np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-5)


def test_ties_of_one_untrimmed_ingredient_is_that_ingredient(write):
    paths = write(1)
    soup = merged(paths, "ties", density=1.0, scale=1.0)
    for name, tensor in Checkpoint(paths["m0"]).items():
        torch.testing.assert_close(soup[name], tensor, rtol=1e-6, atol=1e-7)


def test_integer_tensors_come_from_the_start(write):
    paths = write(3, extra={"counter": torch.tensor(7)})
    soup = merged(paths, "median")
    assert (soup["counter"].item(), soup["counter"].dtype) == (7, torch.int64)
    assert list(soup) == ["a", "b", "counter", "scalar"]


def test_merges_refuse_ingredients_with_another_start(write):
    paths = write(2)
    checkpoints.save(paths["m1"], states(1)[0], {"pretrained": "two"})
    with pytest.raises(UserError, match=r"m1\.safetensors: fine-tuned from pre-trained model two"):
        merged(paths, "median")


@pytest.mark.parametrize("values", [1, 7, 20, 10_000])
def test_the_pieces_of_a_stack_cover_the_tensors(write, values):
    paths = write(2)
    checkpoint_list = [Checkpoint(path) for path in paths.values()]
    with Stack(checkpoint_list, values) as stack:
        pieces = list(stack.pieces())
    for k, state in enumerate(states(3)):
        for name, tensor in state.items():
            mine = [(piece, part[k]) for n, piece, part in pieces if n == name]
            assert torch.equal(torch.cat([part for _, part in mine]), tensor.flatten().double())
            stops = [piece.stop for piece, _ in mine]
            assert [piece.start for piece, _ in mine] == [0, *stops[:-1]]


def test_a_stack_reads_pieces_of_the_requested_size(tmp_path):
    checkpoints.save(tmp_path / "w.safetensors", {"w": torch.zeros(1000, 3)}, {})
    with Stack([Checkpoint(tmp_path / "w.safetensors")] * 4, 120) as stack:
        assert {part.numel() for _, _, part in stack.pieces()} == {120}


def test_the_parts_of_a_tensor_are_its_values_in_every_checkpoint(tmp_path):
    state = {"empty": torch.zeros(2, 0), "one": torch.tensor(3.0), "w": torch.randn(7, 11, 1000)}
    checkpoints.save(tmp_path / "w.safetensors", state, {})
    opened = Checkpoint(tmp_path / "w.safetensors")
    with Stack([opened, Held(opened.path)]) as stack:
        for name, tensor in state.items():
            rows = [[row.clone() for row in stack.rows(name, p)] for p in stack.parts(name)]
            for k in range(2):
                joined = torch.cat([torch.empty(0), *(row[k] for row in rows)])
                assert torch.equal(joined, tensor.flatten())
    assert len(rows) == 3


def test_a_stack_reads_more_files_than_the_limit_of_open_files(tmp_path):
    checkpoints.save(tmp_path / "w.safetensors", {"w": torch.ones(2)}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    try:
        with Stack([Checkpoint(tmp_path / "w.safetensors")] * 300) as stack:
            assert sum(1 for _ in stack.rows("w", slice(0, 2))) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_ends_early_is_named(write):
    path = write(1)["m0"]
    checkpoint = Checkpoint(path)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with Stack([checkpoint]) as stack, pytest.raises(UserError, match=r"m0.*ends within tensor"):
        stack.first("scalar")


def test_a_held_checkpoint_can_be_read_after_its_file_is_deleted(write):
    path = write(1)["m0"]
    lazy, held = Checkpoint(path), Held(path)
    path.unlink()
    assert list(held.state()) == list(lazy.shapes())
    assert held.size() == lazy.size() == 4 * (15 + 7 + 1)


# Geometry


def test_the_gram_matrix_has_the_inner_products_of_changes(write):
    paths = write(4)
    start, *ingredients = states(5)
    products = geometry.gram(
        Checkpoint(paths["start"]), [Checkpoint(paths[f"m{i}"]) for i in range(4)]
    )
    assert products.keys() == SHAPES.keys()
    for name, gram in products.items():
        changes = torch.stack([(s[name].double() - start[name]).flatten() for s in ingredients])
        torch.testing.assert_close(gram, changes @ changes.T)


def test_the_mean_cosine_is_over_all_pairs():
    vectors = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]], dtype=torch.float64)
    assert geometry.mean_cosine(vectors @ vectors.T) == pytest.approx(1 / 3)
    assert geometry.mean_cosine(torch.zeros(2, 2)) == 1  # of unchanged models
