"""The numbers of the stages. They tell Snakemake that library code computes other results.

Snakemake notices a change in a script, but not in a module that the script imports. A changed
comment in a module should not train 72 models again. So every rule has the number of its stage as
a parameter. When a change to the code of a stage changes its results, raise the stage's number
and describe the change in CHANGELOG.md.
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
    "soups": 2,
    "ensembles": 1,
    "curves": 2,
    "tables": 3,
    "claims": 2,
    "figures": 3,
    "report": 3,
}
