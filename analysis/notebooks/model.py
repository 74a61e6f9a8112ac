# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Uncertainty and the dynamics model
#
# The penalty over both stages (Figure 4, left), how a retraining changes it (right, by a definition of ours), and how
# well the ensemble predicts transitions that it has not seen.

# %%
from analysis.output.show import figure, load
from analysis.plots.diagnostics import calibration, open_loop, penalty, rank_correlation, relative_error

studies, _ = load()

# %% [markdown]
# ## Uncertainty

# %%
for study in studies:
    figure(penalty(study))
    figure(relative_error(study))

# %% [markdown]
# ## The model on unseen transitions

# %%
for study in studies:
    figure(open_loop(study))
    figure(calibration(study))
    figure(rank_correlation(study))
