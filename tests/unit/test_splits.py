import json
from types import SimpleNamespace

import numpy as np
import pytest
import split
from hypothesis import given
from hypothesis import strategies as st

from soups.data.prepared import identity, write_set
from soups.data.splits import given_split, heldout_split, manifest
from soups.errors import UserError
from soups.files import fingerprint

# Every class has at least two held-out and two training images.
COUNTS = st.lists(st.integers(20, 60), min_size=1, max_size=8)
FRACTIONS = st.floats(0.1, 0.9)
SEEDS = st.integers(0, 2**31)


def shuffled(counts: list[int]) -> tuple[np.ndarray, list[str]]:
    """Return shuffled labels with these counts, and class names."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels), [f"c{i}" for i in range(len(counts))]


@given(COUNTS, FRACTIONS, SEEDS)
def test_a_split_divides_all_images_by_class(counts, fraction, seed):
    labels, names = shuffled(counts)
    train, heldout = heldout_split(labels, fraction, seed, names)
    assert sorted([*train, *heldout]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(heldout) > 0).all()
    assert len(heldout) == round(fraction * len(labels))
    held = np.bincount(labels[heldout], minlength=len(counts))
    assert (np.abs(held - fraction * np.array(counts)) < 1 + 1e-9).all()


@given(COUNTS, FRACTIONS, SEEDS)
def test_a_split_depends_on_its_seed_alone(counts, fraction, seed):
    labels, names = shuffled(counts)
    first = heldout_split(labels, fraction, seed, names)
    # The state of the global generator does not matter.
    np.random.seed(seed % 1000)
    for ours, theirs in zip(first, heldout_split(labels, fraction, seed, names), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_gives_another_split():
    labels, names = shuffled([30, 30])
    _, zero = heldout_split(labels, 0.2, 0, names)
    _, one = heldout_split(labels, 0.2, 1, names)
    assert zero.tolist() != one.tolist()


@pytest.mark.parametrize(
    ("counts", "fraction", "held"),
    [
        ([10, 10, 10], 0.2, [2, 2, 2]),
        ([11, 10, 10], 0.15, [2, 2, 1]),  # remainders .65, .5, .5: two classes give one more
        ([100], 0.29, [29]),  # 0.29 * 100 is a little less than 29
        ([14, 26], 0.1, [1, 3]),
    ],
)
def test_classes_with_the_largest_remainders_give_one_more(counts, fraction, held):
    labels, names = shuffled(counts)
    _, heldout = heldout_split(labels, fraction, 0, names)
    assert np.bincount(labels[heldout]).tolist() == held


@pytest.mark.parametrize(
    ("counts", "fraction", "message"),
    [
        ([50, 3], 0.05, "fraction is 0.05 and takes 0 of the 3 training images of class 'c1', exp"),
        ([3, 50], 0.95, "fraction is 0.95 and takes 3 of the 3 training images of class 'c0', exp"),
        ([3, 50], 0.95, "; 0.334 to 0.666 would split every class"),
        ([5, 2], 0.1, "; 0.5 would split every class"),
        (
            [1, 50],
            0.5,
            "of the 1 training images of class 'c0', .*; every class needs at least 2",
        ),
    ],
)
def test_every_class_needs_an_image_on_both_sides(counts, fraction, message):
    labels, names = shuffled(counts)
    with pytest.raises(UserError, match=message):
        heldout_split(labels, fraction, 0, names)


@given(st.lists(st.integers(2, 40), min_size=1, max_size=8), st.sampled_from([0.001, 0.999]))
def test_the_fractions_that_a_message_names_split_every_class(counts, fraction):
    labels, names = shuffled(counts)
    with pytest.raises(UserError) as error:
        heldout_split(labels, fraction, 0, names)
    values = str(error.value).split("; ")[1].removesuffix(" would split every class").split(" to ")
    for value in values:
        heldout_split(labels, float(value), 0, names)


def test_a_class_without_images_is_named():
    with pytest.raises(UserError, match=r"some.key is 0.5 and takes 0 of the 0 .* 'absent'"):
        heldout_split(np.zeros(10, int), 0.5, 0, ["present", "absent"], key="some.key")


@given(st.lists(st.integers(27, 60), min_size=1, max_size=8), SEEDS)
def test_every_class_may_give_the_same_number(counts, seed):
    labels, names = shuffled(counts)
    train, heldout = heldout_split(labels, 0.02, seed, names, per_class=26)
    assert sorted([*train, *heldout]) == list(range(len(labels)))
    assert np.bincount(labels[heldout]).tolist() == [26] * len(counts)


def test_the_papers_split():
    counts = np.random.default_rng(0).integers(732, 1301, 1000)  # the range of ImageNet's classes
    labels, names = shuffled(counts.tolist())
    train, heldout = heldout_split(labels, 0.02, 0, names, per_class=26)
    assert len(heldout) == 26_000
    assert len(train) + len(heldout) == len(labels)


@pytest.mark.parametrize("count", [3, 26])
def test_a_class_needs_more_images_than_it_holds_out(count):
    labels, names = shuffled([count, 40])
    sentence = f"per_class is 26, but there are {count} training images of class 'c0', expected"
    with pytest.raises(UserError, match=sentence):
        heldout_split(labels, 0.02, 0, names, per_class=26)


def given_marks(marks, labels, dropped=()):
    return given_split(np.array(marks), np.array(labels), dropped, "marks.npy", ["cat", "dog"])


@pytest.mark.parametrize("kind", [int, bool, float])
def test_marks_select_the_held_out_images(kind):
    train, heldout = given_marks(np.array([0, 1, 0, 0, 1, 0], kind), [0, 0, 0, 1, 1, 1])
    assert (train.tolist(), heldout.tolist()) == ([0, 2, 3, 5], [1, 4])


@given(st.data())
def test_unreadable_images_do_not_shift_the_marks(data):
    """Each remaining image is on the side of its mark, whichever images were dropped."""
    n = data.draw(st.integers(12, 40))
    marks = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    marks[[0, 1]], marks[[2, 3]] = 1, 0  # one image of each class on each side
    dropped = data.draw(st.lists(st.integers(4, n - 1), unique=True))
    kept = np.delete(np.arange(n), np.array(dropped, int))  # the remaining images
    train, heldout = given_marks(marks, kept % 2, dropped)
    assert kept[heldout].tolist() == [i for i in kept if marks[i]]
    assert kept[train].tolist() == [i for i in kept if not marks[i]]


@pytest.mark.parametrize(
    ("marks", "dropped", "sentence"),
    [
        (
            [0, 1, 0, 1, 1],
            [],
            r"npy: the array is int64 of shape \(5,\), .* of the 4 training",
        ),
        ([0, 1, 0, 1], [1], r"int64 of shape \(4,\), .* of the 5 training images"),
        ([[0, 1, 0, 1]], [], r"of shape \(1, 4\)"),
        ([0, 2, 0, 1], [], "expected 0 or 1 for each"),
        (
            [0, 0, 0, 0],
            [],
            "the array marks none of the images, expected 1 for each that is held out",
        ),
        ([0, 1, 0, 0, 0], [1], "marks none of the images"),
        ([0, 1, 1, 1], [], "the array marks all images of class 'dog', expected at least"),
    ],
)
def test_impossible_marks_are_reported(marks, dropped, sentence):
    with pytest.raises(UserError, match=sentence):
        given_marks(marks, [0, 0, 1, 1], dropped)


@pytest.fixture
def job(tmp_path):
    """A job of the rule `split` for seven images, of which the third could not be read."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    paths = [f"{i}.jpg" for i in (0, 1, 3, 4, 5, 6)]
    where = {"folder": str(tmp_path), "size": 8, "border": 0}
    mapping = identity(["cat", "dog"])
    write_set(tmp_path / "x.npy", None, labels, mapping, paths, dropped=[2], decode=where)
    names = {"train": "train.npy", "heldout": "heldout.npy", "manifest": "manifest.json"}
    heldout = {
        "fraction": 0.5,
        "per_class": None,
        "indices": str(tmp_path / "marks.npy"),
        "seed": 0,
    }
    return SimpleNamespace(
        input=[str(tmp_path / "x.json")],
        output=SimpleNamespace(**{key: tmp_path / name for key, name in names.items()}),
        params=SimpleNamespace(heldout=heldout),
    )


