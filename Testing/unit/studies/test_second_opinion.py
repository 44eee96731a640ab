"""The second generator of lesions, which judges maps that were trained on the first."""

import numpy as np
from second_opinion import implant


def test_the_second_generator_puts_lesions_of_the_wanted_kind():
    image, solid = np.full((30, 60, 60), 0.5, np.float32), np.zeros((30, 60, 60), bool)
    solid[5:25, 10:50, 10:50] = True
    image += 0.05 * np.random.default_rng(0).standard_normal(image.shape)
    for sign in (-1, 1):
        made = implant(image * solid, solid, (2.0, 1.0, 1.0), sign, 4, 0, 7)
        inside = made.lesions > 0
        assert not inside[~solid].any() and set(np.unique(made.lesions)) <= set(range(5)) and inside.any()
        assert sign * float((made.image - image)[inside].mean()) > 0
        assert np.array_equal((made.image != image * solid) & ~solid, np.zeros_like(solid))
        again = implant(image * solid, solid, (2.0, 1.0, 1.0), sign, 4, 0, 7)
        assert np.array_equal(again.image, made.image)
