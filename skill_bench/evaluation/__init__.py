"""From a plan to records: cells of upstream, task and seed, solved and written."""
