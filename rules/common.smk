# Names, paths and the sweep table: what every stage shares.

R = f"results/{config['name']}"
# Data, splits, pre-trained model and initialisation may come from another experiment.
S = f"results/{config['shared'] or config['name']}"

BASE = sweep.draw(config["sweep"], config["finetune"])  # ingredient id: hyperparameters
SWEEP, ORIGIN = variants.vary(BASE, config["sweep"]["variants"])  # rows trained otherwise as well
INGREDIENTS = list(SWEEP)
STARTS = settings.starts(config)  # with logits of their own


def pool(*choice):
    return variants.pool(SWEEP, ORIGIN, *choice)


TASKS = {name: classes for name, classes in config["tasks"].items() if classes}
for name, row in SWEEP.items():
    if row["task"] not in (hyperparameters.ALL, *TASKS):
        known = ", ".join([hyperparameters.ALL, *TASKS])
        raise UserError(f"sweep: {name} has task = {row['task']!r}, expected one of {known}")


def of_variants(names, key):
    """Ingredients of some variants; those that are switched off have none."""
    known = [variants.BASE, *config["sweep"]["variants"]]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{key}.variants has {unknown[0]!r}, expected among {', '.join(known)}")
    return [m for m in INGREDIENTS if ORIGIN[m][1] in names]


# θ₀ of each ingredient: where its fine-tuning starts.
CHECKPOINTS = (
    config["ingredients"]["source"] == "checkpoints" and config["ingredients"]["checkpoints"]
)
if not CHECKPOINTS:
    sweep.check_different(BASE)
ORIGINS = variants.origins(SWEEP, STARTS, ready_made=bool(CHECKPOINTS))


def origins(models):
    """θ₀ of some models, by model. A rule asks for its own, so that others do not rerun it."""
    return {m: ORIGINS[m] for m in models}


def started(models):
    """The models that some models were fine-tuned from."""
    return sorted(set(origins(models).values()))


BASE_ENTRY = {"ingredients": list(BASE), "pool": list(BASE), "start": None}
SOUPS = catalog.soups(config["soups"], pool, ORIGINS)  # soup id: how its recipe is made
ENSEMBLES = catalog.ensembles(config["ensembles"], SOUPS, pool)
# Models that only figures use, on a part of every set: not evaluated on all images.
FOR_CURVES = variants.for_curves(config["curves"])
USED = {m for entry in [*SOUPS.values(), *ENSEMBLES.values()] for m in entry["ingredients"]}
EVALUATED = [m for m in INGREDIENTS if m in USED or ORIGIN[m][1] not in FOR_CURVES]
catalog.check_names([*INGREDIENTS, *sweep.RESERVED], soups=SOUPS, ensembles=ENSEMBLES)
SHIFTS = settings.shifts(config)
TESTS = ["test", *SHIFTS]
STORE = settings.store(config)
TRAIN_FILES = train_paths(f"{S}/prepared", STORE)  # images, labels, what the labels mean
TRAIN = list(TRAIN_FILES.values())
# Images that are decoded whenever they are needed want processes that do so.
READERS = 1 if STORE == "array" else 8
# GPUs of a job that runs models: `--resources gpu=4` bounds how many do so at a time. Where there
# are none, `auto` finds out in the job.
GPUS = 0 if config["compute"]["device"] in ("cpu", "mps") else 1
HELDOUT = {  # what selection may see of the data
    "pretrained": f"{S}/pretrained/model.safetensors",
    "heldout": set_paths(f"{S}/prepared", "heldout"),
}

# How it is computed changes what comes out, a little: parameters of the rules that it matters to.
INFERENCE = config["compute"]["inference"]
TRAINING = {key: config["compute"][key] for key in ("precision", "accumulate", "gpus")}
RECALIBRATE = config["model"]["recalibrate_batch_norm"]

# Bump a stage's number when its library code changes what it computes:
# Snakemake sees changes of a script, not of the modules it imports.
STAGE = {
    "data": 1,
    "folders": 2,
    "pretrain": 1,
    "splits": 1,
    "initialize": 2,
    "finetune": 2,
    "checkpoints": 1,
    "evaluate": 2,
    "soups": 2,
    "ensembles": 1,
    "curves": 2,
    "tables": 3,
    "claims": 1,
    "figures": 2,
    "report": 2,
}


NOTHING = "(?!)"  # the pattern that matches no name


wildcard_constraints:
    home="|".join(sorted({R, S})),
    model="|".join([*INGREDIENTS, *STARTS, *SOUPS]),
    ingredient="|".join(INGREDIENTS),
    soup="|".join(SOUPS),
    ensemble="|".join(ENSEMBLES) or NOTHING,
    set="|".join(["train", *TESTS]),


def home(model):
    """The experiment a model belongs to: starting points may be another's."""
    return S if model in hyperparameters.START.values() else R


def weights(model):
    """Where a model's weights lie: a starting point, a soup or an ingredient."""
    folder = "soups" if model in SOUPS else "models"
    return f"{home(model)}/{folder}/{model}.safetensors"


def heldout_logits(model):
    """Written by the job that made the model: selection needs no evaluation job."""
    if model in ENSEMBLES:
        return f"{R}/ensembles/{model}.heldout.npy"
    return weights(model).replace(".safetensors", ".heldout.npy")


def test_logits(model):
    return [f"{home(model)}/logits/{model}/{name}.npy" for name in TESTS]


def recipe_of(soup):
    return f"{R}/recipes/{soup}.json"


def sources(entry):
    """Soups whose recipes a soup or an ensemble starts from."""
    return [name for name in entry["of"] if name != catalog.BEST]


def table(name):
    """A table as an output that the report shows."""
    labels = {"table": name.replace("_", " ")}
    caption = f"captions/tables/{name}.rst"
    return report(f"{R}/tables/{name}.csv", caption=caption, category="Tables", labels=labels)


def of_experiment(key, name, *tables):
    """Tables of another experiment, which has to have been run before."""
    if name == config["name"]:
        raise UserError(f"{key} has {name!r}, this experiment itself, expected another one")
    paths = [f"results/{name}/tables/{table}.csv" for table in tables]
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise UserError(f"{key} has {name!r}: no {missing[0]}, expected a finished experiment")
    return paths
