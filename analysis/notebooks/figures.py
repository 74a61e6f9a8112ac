# %% [markdown]
# # Every figure
#
# By kind, each for all studies: learning curves across the switch (the paper's Figures 1 and 2), aggregates over tasks,
# what the priorities did to the draws, uncertainty (Figure 4) and the dynamics model on transitions not yet seen.

# %%
from analysis.io.imported import overlay
from analysis.output.show import figure, load
from analysis.plots.comparisons import sweep_plot
from analysis.plots.curves import learning_curves
from analysis.plots.figures import DRAWINGS
from analysis.stats.sweeps import sweeps

studies, imported = load()

# %%
for draw in DRAWINGS.values():
    for study in studies:
        figure(draw(study))

# %% [markdown]
# ## Sweeps of one setting

# %%
for study in studies:
    for sweep in sweeps(study):
        figure(sweep_plot(study, sweep))

# %% [markdown]
# ## With imported curves
# `moore import curves.csv` adds other people's curves to the results folder; here they lie over the studies with the
# same tasks.

# %%
for study in studies:
    for theirs in imported:
        if (joined := overlay(study, theirs)) is not None:
            figure(learning_curves(joined))
