"""How the network of the map `learned` is trained: endless synthetic scans with anomalies, batch by batch.

`python -m conddiffusion_uad.training.learned_map` does it, beside other work and for as long as there is time.
"""
