import numpy as np
from scipy import ndimage

from conddiffusion_uad.training.data.slice_outline import outline


def head(radius: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """A T2-like slice of a head, and its brain: brain in fluid, in dark bone, in bright scalp."""
    y, x = np.indices((190, 150))
    distance = np.hypot((y - 95) / 1.25, x - 75)
    image = np.select(
        [distance < 0.85 * radius, distance < 0.92 * radius, distance < radius, distance < 1.08 * radius],
        [0.35, 0.9, 0.05, 0.6],
        0.0,
    )
    image[80:110, 70:80] = 0.9  # ventricles
    return ndimage.gaussian_filter(image + np.random.default_rng(0).normal(0, 0.01, image.shape), 0.6), (
        distance < 0.92 * radius
    )


def test_brain_is_cut_out_of_the_ring_of_bone() -> None:
    image, brain = head()
    found = outline(image)
    assert found is not None
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.97


def test_a_slice_without_a_closed_ring_is_refused() -> None:
    image, _ = head()
    image[60:130, 100:] = 0.0  # as where bone and air cut into the brain
    assert outline(image) is None
    assert outline(head(radius=20.0)[0]) is None
    assert outline(np.zeros((64, 64))) is None
