import pytest
from open_clip.modified_resnet import ModifiedResNet

from soups.models.blocks import block, depths, groups

NAMES = [
    "visual.class_embedding",
    "visual.proj",
    "visual.conv1.weight",
    "visual.ln_pre.weight",
    "visual.transformer.resblocks.0.ln_1.weight",
    "visual.transformer.resblocks.0.mlp.c_fc.weight",
    "visual.transformer.resblocks.1.ln_1.weight",
    "visual.ln_post.weight",
    "head.weight",
    "head.bias",
]


def test_blocks_end_with_their_number():
    assert [block(name) for name in NAMES] == [
        "visual", "visual", "visual.conv1", "visual.ln_pre", "visual.transformer.resblocks.0",
        "visual.transformer.resblocks.0", "visual.transformer.resblocks.1", "visual.ln_post",
        "head", "head",
    ]  # fmt: skip
    assert block("visual.layer1.0.conv1.weight") == "visual.layer1.0"
    assert block("visual.layer1.0.downsample.1.weight") == "visual.layer1.0"
    assert block("scale") == "scale"


@pytest.mark.parametrize(("by", "count"), [("model", 1), ("block", 7), ("tensor", 10)])
def test_groups_are_numbered_without_gaps(by, count):
    index = groups(NAMES, by)
    assert list(index) == NAMES
    assert sorted(set(index.values())) == list(range(count))


def test_the_depth_of_a_resnet_is_its_number_of_blocks():
    visual = ModifiedResNet([1, 2, 2, 1], 16, heads=2, image_size=32, width=8)
    names = ["visual." + name for name, _ in visual.named_parameters()] + ["head.weight"]
    depth = depths(names)
    assert max(depth.values()) == depth["head.weight"] == 6 + 1
    assert depth["visual.conv1.weight"] == 0
    assert {depth[n] for n in names if "layer1.0" in n} == {1}


def test_depths_go_from_the_stem_to_the_head():
    assert list(depths(NAMES).values()) == [0, 3, 0, 0, 1, 1, 2, 3, 3, 3]
    assert depths(["visual.attnpool.positional_embedding", "visual.layer1.0.conv1.weight"]) == {
        "visual.attnpool.positional_embedding": 2,
        "visual.layer1.0.conv1.weight": 1,
    }
