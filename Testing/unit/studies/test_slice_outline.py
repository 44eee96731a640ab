import numpy as np
from slice_outline import outline
from synthetic_slice import head


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
