"""The conditioned diffusion model: encoder, denoiser, schedule, noise and the bundle that stores a trained one."""
