"""Pairs of models, with the angle between their ways from where they started."""

from soups import files
from soups.jobs.job import run
from soups.mixing.geometry import angles, gram, lengths
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p = job.params
    models = dict(zip(p.models, map(Checkpoint, job.input.weights), strict=True))
    starts = dict(zip(p.starts, map(Checkpoint, job.input.starts), strict=True))
    angle, distance = {}, {}
    for start, checkpoint in starts.items():
        names = [name for name in models if p.origins[name] == start]
        products = sum(gram(checkpoint, [models[name] for name in names]).values())
        table = angles(products).tolist()
        distance |= dict(zip(names, lengths(products).tolist(), strict=True))
        for name, row in zip(names, table, strict=True):
            angle |= {(name, other): value for other, value in zip(names, row, strict=True)}
    plan = [
        pair
        | {
            "angle": round(angle[pair["model_1"], pair["model_2"]], 4),
            "distance_1": round(distance[pair["model_1"]], 6),
            "distance_2": round(distance[pair["model_2"]], 6),
        }
        for pair in p.pairs
    ]
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
