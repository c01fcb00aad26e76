# Model soups (arXiv 2203.05482): from splits to soups to figures. README.md says how to run it.

import gc
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")
# The graph of jobs is millions of objects, of which few are ever freed. Looking for garbage less
# often than after every 700 of them saves a quarter of a dry run of 1,000 models.
gc.set_threshold(100_000, 20, 20)
sys.path.insert(0, f"{workflow.basedir}/scripts")

from soups.errors import UserError
from soups.experiment import settings
from soups.experiment.figures import PUBLISHED_FIGURES, PUBLISHED_TABLES, published_inputs
from soups.experiment.plan import NOTHING, Plan
from soups.jobs import handlers


# With --directory, the folder of a run may have no config.yaml of its own.
configfile: "config.yaml" if Path("config.yaml").is_file() else f"{workflow.basedir}/config.yaml"


report: "rules/captions/workflow.rst"


include: "rules/common.smk"


rule all:
    default_target: True
    input:
        f"{R}/report.html",


include: "rules/data.smk"
include: "rules/splits.smk"
include: "rules/pretrain.smk"
include: "rules/checkpoints.smk" if plan.checkpoints else "rules/finetune.smk"
include: "rules/evaluate.smk"
include: "rules/soups.smk"
include: "rules/ensembles.smk"
include: "rules/curves.smk"
include: "rules/geometry.smk"
include: "rules/tables.smk"
include: "rules/claims.smk"
include: "rules/figures.smk"
include: "rules/doctor.smk"
include: "rules/report.smk"
include: "rules/published.smk"
include: "rules/estimate.smk"
include: "rules/targets.smk"
include: "rules/handlers.smk"


# A job's script takes the place of its shell. A signal to all processes of the job (SLURM's, or
# Ctrl-C) must not end the shell, and Snakemake with it, while the script still saves its state.
shell.prefix("set -euo pipefail; exec ")
