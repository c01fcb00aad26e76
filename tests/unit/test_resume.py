import numpy as np
import pytest

from soups.resume import Resumable
from tests.unit.training import NOISY, PLAIN, same


def test_an_interrupted_finetune_ends_with_the_same_bits(tuned, killed, tmp_path):
    whole = tuned(NOISY)
    with pytest.raises(KeyboardInterrupt):
        tuned(NOISY, killed(tmp_path, NOISY))
    state = Resumable(tmp_path, NOISY)
    assert state.path.exists()
    assert same(tuned(NOISY, state), whole)


def test_a_finished_run_is_not_run_again(tuned, images, tmp_path):
    state = Resumable(tmp_path, PLAIN)
    whole = tuned(PLAIN, state)
    # With everything done, the images are not looked at.
    assert same(tuned(PLAIN, state, images=np.zeros_like(images)), whole)
    state.remove()
    assert not same(tuned(PLAIN, state, images=np.zeros_like(images)), whole)


def test_another_recipe_starts_afresh(tuned, killed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tuned(PLAIN | {"lr": 0.5}, killed(tmp_path, {"lr": 0.5}))
    assert same(tuned(PLAIN, Resumable(tmp_path, {"lr": 0.01})), tuned(PLAIN))


@pytest.mark.parametrize("key", ["ema", "swa"])
def test_averages_survive_a_kill(tuned, killed, tmp_path, key):
    h = PLAIN | {"epochs": 2.5, key: 0.7}
    whole = tuned(h)
    with pytest.raises(KeyboardInterrupt):
        tuned(h, killed(tmp_path, h))
    assert same(tuned(h, Resumable(tmp_path, h)), whole)
