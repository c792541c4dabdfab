"""Pages that are made of the code: errors, gates, tables, settings and commands."""
