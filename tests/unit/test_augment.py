import torch
import torch.nn.functional as F

from soups.training.augment import augment


def test_strength_0_is_identity_and_uses_no_chance():
    x, generator = torch.rand(4, 3, 8, 8), torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert augment(x, 0, generator) is x
    assert torch.equal(generator.get_state(), before)


def test_augmentation_treats_each_image_on_its_own():
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1, 1)
    out = augment(x, 1.0, torch.Generator().manual_seed(1))
    assert out.shape == x.shape
    assert all(not torch.equal(out[i], out[j]) for i in range(4) for j in range(i))
    assert torch.equal(out, augment(x, 1.0, torch.Generator().manual_seed(1)))


def test_strength_is_how_much_changes():
    generator = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand(64, 3, 4, 4, generator=generator), size=(32, 32), mode="bilinear")
    distances = [
        (augment(x, strength, torch.Generator().manual_seed(1)) - x).abs().mean().item()
        for strength in (0.01, 0.5, 1, 2)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.1 * distances[-1]
