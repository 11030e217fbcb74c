"""The project's own evidence: many students of one teacher, distilled, evaluated and recorded by one command."""
