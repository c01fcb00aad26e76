"""Download one of the released checkpoints; a second call goes on where the first was cut off."""

from soups.jobs.job import run
from soups.models.download import fetch


def main(job) -> None:
    # From the configuration, not from params: that an address has moved is no reason to
    # download everything again.
    settings = job.config["ingredients"]["checkpoints"]
    name = settings["file"].replace("{model}", job.wildcards.released)
    fetch(f"{settings['url'].rstrip('/')}/{name}", job.output[0], settings["sums"], name)


if __name__ == "__main__":
    run(main, snakemake)
