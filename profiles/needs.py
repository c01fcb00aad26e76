"""The needs of every rule's jobs on a cluster: time, memory, a GPU, CPUs.

The profiles slurm and generic share this table. A site does not edit it: the numbers of a site
stand at the top of its profile, under the names that the table uses (`short`, `gpu_memory`).
A rule that runs on a cluster must have a line in `RULES`. `GROUPS` says which jobs belong together,
which is the same at every site. (Groups in the rules themselves would do the same, but they would
clutter every dry run on one machine.)
"""

from typing import NamedTuple

# Parts of a group's job. A job that takes all of them runs alone in its group for that time.
PARTS = 8

# Components (jobs, or chains of jobs, that do not depend on one another) that one job of the
# cluster holds. Every job costs a wait in the queue and about ten seconds of starting. Text names
# a key of the site.
COMPONENTS = {"sets": 8, "imports": "evaluations", "evaluations": "evaluations"}

# Group to its rules. Jobs of a group that depend on one another are one job of the cluster.
# Training is in no group, because a group that fails is made again as a whole. Nor are ensembles:
# a job reads the logits of all models, and whenever a model is done, Snakemake goes through all
# inputs of a group that waits for it.
GROUPS = {
    "sets": "draw_set draw_adversarial draw_corpus corrupt_set read_texts perturb_texts "
    "tokenize_set",
    "splits": "split hold_out",
    "imports": "import_checkpoint import_initialization",
    "evaluations": "evaluate",
    "soups": "recipe cook",
    "curves": "plan_wise_ft plan_number_of_models plan_heldout_size plan_large_lr plan_slices "
    "plan_tasks plan_pairs plan_landscape evaluate_curve evaluate_pairs evaluate_landscape "
    "diagnose",
    "report": "check_data check_texts make_tables calibration trace_table real_labels reproduction "
    "claims plot contact_sheet report plot_doctor published_tables plot_published",
}


class Need(NamedTuple):
    """What one job of a rule needs.

    Attributes:
        time: runtime class. A key of the site gives the minutes of a first try.
        memory: key of the site, or the MB of a first try.
        gpu: "one", "all" (those that one training job uses), or "" for none.
        whole: whether the job takes all CPUs and the GPU of its group's job, so that the group's
            jobs follow one another.
        together: jobs of a group that may follow one another, or the key of the site with
            their number. Their times are added up, and the sum must not exceed `longest`.
    """

    time: str
    memory: str | int = "cpu_memory"
    gpu: str = ""
    whole: bool = False
    together: str | int = 1


QUICK = Need("quick")
SHORT = Need("short")
# Texts of the test set are read, perturbed for a shift and tokenized, one after the other.
TEXTS = Need("short", together=3)
LONG = Need("long")
FIGURE = Need("quick", memory=2000)
TRAINING = Need("training", "gpu_memory", gpu="all")
PROBE = Need("quick", "gpu_memory", gpu="all")  # measures a machine that trains
START = Need("long", "gpu_memory", gpu="one")
EVALUATION = Need("evaluation", "gpu_memory", gpu="one", whole=True, together="evaluations")
# A soup may be made from another one. Then two recipes and two cooks follow one another.
RECIPE = Need("long", "recipe_memory", gpu="one", whole=True, together=4)
COOK = Need("long", "gpu_memory", gpu="one", whole=True, together=4)
# A curve follows its plan.
PLAN = Need("short", "gpu_memory", gpu="one", together=2)
CURVE = Need("long", "gpu_memory", gpu="one", whole=True, together=2)

