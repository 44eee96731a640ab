"""From the records of an evaluation to tables, curves and pages."""
