"""What can be done from Python, one file a function; `skill_bench` itself offers them as its own."""
