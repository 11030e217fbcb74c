"""The command line: thin files, one a command or a few that belong together."""
