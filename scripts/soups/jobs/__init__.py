"""What every job needs: log, threads, GPUs, saved states, and how a run is followed."""
