import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import InputError
from medseg.training.dataset.labels import named_labels


@pytest.mark.parametrize(
    "told",
    [
        {"0": "background", "1": "liver", "2": "tumour"},
        {"background": 0, "liver": 1, "tumour": 2},
        {1: "liver", 2: "tumour"},
        {1: {"name": "liver"}, 2: {"name": "tumour"}},
        ["liver", "tumour"],
    ],
)
def test_labels_whichever_way_round(told: object) -> None:
    named = named_labels(told)
    assert [(label.value, label.name, label.layer) for label in named.table] == [
        (1, "liver", 0),
        (2, "tumour", 0),
    ]
    assert named.values == {"liver": (1,), "tumour": (2,)}
    assert named.ignore is None


def test_values_stay_unless_a_label_has_several() -> None:
    assert [label.value for label in named_labels({"a": 5, "b": 3}).table] == [3, 5]
    named = named_labels({"kidney": [1, 2], "cyst": 7, "ignore": 9})
    assert [(label.value, label.name, label.layer) for label in named.table] == [
        (1, "kidney", 0),
        (2, "cyst", 0),
    ]
    assert (named.values, named.ignore) == ({"kidney": (1, 2), "cyst": (7,)}, 9)


def test_labels_that_share_a_value_get_layers() -> None:
    table = named_labels({"organ": [1, 2], "tumour": 2}).table
    assert [(label.value, label.layer) for label in table] == [(1, 0), (2, 1)]
    assert table.layers == 2


def test_any_value_is_one_label() -> None:
    named = named_labels({"nucleus": "any", "ignore": 9})
    assert [(label.value, label.name) for label in named.table] == [(1, "nucleus")]
    assert (named.values, named.ignore) == ({"nucleus": ()}, 9)
    with pytest.raises(InputError, match="'any' only alone"):
        named_labels({"nucleus": "any", "cell": 2})


def test_objects_may_have_a_colour_and_a_code() -> None:
    named = named_labels({1: {"name": "nucleus", "values": "any", "colour": "#102030"}})
    assert [(label.value, label.name, label.colour) for label in named.table] == [(1, "nucleus", "#102030")]
    assert named.values == {"nucleus": ()}


def test_masks_apart_may_all_hold_objects() -> None:
    named = named_labels({"nucleus": "any", "cell": "any"}, apart=True)
    assert [(label.value, label.name, label.layer) for label in named.table] == [
        (1, "nucleus", 0),
        (2, "cell", 0),
    ]
    assert named.values == {"nucleus": (), "cell": ()}
    assert named_labels({"nucleus": "any", "tissue": 1}, apart=True).values == {"nucleus": (), "tissue": (1,)}
    with pytest.raises(InputError, match="'any' only alone, or where each label has a mask of its own"):
        named_labels({"nucleus": "any", "cell": "any"})


def test_layers_on_demand() -> None:
    assert [label.layer for label in named_labels({"a": 4, "b": 6}, layers=True).table] == [0, 1]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1 << 20)
    | st.text(max_size=5)
    | st.sampled_from(["any", "ignore"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
        | st.fixed_dictionaries({"name": inner, "pair": inner})
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(JSON)
def test_whatever_is_told_is_a_table_or_refused(told: object) -> None:
    try:
        named = named_labels(told)
    except InputError as problem:
        assert "\n" not in str(problem)  # noqa: PT017 - it may be a table, too
        return
    assert len(named.table) >= 1
    assert set(named.values) == {label.name for label in named.table}


@pytest.mark.parametrize("told", [None, 3, "a", {}, {"a": True}, {"a": 1.5}, {"a": [1, 2.5]}, {"ignore": 1}])
def test_anything_else_is_refused(told: object) -> None:
    with pytest.raises(InputError, match=r"^labels: "):
        named_labels(told)
