"""Lesions drawn by a diffusion model that is told their mask, learned from lesions that somebody outlined.

Paper: Du et al. 2023, "ArSDM: Colonoscopy Images Synthesis with Adaptive Refinement Semantic Diffusion Models",
arXiv:2309.01111.

``network`` draws, ``learning`` teaches it with the area-weighted loss, ``pairs`` reads scans with their lesions,
``lesion_file`` keeps the weights. ``training.lesions`` puts them together for ``train lesions``, and the objective
``diffused_anomalies`` lets a model learn from healthy slices with such lesions.
"""
