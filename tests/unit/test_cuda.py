"""The main paths on a GPU, compared with the CPU. `pytest -m cuda` runs these tests.

Sums have another order on a GPU, so weights and logits are compared with tolerances. Processes of
their own run the jobs that share a GPU.
"""

import copy
import multiprocessing
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from soups.cost import speeds
from soups.data.decode import ImageFiles
from soups.data.loading import Reader
from soups.data.prepared import PreparedSet, write_set
from soups.errors import UserError
from soups.evaluation.metric import ACCURACY
from soups.jobs import devices, events, job
from soups.jobs.distributed import spread
from soups.jobs.resume import Resumable
from soups.mixing import learned
from soups.mixing.mixed_model import MixedModel
from soups.mixing.trial import evaluate
from soups.models.batch_norm import kept, recalibrate
from soups.models.blocks import groups
from soups.models.forward import forward
from soups.training import optim
from soups.training.finetune import finetune
from soups.training.pretrain import pretrain
from soups.training.step import Step
from tests.unit.kitchens import HELDOUT, tiny_kitchen
from tests.unit.training import NOISY, PLAIN, ROWS, apart, convolutional, same

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA"),
]
TRANSFORMS = {"crop": 0.5, "flip": 0.5, "rand_augment_ops": 2, "rand_augment_magnitude": 9}
HOLD = 0.5  # seconds that a job keeps its GPU
CLOSE = {"rtol": 1e-3, "atol": 1e-3}
KINDS = {
    "plain": PLAIN,
    "noisy": NOISY,
    "sam": PLAIN | {"sam": 0.05, "layer_decay": 0.7},
    "ema": PLAIN | {"ema": 0.7},
    "swa": PLAIN | {"swa": 0.6, "swa_lr": 0.5},
    "distilled": PLAIN | {"distill": 0.5},
}


@pytest.fixture
def photos(write_images, tmp_path) -> ImageFiles:
    """60 image files, which worker processes decode."""
    write_images(tmp_path / "photos", {"all": 60}, (24, 20))
    return ImageFiles(tmp_path / "photos", [f"all/{i:03d}.png" for i in range(60)], 16)


@pytest.fixture
def trained(start) -> torch.nn.Module:
    """A classifier whose head is not zero."""
    torch.nn.init.normal_(start.head.weight, generator=torch.Generator().manual_seed(0))
    return start.eval()


def test_a_gpu_is_chosen_by_number_and_multiplies_in_full(configured):
    assert devices.device().type == "cuda"
    configured(device="cuda:0")
    assert devices.device() == torch.device("cuda", 0)
    assert torch.cuda.current_device() == 0
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    configured(device="cuda:99")
    with pytest.raises(UserError, match=r"cuda:99, but torch sees \d+ CUDA devices"):
        devices.device()


def test_more_gpus_than_torch_sees_are_refused(configured):
    configured(device="cuda", gpus=99)
    with pytest.raises(UserError, match=r"compute.gpus is 99, but torch sees \d+ CUDA devices"):
        spread(print, None)
    configured(device="cuda:0", gpus=2)
    with pytest.raises(UserError, match=r"compute.device is 'cuda:0', expected cuda"):
        spread(print, None)


def test_a_gpu_gets_the_same_pixels_while_it_works(configured, images):
    configured(device="cuda")
    many = [np.arange(60)] * 50
    sums = []
    for pixels in Reader(images).read(many):
        assert pixels.is_cuda
        torch.cuda._sleep(10_000_000)  # kernels that read the batch later than it was freed
        sums.append(pixels.sum(dtype=torch.int64))
        del pixels
    assert {int(each) for each in sums} == {int(images.sum(dtype=np.int64))}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_logits_are_nearly_those_of_the_cpu(configured, trained, images, photos, precision):
    for inputs, workers in ((images, 0), (photos, 2)):
        configured(device="cpu")
        expected = forward(trained.cpu(), inputs)
        configured(inference=precision, batch_size=25)
        model = trained.to(devices.device())
        exact = forward(model, inputs, workers=workers, exact=True)
        assert exact.device.type == "cpu"
        torch.testing.assert_close(exact, expected, **CLOSE)
        half = forward(model, inputs, workers=workers)
        torch.testing.assert_close(half, expected, rtol=0.05, atol=0.05)
        rows = np.array([5, 3, 59])
        torch.testing.assert_close(forward(model, inputs, rows, exact=True), exact[rows], **CLOSE)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["plain", "sam", "ema", "swa", "distilled"])
def test_a_gpu_trains_nearly_the_same_model(configured, tuned, start, teacher, kind, precision):
    row = KINDS[kind] | {"lr": 0.001}
    given = {"teacher": teacher} if kind == "distilled" else {}
    configured(device="cpu")
    cpu = tuned(row, **given)
    configured(precision=precision, channels_last=True, accumulate=2)
    gpu = tuned(row, **given)
    assert apart(gpu, cpu) < 0.5 * apart(cpu, start.state_dict())


