from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.address_space import AddressSpace, Mapped, MappedFile

FILES = [MappedFile("/a", 1), MappedFile("/b", 2), MappedFile("//anon")]
MAPPINGS = st.builds(
    lambda start, length, offset, file: Mapped(start, start + length, offset, file),
    st.integers(0, 30),
    st.integers(1, 12),
    st.integers(0, 8),
    st.sampled_from(FILES),
)


def meaning(mapped: Mapped | None, address: int) -> tuple[str, int] | None:
    if mapped is None:
        return None
    return mapped.file.path, address - mapped.start + mapped.offset if mapped.file.is_file else 0


@given(st.lists(MAPPINGS, max_size=20))
def test_an_address_means_what_was_mapped_there_last(mappings: list[Mapped]) -> None:
    space = AddressSpace(1)
    expected: dict[int, Mapped] = {}
    for mapped in mappings:
        covered = range(mapped.start, mapped.limit)
        has_changed = any(
            meaning(expected[each], each) != meaning(mapped, each) for each in covered if each in expected
        )
        assert space.add(mapped) == has_changed
        expected.update(dict.fromkeys(covered, mapped))
    for address in range(50):
        assert meaning(space.find(address), address) == meaning(expected.get(address), address)
    assert all(a.limit <= b.start for a, b in zip(space.mapped, space.mapped[1:], strict=False))
    assert AddressSpace(2, space.mapped).mapped == space.mapped


def test_one_file_told_in_two_ways_is_one_file() -> None:
    space = AddressSpace(1, [Mapped(0, 10, 0, MappedFile("/a", inode=7))])
    assert not space.add(Mapped(0, 10, 0, MappedFile("/a", build_id="ab")))
    assert space.add(Mapped(0, 10, 0, MappedFile("/a", build_id="cd")))
    assert not space.add(Mapped(0, 10, 0, MappedFile("/a", inode=8)))
    assert space.add(Mapped(0, 10, 0, MappedFile("/a", inode=9)))


def test_a_copy_is_independent() -> None:
    space = AddressSpace(1, [Mapped(0, 10, 0, FILES[0])])
    copy = space.copy(2)
    copy.add(Mapped(0, 10, 0, FILES[1]))
    assert space.mapped[0].file == FILES[0]
    assert (space.key, copy.key) == (1, 2)
