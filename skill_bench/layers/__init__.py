"""How alike a teacher's layers are, and the groups that follow from it."""