RULES = {
    # Data. Rules that read image folders read every image.
    "draw_set": SHORT,
    "draw_adversarial": SHORT,
    "draw_corpus": SHORT,
    "check_set": LONG,
    "check_data": SHORT,  # compares the hashes of all images
    "prepare_folder": LONG,
    "prepare_train": LONG,
    "corrupt_set": SHORT,
    "folder_corpus": LONG,
    "read_texts": TEXTS,
    "perturb_texts": TEXTS,
    "tokenize_set": TEXTS,
    "check_texts": SHORT,  # compares the texts of all sets
    "split": QUICK,
    "hold_out": SHORT,
    # Models
    "pretrain": TRAINING,
    "import_pretrained": SHORT,
    "initialize": START,
    "finetune": TRAINING,
    "teacher": START,
    "import_checkpoint": EVALUATION,
    "import_initialization": EVALUATION,
    "evaluate": EVALUATION,
    # Soups and ensembles
    "recipe": RECIPE,
    "cook": COOK,
    "choose_ensemble": SHORT,
    "average_logits": SHORT,
    # Curves
    "plan_wise_ft": PLAN,
    "plan_number_of_models": PLAN,
    "plan_heldout_size": PLAN,
    "plan_large_lr": PLAN,
    "plan_slices": PLAN,
    "plan_tasks": PLAN,
    "plan_pairs": PLAN,
    "plan_landscape": PLAN,
    "evaluate_curve": CURVE,
    "evaluate_pairs": CURVE,
    "evaluate_landscape": CURVE,
    # The doctor mixes as many soups as a curve.
    "diagnose": CURVE,
    # Tables, figures, report
    "make_tables": SHORT,
    "calibration": SHORT,
    "trace_table": QUICK,
    "real_labels": SHORT,
    "reproduction": SHORT,
    "claims": SHORT,
    "plot": FIGURE,
    "plot_doctor": FIGURE,
    "contact_sheet": SHORT,
    "report": QUICK,
    "published_tables": QUICK,
    "plot_published": FIGURE,
    "estimate_cost": PROBE,
}


class Site:
    """The needs of all rules in the numbers of one site.

    Args:
        keys: name to number, the site's block at the top of its profile.
        on_gpu: function of the profile. It gets whether a job takes all GPUs of a training job,
            and whether it trains. It returns what the scheduler must be asked for besides time
            and memory.
    """

    def __init__(self, keys: dict, on_gpu) -> None:
        self.keys, self.on_gpu = keys, on_gpu

    def defaults(self) -> dict:
        """`default-resources`: the resources of a rule without a line in the table."""
        # Without a number for `disk_mb`, Snakemake adds up the sizes of each job's inputs.
        return self._asked(SHORT) | {"disk_mb": 1000}

    def resources(self) -> dict[str, dict]:
        """`set-resources`: rule to the resources that its jobs ask for."""
        return {rule: self._asked(need) for rule, need in RULES.items()}

    def threads(self) -> dict[str, int]:
        """`set-threads`. Other rules than these say their number themselves."""
        return {rule: self.keys["cpus"] for rule, need in RULES.items() if need.whole}

    def groups(self) -> dict[str, str]:
        """`groups`: rule to its group."""
        return {rule: group for group, rules in GROUPS.items() for rule in rules.split()}

    def components(self) -> dict[str, int]:
        """`group-components`: how many components of a group are one job of the cluster."""
        return {group: self._number(number) for group, number in COMPONENTS.items()}

    def _asked(self, need: Need) -> dict:
        asked = {
            "mem_mb": self._tries(self._number(need.memory), self.keys["largest"]),
            "runtime": self._minutes(need),
            "share": PARTS if need.whole else 1,
        }
        if need.gpu:
            asked |= self.on_gpu(need.gpu == "all", need.time == "training")
        return asked

    def _minutes(self, need: Need) -> int | str:
        first = self.keys[need.time]
        if need.time == "training":  # a further try goes on from the saved state
            return first
        return self._tries(first, self.keys["longest"] // self._number(need.together))

    def _number(self, number: int | str) -> int:
        return self.keys[number] if isinstance(number, str) else number

    @staticmethod
    def _tries(first: int, most: int) -> str:
        """An expression for Snakemake. Each further try gets as much again, up to `most`."""
        return f"min(attempt * {first}, {most})"
