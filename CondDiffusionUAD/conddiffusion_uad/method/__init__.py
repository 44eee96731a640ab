"""What may be exchanged in the method, one idea a file.

`run.score` puts the parts together: the only place that calls a network for an anomaly map.
"""
