"""How fast skill-bench is, against other implementations and against what the machine can do."""
