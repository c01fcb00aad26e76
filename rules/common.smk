# Names, paths and the sweep table: what every stage shares.

R = f"results/{config['name']}"
# Data, splits, pre-trained model and initialisation may come from another experiment.
S = f"results/{config['shared'] or config['name']}"

SWEEP = sweep.draw(config["sweep"], config["finetune"])  # ingredient id: hyperparameters
INGREDIENTS = list(SWEEP)
STARTS = ["zeroshot", "initialization"]
SOUPS = config["soups"]
SHIFTS = settings.shifts(config)
TESTS = ["test", *SHIFTS]
TRAIN = set_paths(f"{S}/prepared", "train")  # images, labels, what the labels mean

# Bump a stage's number when its library code changes what it computes:
# Snakemake sees changes of a script, not of the modules it imports.
STAGE = {
    "data": 1,
    "pretrain": 1,
    "splits": 1,
    "initialize": 1,
    "finetune": 1,
    "evaluate": 1,
    "soups": 1,
    "tables": 1,
    "figures": 1,
    "report": 1,
}


wildcard_constraints:
    home="|".join(sorted({R, S})),
    model="|".join(INGREDIENTS + STARTS + SOUPS),
    ingredient="|".join(INGREDIENTS),
    soup="|".join(SOUPS),
    set="|".join(["train", *TESTS]),


def home(model):
    """The experiment a model belongs to: starting points may be another's."""
    return S if model in STARTS else R


def weights(model):
    """Where a model's weights lie: a starting point, a soup or an ingredient."""
    folder = "soups" if model in SOUPS else "models"
    return f"{home(model)}/{folder}/{model}.safetensors"


def heldout_logits(model):
    """Written by the job that made the model: selection needs no evaluation job."""
    return weights(model).replace(".safetensors", ".heldout.npy")


def test_logits(model):
    return [f"{home(model)}/logits/{model}/{name}.npy" for name in TESTS]
