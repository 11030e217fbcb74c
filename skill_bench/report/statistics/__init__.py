"""How sure a number is, and whether two differ: intervals and paired tests from stored predictions."""
