# %% [markdown]
# # A tour of the results
#
# What lies in `analysis/results`, and how a row becomes a table, a figure and a verdict. Runs on the rows in git within
# a minute; `make notebooks` executes every notebook into `build/notebooks`. `MOORE_RESULTS` names another
# results folder.

# %%
from analysis.claims.tables import claims_table, verdicts_table
from analysis.output.facts import provenance_table
from analysis.output.show import figure, load, table
from analysis.output.tables import differences_table, main_table
from analysis.plots.figures import draw
from analysis.stats.transfer import summarise

studies, _ = load()

# %% [markdown]
# ## Studies
# A study is a folder with `rows.parquet` (one line for every number that a run recorded) and `manifest.json` (where
# the rows come from).

# %%
for study in studies:
    table(provenance_table(study))

# %%
studies[0].rows.head()

# %% [markdown]
# ## From rows to runs
# `summarise` gives a line for every online run: J_0, final score and the transfer metrics of `stats/transfer.py`.

# %%
summarise(studies[0]).head()

# %% [markdown]
# ## From runs to tables and figures
# Scores of different dataset sources never share a table, so a study is split by source first.

# %%
for study in studies:
    table(main_table(study))
    figure(draw(study))

# %% [markdown]
# ## Verdicts
# The paper's claims, as `analysis/claims/claims.yaml` states them, and the comparisons and differences of every study.

# %%
table(verdicts_table(studies))

# %%
for study in studies:
    table(claims_table(study))
    table(differences_table(study))
