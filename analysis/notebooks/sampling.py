# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Sampling and other ablations
#
# What the priorities did to the draws, and what each variant of a study changes in the result.

# %%
from analysis.diagnostics import online_share
from analysis.differences import differences_table
from analysis.forest import forest
from analysis.robustness import robustness
from analysis.show import figure, load, table
from analysis.sweeps import sweeps

from analysis.claims import claims_table

studies, _ = load()

# %% [markdown]
# ## The realised schedule beside its closed form

# %%
for study in studies:
    figure(online_share(study))

# %% [markdown]
# ## Variants against the reference

# %%
for study in studies:
    figure(forest(study))
    table(differences_table(study))
    table(claims_table(study))

# %% [markdown]
# ## Sweeps of one setting

# %%
for study in studies:
    for sweep in sweeps(study):
        figure(robustness(study, sweep))
