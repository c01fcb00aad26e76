"""The paper's claims: effects, verdicts, and the published results."""
