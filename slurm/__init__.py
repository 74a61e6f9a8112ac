"""Studies on a SLURM cluster: profiles, plans, submissions, workers and what became of them."""
