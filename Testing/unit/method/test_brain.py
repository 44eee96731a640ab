"""What is known of a brain's place among its voxels."""

import numpy as np

from conddiffusion_uad.method.brain import bounding_box


def test_the_bounding_box_has_the_whole_mask_and_no_more():
    mask = np.zeros((5, 6, 7), bool)
    mask[1, 2, 3] = mask[3, 5, 4] = True
    box = bounding_box(mask)
    assert mask[box].shape == (3, 4, 2) and mask[box].sum() == 2
    assert bounding_box(np.ones((2, 3, 4), bool)) == (slice(0, 2), slice(0, 3), slice(0, 4))
    assert mask[bounding_box(np.zeros_like(mask))].size == 0
