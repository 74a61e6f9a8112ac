"""The methods that MOORe is compared with, each on the same run axis, data, budgets and evaluation."""
