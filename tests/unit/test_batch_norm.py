import numpy as np
import pytest
import torch
from torch import nn

from soups.models.batch_norm import recalibrate, settler


class Net(nn.Module):
    """Two layers with batch statistics on uint8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm1d(3), nn.BatchNorm1d(2)
        self.between = nn.Linear(3, 2)

    def forward(self, images):
        x = images.float().mean((1, 2))
        return self.second(self.between(self.first(x)))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (400, 4, 4, 3)) // np.array([1, 2, 4])).astype(np.uint8)


def test_statistics_become_those_of_the_images(net, pictures):
    recalibrate(net, pictures, np.arange(400))
    shuffled = pictures[np.random.default_rng(0).permutation(400)]
    x = torch.from_numpy(shuffled).float().mean((1, 2)).view(4, 100, 3)
    # The mean over batches of equal size, of their means and unbiased variances.
    torch.testing.assert_close(net.first.running_mean, x.mean((0, 1)))
    torch.testing.assert_close(net.first.running_var, x.var(1).mean(0))
    assert not net.training
    assert not net.first.training
    assert net.first.momentum == 0.1
    with torch.inference_mode():
        out = net(torch.from_numpy(pictures))
    torch.testing.assert_close(out.mean(0), torch.zeros(2), atol=0.01, rtol=0)
    torch.testing.assert_close(out.var(0), torch.ones(2), atol=0.05, rtol=0)


def test_statistics_do_not_depend_on_the_precision_of_evaluation(net, pictures, configured):
    recalibrate(net, pictures, np.arange(400))
    want = net.second.running_var.clone()
    configured(inference="bfloat16")
    recalibrate(net, pictures, np.arange(400))
    assert torch.equal(net.second.running_var, want)


@pytest.mark.parametrize("count", [60, 180, 251, 400])
def test_images_in_the_order_of_their_classes_give_the_statistics_of_all_of_them(net, count):
    weights = {name: value.clone() for name, value in net.named_parameters()}
    # Two classes, black and white: a batch of one class would have a variance of 0.
    pictures = np.zeros((count, 4, 4, 3), np.uint8)
    pictures[count // 2 :] = 255
    recalibrate(net, pictures, np.arange(count))
    x = torch.from_numpy(pictures).float().mean((1, 2))
    torch.testing.assert_close(net.first.running_mean, x.mean(0), rtol=0.01, atol=0)
    torch.testing.assert_close(net.first.running_var, x.var(0), rtol=0.05, atol=0)
    assert all(torch.equal(value, weights[name]) for name, value in net.named_parameters())


def test_recalibration_can_be_switched_off(net, pictures):
    settler(pictures, 0)(net)
    assert torch.equal(net.first.running_mean, torch.zeros(3))
    settler(pictures, 100)(net)
    assert net.first.running_mean.min() > 1


def test_a_model_without_batch_normalisation_is_not_run():
    class Untouchable(nn.Module):
        def forward(self, images):
            raise AssertionError("was run")

    settler(np.zeros((4, 2, 2, 3), np.uint8), 4)(Untouchable())
