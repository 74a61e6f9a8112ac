# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Learning curves across the switch
#
# Every study's curves (the paper's Figures 1 and 2), and what the switch from offline to online did to each run.

# %%
from analysis.io.imported import overlay
from analysis.output.show import figure, load, table
from analysis.output.tables import transfer_table
from analysis.plots.curves import learning_curves

studies, imported = load()

# %%
for study in studies:
    figure(learning_curves(study))
    table(transfer_table(study))

# %% [markdown]
# ## With imported curves
# `moore import curves.csv` adds other people's curves to the results folder; here they lie over the studies with the
# same tasks.

# %%
for study in studies:
    for theirs in imported:
        joined = overlay(study, theirs)
        if joined is not None:
            figure(learning_curves(joined))
