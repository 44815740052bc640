from sandbox.clock import DAY
from sandbox.tenable.estate import Estate
from sandbox.tenable.evolution import evolve
from sandbox.tenable.vulnerabilities import FIXED, REOPENED, Vulnerability

NOW = 1_700_000_000.0


def after(seconds: float, *, seed: int = 7) -> tuple[Estate, dict[str, Vulnerability], dict[str, Vulnerability]]:
    """The estate so much later, with its vulnerabilities before and after, by key."""
    estate = Estate.of_size("demo", NOW, seed=seed)
    before = {one.key: one for found in estate.vulnerabilities.values() for one in found}
    evolve(estate, NOW, NOW + seconds)
    return estate, before, {one.key: one for found in estate.vulnerabilities.values() for one in found}


def test_about_a_fifth_of_the_hosts_is_scanned_in_a_day_and_the_others_do_not_change() -> None:
    estate, before, now = after(DAY)
    changed = {one.host.asset_id for key, one in now.items() if before.get(key) != one}
    assert 0.12 < len(changed) / len(estate.hosts) < 0.28
    unscanned = estate.hosts.keys() - changed
    assert all(
        estate.vulnerabilities[asset_id] == [before[one.key] for one in estate.vulnerabilities[asset_id]]
        for asset_id in unscanned
    )


def test_what_changed_was_published_within_the_day_after_its_scan() -> None:
    _, before, now = after(DAY)
    for key, one in now.items():
        if before.get(key) != one:
            seen = one.last_fixed if one.state == FIXED else one.last_found
            assert seen is not None
            assert NOW < seen < one.indexed <= NOW + DAY
            assert 5 * 60 - 1 <= one.indexed - seen <= 40 * 60 + 1


def test_a_day_fixes_reopens_and_finds() -> None:
    _, before, now = after(DAY)
    changed = [(before.get(key), one) for key, one in now.items() if before.get(key) != one]
    fixed = sum(one.state == FIXED for old, one in changed)
    assert 0.05 < fixed / len(changed) < 0.15
    assert any(
        old and old.state == FIXED and one.state == REOPENED and one.resurfaced == one.last_found
        for old, one in changed
    )
    assert any(old is None and one.first_found > NOW for old, one in changed)
    assert before.keys() <= now.keys()


def test_instances_come_and_go() -> None:
    estate, _, _ = after(3 * DAY)
    ended = [host for host, state in estate.states.items() if state.terminated_at and state.terminated_at > NOW]
    assert ended
    assert len(estate.hosts) > 400
    assert all(estate.vulnerabilities[asset_id] for asset_id in list(estate.hosts)[400:])


def test_the_vulnerabilities_of_a_terminated_instance_do_not_change_any_more() -> None:
    estate, _, _ = after(3 * DAY)
    ended = [asset_id for asset_id, state in estate.states.items() if state.terminated_at]
    before = {asset_id: list(estate.vulnerabilities[asset_id]) for asset_id in ended}
    evolve(estate, NOW + 3 * DAY, NOW + 20 * DAY)
    assert before == {asset_id: estate.vulnerabilities[asset_id] for asset_id in ended}


def test_the_same_steps_give_the_same_history() -> None:
    assert after(DAY)[0].truth(0) == after(DAY)[0].truth(0)


def test_less_happens_in_less_time() -> None:
    _, before, now = after(3600)
    changed = {one.host.asset_id for key, one in now.items() if before.get(key) != one}
    assert len(changed) < 15


def test_nothing_is_published_after_the_moment_that_was_moved_to() -> None:
    estate, begin, scanned = Estate.of_size("demo", NOW), NOW, set()
    for step in range(1, 49):
        end = NOW + step * 1_800
        evolve(estate, begin, end)
        new = [one for found in estate.vulnerabilities.values() for one in found if one.indexed > begin]
        assert all(one.indexed <= end for one in new)
        assert all(state.updated_at <= end for state in estate.states.values())
        scanned.update(one.host.asset_id for one in new)
        begin = end
    assert len(scanned) > 40
