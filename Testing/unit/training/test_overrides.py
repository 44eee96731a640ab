import pytest

from conddiffusion_uad.training import recipe as recipes
from conddiffusion_uad.training.overrides import override, to_toml


def test_values_are_changed_where_the_keys_lead() -> None:
    values = {"seed": 0, "fit": {"anomalies": {"share": 0.8}}, "source": [{"weight": 1.0}, {"weight": 2.0}]}
    override(values, ["fit.anomalies.share=0", "source.1.weight=0.5", "fit.levels=[1, 1000]", "name=mine"])
    assert values["fit"] == {"anomalies": {"share": 0}, "levels": [1, 1000]}
    assert [source["weight"] for source in values["source"]] == [1.0, 0.5]
    assert values["name"] == "mine"


@pytest.mark.parametrize("wrong", ["fit", "fitt.batch=1", "source.7.weight=1", "seed.batch=1", "source.first.weight=1"])
def test_assignments_that_lead_nowhere_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        override({"seed": 0, "fit": {}, "source": [{"weight": 1.0}]}, [wrong])


@pytest.mark.parametrize("name", ["default", "paper", "starter"])
def test_a_changed_recipe_is_written_as_it_is_read(name: str) -> None:
    changed = recipes.load(name, ["fit.batch=7"])
    assert changed.fit.batch == 7
    again = recipes.parse(recipes.tomllib.loads(changed.text), changed.text)
    assert again == changed
    assert to_toml(recipes.tomllib.loads(changed.text)) == changed.text
