"""The number of each stage, a parameter of its rules.

A change of code does not make Snakemake run a rule again here, neither in a script nor in the
library, because a changed comment should not train 72 models again (`rerun-triggers` in
profiles/default). When a change to the code of a stage changes its results, raise the number of
the stage: its rules then run again. Describe the change in CHANGELOG.md.
"""

STAGE = {
    "data": 1,
    "folders": 2,
    "pretrain": 1,
    "splits": 1,
    "initialize": 2,
    "finetune": 2,
    "checkpoints": 1,
    "evaluate": 2,
    "soups": 4,
    "ensembles": 1,
    "curves": 2,
    "doctor": 3,
    "tables": 4,
    "claims": 7,
    "figures": 3,
    "report": 4,
}
