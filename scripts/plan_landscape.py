"""Recipes of a grid in the planes through the start and two fine-tuned models, a panel each."""

from soups import files
from soups.jobs.job import run
from soups.mixing import recipes
from soups.mixing.geometry import Plane, gram
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p = job.params
    paths = dict(zip(p.models, job.input.weights, strict=True))
    plan = []
    for panel, (start, one, two) in p.panels.items():
        lr = p.lr[one]
        names = (start, one, two)
        changed = [Checkpoint(paths[name]) for name in (one, two)]
        plane = Plane(sum(gram(Checkpoint(paths[start]), changed).values()))

        def point(kind, x, y, panel=panel, lr=lr, plane=plane, names=names):
            amounts = dict(zip(names, plane.coefficients(x, y), strict=True))
            labels = {"panel": panel, "lr": lr, "kind": kind, "x": round(x, 6), "y": round(y, 6)}
            return {"labels": labels, "recipe": recipes.recipe(amounts, "plane")}

        plan += [point("grid", x, y) for x, y in plane.grid(p.points)]
        marks = dict(zip(("start", "one", "two"), plane.corners, strict=True))
        (x1, y1), (x2, y2) = plane.corners[1:]
        marks["average"] = ((x1 + x2) / 2, (y1 + y2) / 2)
        plan += [point(kind, x, y) for kind, (x, y) in marks.items()]
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
