# Model soups (arXiv 2203.05482): from splits to soups to figures. README.md says how to run it.

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, f"{workflow.basedir}/scripts")

from soups import files, hyperparameters
from soups.data import folders
from soups.experiment import catalog, settings
from soups.jobs import progress
from soups.models import architectures
from soups.experiment import sweep, variants
from soups.jobs import runs
from soups.errors import UserError
from soups.data.images import set_paths, train_paths


configfile: "config.yaml"


# A job's script in place of its shell: a signal to all processes of the job (SLURM's, Ctrl-C) must
# not end the shell, and Snakemake with it, while the script still saves its state.
shell.prefix("set -euo pipefail; exec ")
settings.validate(config, f"{workflow.basedir}/rules/schemas/config.schema.yaml")


report: "rules/captions/workflow.rst"


onstart:
    allowed = workflow.global_resources.get("gpu")
    if GPUS and allowed is not None and allowed.value == 0:
        raise UserError("--resources gpu is 0, expected 1 or more, or compute.device: cpu")
    # A GPU that is not there is missed now, not by the first job that needs it. (What submits
    # jobs to other machines, or runs none that uses models, needs none.)
    asked = config["compute"]
    if workflow.local_exec and (asked["device"], asked["gpus"]) != ("auto", 1):
        if any("gpu" in job.resources.keys() for job in workflow.dag.needrun_jobs()):
            from soups.jobs import compute, distributed  # imports torch

            compute.configure(asked)
            distributed.check()
    if runs.of_experiment(workflow.dag_settings.targets):
        # What `shared` compares itself with.
        if not config["shared"]:
            files.write_json(f"{R}/settings.json", settings.sections(config))
        # What tools/status.py counts.
        runs.begin(
            R,
            shared=config["shared"],
            rule="import_checkpoint" if CHECKPOINTS else "finetune",
            ingredients=INGREDIENTS,
            starts=STARTS,
            soups=list(SOUPS),
            ensembles=list(ENSEMBLES),
            evaluated=MODELS,
            tests=TESTS,
            tables=[*TABLES, *CURVE_TABLES, "claims"],
            figures=FIGURES,
        )
    runs.mark_alive(".snakemake/alive")
    # A job that has them all to itself shows a bar.
    if workflow.resource_settings.cores:
        os.environ[progress.CORES] = str(workflow.resource_settings.cores)


onsuccess:
    if runs.of_experiment(workflow.dag_settings.targets):
        runs.end(R, None)


onerror:
    if runs.of_experiment(workflow.dag_settings.targets):
        runs.end(R, str(log))
    print("What is done stays: the same command goes on from here.", file=sys.stderr)


include: "rules/common.smk"


rule all:
    default_target: True
    input:
        f"{R}/report.html",


include: "rules/data.smk"
include: "rules/splits.smk"
include: "rules/pretrain.smk"
include: "rules/checkpoints.smk" if CHECKPOINTS else "rules/finetune.smk"
include: "rules/evaluate.smk"
include: "rules/soups.smk"
include: "rules/ensembles.smk"
include: "rules/curves.smk"
include: "rules/geometry.smk"
include: "rules/tables.smk"
include: "rules/claims.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/published.smk"
include: "rules/estimate.smk"
include: "rules/targets.smk"