def test_the_rule_takes_marks_of_the_whole_folder(job, tmp_path):
    np.save(tmp_path / "marks.npy", [1, 0, 1, 0, 0, 1, 0])
    split.main(job)
    manifest = json.loads(job.output.manifest.read_text())
    assert manifest["paths"] == ["0.jpg", "5.jpg"]
    assert np.load(job.output.heldout).tolist() == manifest["indices"] == [0, 4]
    assert np.load(job.output.train).tolist() == [1, 2, 3, 5]


def test_the_rule_warns_of_a_small_held_out_set(job, tmp_path, caplog):
    np.save(tmp_path / "marks.npy", [1, 0, 1, 0, 0, 1, 0])
    split.main(job)
    assert "With 2 held-out images, one of them is worth 50.0 points of accuracy." in caplog.text


def test_the_rule_warns_if_a_share_leaves_few_training_images_of_a_class(job, tmp_path, caplog):
    np.save(tmp_path / "marks.npy", [1, 0, 1, 0, 0, 1, 0])
    job.params.train_fraction = 0.5
    split.main(job)
    kept = len(np.load(job.output.train))
    sentence = f"data.train_fraction is 0.5: {kept} of 4 training images are used, at least 1 of a"
    assert sentence in caplog.text
    assert "WARNING" in next(line for line in caplog.text.splitlines() if sentence in line)


def test_the_rule_reports_a_file_without_marks(job, tmp_path):
    (tmp_path / "marks.npy").write_text("0 1 0 1")
    with pytest.raises(UserError, match=r"marks\.npy: .*, expected an array written by numpy.save"):
        split.main(job)
    assert not job.output.manifest.exists()


def test_a_manifest_records_the_split_with_its_fingerprint():
    settings = {"fraction": 0.5, "per_class": None, "indices": None, "seed": 0}
    labels, sides = np.array([0, 0, 1, 1]), (np.array([0, 2]), np.array([1, 3]))
    made = manifest(settings, ["cat", "dog"], labels, ["a", "b", "c", "d"], *sides)
    assert made["indices"] == [1, 3]
    assert (made["labels"], made["paths"]) == ([0, 1], ["b", "d"])
    assert (made["train_images"], made["heldout_images"]) == (2, 2)
    assert made.pop("sha256") == fingerprint(made)
    assert manifest(settings, ["cat", "dog"], labels, None, *sides)["paths"] is None


def test_all_images_can_be_held_out_if_nothing_is_trained():
    labels = np.array([0, 1, 0, 1, 1])
    train, heldout = heldout_split(labels, 1, 0, ["cat", "dog"])
    assert train.tolist() == []
    assert heldout.tolist() == [0, 1, 2, 3, 4]
