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
from analysis.claims.tables import claims_table
from analysis.output.show import figure, load, table
from analysis.output.tables import differences_table
from analysis.plots.comparisons import forest, sweep_plot
from analysis.plots.diagnostics import online_share
from analysis.stats.sweeps import sweeps

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
        figure(sweep_plot(study, sweep))