def test_deterministic_training_gives_the_same_bits_without_a_warning(configured, tuned, recwarn):
    configured(precision="bfloat16")
    first = tuned(NOISY)
    assert same(tuned(NOISY), first)
    assert not [w for w in recwarn if "deterministic" in str(w.message)]


def test_a_step_does_not_wait_for_the_gpu(configured, start, images, labels, teacher):
    configured(device="cuda")
    model, device = copy.deepcopy(start).cuda().train(), torch.device("cuda")
    step = Step(model, optim.adamw(model, 0.001, 0.1), PLAIN | {"sam": 0.05})
    x = model.pixels(torch.from_numpy(images[:8]).cuda())
    y = devices.send(torch.from_numpy(labels[:8]), device)
    soft = devices.send(torch.from_numpy(teacher[:8]), device)
    step(x, y, soft, len(x))  # the first step makes the optimizer's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(x, y, soft, len(x))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_convolutions_and_batch_statistics_are_those_of_the_cpu(
    configured, images, labels, tmp_path
):
    made = {}
    for device in ("cpu", "cuda"):
        configured(device=device, channels_last=True)
        state = Resumable(tmp_path, {"device": device})
        model = finetune(convolutional(), images, labels, ROWS, PLAIN | {"lr": 0.001}, state)
        recalibrate(model, images, np.arange(len(images)))
        made[device] = {name: value.cpu() for name, value in model.state_dict().items()}
    assert apart(made["cuda"], made["cpu"]) < 0.1 * apart(made["cpu"], convolutional().state_dict())
    mean = "visual.1.running_mean"
    torch.testing.assert_close(made["cuda"][mean], made["cpu"][mean], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_finetune_ends_with_nearly_the_same_model(
    configured, tuned, start, killed, teacher, tmp_path, kind, precision
):
    configured(precision=precision)
    whole = tuned(KINDS[kind], teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        tuned(KINDS[kind], killed(tmp_path, {"kind": kind}), teacher=teacher)
    state = Resumable(tmp_path, {"kind": kind})
    assert state.path.exists()
    resumed = tuned(KINDS[kind], state, teacher=teacher)
    assert apart(resumed, whole) < 0.01 * apart(whole, start.state_dict())


def test_image_files_are_read_by_workers_and_resume(
    configured, tuned, start, killed, photos, tmp_path
):
    configured(precision="bfloat16")
    row = NOISY | TRANSFORMS
    whole = tuned(row, images=photos, workers=2)
    with pytest.raises(KeyboardInterrupt):
        tuned(row, killed(tmp_path, {}), images=photos, workers=2)
    resumed = tuned(row, Resumable(tmp_path, {}), images=photos)
    assert apart(resumed, whole) < 0.01 * apart(whole, start.state_dict())


@pytest.mark.parametrize("settings", [{"checkpoint_activations": True}, {"compile": True}])
def test_recomputed_and_compiled_models_are_nearly_the_same(configured, tuned, start, settings):
    if "compile" in settings and not shutil.which("gcc"):
        pytest.skip("torch.compile needs a C compiler")
    configured()
    plain = tuned(PLAIN)
    configured(**settings)
    assert apart(tuned(PLAIN), plain) < 0.05 * apart(plain, start.state_dict())


def test_a_model_of_one_task_ends_with_its_whole_head_on_the_gpu(start, images, labels, tmp_path):
    with start.only([1, 3]):
        state = Resumable(tmp_path, {})
        finetune(start, images, labels // 2, ROWS, PLAIN, state)
    assert forward(start, images).shape == (60, 4)


def test_captions_are_learnt_and_the_model_returns_to_the_cpu(
    images, labels, architecture, tmp_path
):
    settings = {
        "epochs": 2, "batch_size": 16, "lr": 0.01, "weight_decay": 0.05, "warmup": 0.1, "clip": 1.0,
        "horizon": 2, "cooldown": 1, "augment": 1, "seed": 0,
    }  # fmt: skip
    captions = [f"a {['cat', 'dog'][label % 2]}" for label in labels]
    model = pretrain(images, captions, [], architecture, settings, Resumable(tmp_path, {}))
    assert {parameter.device.type for parameter in model.clip.parameters()} == {"cpu"}


def test_soups_have_the_weights_and_the_score_of_the_cpu(
    configured, pretrained, images, labels, tmp_path
):
    found = {}
    for device in ("cpu", "cuda"):
        configured(device=device)
        folder = tmp_path / device
        folder.mkdir()
        own = copy.deepcopy(pretrained)
        kitchen = tiny_kitchen(own, folder, images, labels)
        mixed = MixedModel(own.classifier(4), kitchen.paths, kept)
        average = mixed.average(("m0", "m1", "m2"))
        assert next(average.parameters()).device.type == device
        logits = forward(average, images[HELDOUT], exact=True)
        trial = evaluate(lambda _, made=logits: made.numpy(), kitchen.labels, ACCURACY)
        recipe = kitchen.made["uniform"]
        state = {name: value.cpu() for name, value in mixed.of(recipe).state_dict().items()}
        found[device] = logits, state, trial.score
    torch.testing.assert_close(found["cuda"][0], found["cpu"][0], **CLOSE)
    torch.testing.assert_close(found["cuda"][1], found["cpu"][1])
    assert abs(found["cuda"][2] - found["cpu"][2]) <= 1 / 30


def test_a_learned_soup_has_nearly_the_coefficients_of_the_cpu(
    configured, pretrained, images, labels, tmp_path
):
    found = {}
    for device in ("cpu", "cuda"):
        configured(device=device)
        own = copy.deepcopy(pretrained)
        kitchen = tiny_kitchen(own, tmp_path, images, labels)
        model = own.classifier(4)
        paths = [kitchen.paths[name] for name in kitchen.ingredients]
        group = groups(list(model.state_dict()), "block")
        fit = {"lr": 0.05, "epochs": 3, "batch_size": 15, "seed": 0}
        given = images[HELDOUT], torch.from_numpy(labels[HELDOUT]), group
        for budget in (0, 2**30):  # ingredients are streamed or held
            made = learned.learn(model, learned.within(paths, budget), *given, **fit)
            found[device, budget] = made[0]
    torch.testing.assert_close(found["cuda", 0], found["cuda", 2**30], **CLOSE)
    torch.testing.assert_close(found["cuda", 0], found["cpu", 0], rtol=0.01, atol=0.01)


def test_speeds_are_measured_with_the_real_functions(monkeypatch, pretrained, tmp_path):
    monkeypatch.setattr("soups.jobs.timing.SECONDS", 0.02)

    def inputs(count: int) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)

    model = pretrained.classifier(4)
    assert speeds.training(model, PLAIN | {"mixup": 0.2, "ema": 0.9, "distill": 0.5}, inputs)[0] > 0
    assert speeds.evaluation(model, inputs) > 0
    pair = speeds.two_models(model, tmp_path)
    assert speeds.mixing(pair) > 0
    assert speeds.learning(model, pair[0], {"lr": 0.05, "batch_size": 8}, inputs)[0] >= 0
    assert speeds.device_name() == torch.cuda.get_device_name()
    assert speeds.peak_memory() > 0


def test_texts_train_nearly_the_same_model(configured, tmp_path):
    pytest.importorskip("transformers", reason="`make text` installs it")
    from soups import problems
    from soups.models.pretrained import bring_in
    from soups.text import preparation
    from tests import texts

    texts.save_model(tmp_path, "Bert", hidden_dropout_prob=0, attention_probs_dropout_prob=0)
    text = problems.named("text")
    model = bring_in(f"transformers/{tmp_path}", str(tmp_path), problem=text, pooling="native")
    records = texts.reviews(60, pairs=True)
    labels, mapping = preparation.labelled("train", records, texts.CLASSES)
    tokens, more = preparation.tokenized(model.made_from, "train", records)
    write_set(tmp_path / "train.npy", tokens, labels, mapping, **more)
    data = PreparedSet(tmp_path / "train.npy")
    start = model.classifier(2)
    torch.nn.init.normal_(start.head.weight, generator=torch.Generator().manual_seed(7))
    made = {}
    for device in ("cpu", "cuda"):
        configured(device=device)
        state = Resumable(tmp_path, {"device": device})
        row = PLAIN | {"lr": 0.001, "augment": 1}
        given = data.inputs, data.labels, np.arange(30), row, state
        tuned = finetune(copy.deepcopy(start), *given)
        made[device] = {name: value.cpu() for name, value in tuned.state_dict().items()}
    assert apart(made["cuda"], made["cpu"]) < 0.5 * apart(made["cpu"], start.state_dict())


def multiply(_) -> None:
    """The work of a job that uses its GPU for a moment."""
    matrix = torch.eye(512, device=devices.device())
    for _ in range(200):
        matrix = matrix @ matrix
    assert matrix.trace().item() == 512
    time.sleep(HOLD)


def share(log: str, per_gpu: int, together) -> None:
    """Run a job that asks for a GPU, in a process of its own."""
    settings = {"compute": {"jobs_per_gpu": per_gpu}}
    resources = {"gpu": 1}
    together.wait(60)
    job.run(multiply, SimpleNamespace(log=[log], threads=1, config=settings, resources=resources))


@pytest.mark.parametrize("per_gpu", [1, 2])
def test_jobs_of_two_processes_share_a_gpu(tmp_path, monkeypatch, per_gpu):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # of the lock files
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    logs = [tmp_path / f"{i}.log" for i in range(2)]
    started = [spawn.Process(target=share, args=[str(log), per_gpu, together]) for log in logs]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    taken = []
    for log in logs:
        told = {event["event"]: event["time"] for event in events.read(events.beside(log))}
        assert "ended" in told
        taken.append(told["gpus"])
    assert per_gpu == 2 or abs(taken[0] - taken[1]) > HOLD
