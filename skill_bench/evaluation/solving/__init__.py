"""What the kinds of tasks share: a cell, features, checks of folds, training over folds."""
