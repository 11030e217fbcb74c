"""One reader a corpus; each names its corpus (``CORPUS``) and the tasks that it reads (``TASKS``)."""
