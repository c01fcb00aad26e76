"""The numbers of the stages: what tells Snakemake that library code computes something else.

Snakemake notices when a script changes, but not when a module that it imports does; and a
changed comment should not train 72 models again. So every rule has the number of its stage as
a parameter. Raise the number of a stage when its code changes what it computes, and say so in
CHANGELOG.md.
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
    "claims": 1,
    "figures": 2,
    "report": 2,
}
