"""Download one of the released checkpoints, or resume its download."""

from soups.jobs.job import run
from soups.models.download import fetch


def main(job) -> None:
    # The address is not a param, because a changed param would download every file again.
    settings = job.config["ingredients"]["checkpoints"]
    name = settings["file"].replace("{model}", job.wildcards.released)
    fetch(f"{settings['url'].rstrip('/')}/{name}", job.output[0], settings["sums"], name)


if __name__ == "__main__":
    run(main, snakemake)
