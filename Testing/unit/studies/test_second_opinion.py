"""The second generator of lesions, which judges maps that were trained on the first."""

import numpy as np
from scipy import ndimage
from second_opinion import EDGE, SMALL_ML, implant


def test_the_second_generator_puts_lesions_of_the_wanted_kind():
    image, solid = np.full((30, 60, 60), 0.5, np.float32), np.zeros((30, 60, 60), bool)
    solid[5:25, 10:50, 10:50] = True
    image += 0.05 * np.random.default_rng(0).standard_normal(image.shape)
    for sign in (-1, 1):
        made = implant(image * solid, solid, (2.0, 1.0, 1.0), sign, (SMALL_ML,) * 4, 7)
        inside = made.lesions > 0
        assert not inside[~solid].any() and set(np.unique(made.lesions)) <= set(range(5)) and inside.any()
        assert sign * float((made.image - image)[inside].mean()) > 0
        assert np.array_equal((made.image != image * solid) & ~solid, np.zeros_like(solid))
        again = implant(image * solid, solid, (2.0, 1.0, 1.0), sign, (SMALL_ML,) * 4, 7)
        assert np.array_equal(again.image, made.image)


def test_lesions_of_wanted_volumes_lie_apart():
    solid = np.zeros((40, 100, 100), bool)
    solid[3:37, 5:95, 5:95] = True
    image = 0.5 * solid + 0.05 * np.random.default_rng(0).standard_normal(solid.shape)
    wanted = (3.0, 1.0, 0.3, 0.3, 0.1)
    made = implant(image, solid, (2.0, 1.0, 1.0), 1, [(ml / EDGE**3,) * 2 for ml in wanted], 5, apart_mm=12.0)
    volumes = np.bincount(made.lesions.ravel())[1:] * 0.002
    assert np.all(np.abs(np.log(volumes / wanted)) < np.log(3))  # worms are no capsules, and some of them bend
    distances = []
    for number in range(1, 6):
        away = ndimage.distance_transform_edt(made.lesions != number, (2.0, 1.0, 1.0))
        distances += [away[made.lesions == other].min() for other in range(1, 6) if other != number]
    assert min(distances) > 1.5  # not in touch
    close = implant(image, solid, (2.0, 1.0, 1.0), 1, [(ml / EDGE**3,) * 2 for ml in wanted], 5)
    assert not np.array_equal(close.lesions, made.lesions)
