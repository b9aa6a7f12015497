"""A saved state that is damaged, or does not fit weir.toml: the start says what is wrong and how to mend it, and exits by 4."""

import random

from lab.site import one_tenant

PAGE = 4096


def refused(weir, *words):
    """Asserts that the check, which reads the state as a start does, is refused with these words."""
    done = weir.check()
    said = done.stdout + done.stderr
    assert done.returncode == 4, f"exit {done.returncode}: {said}"
    for word in ("mend:", *words):
        assert word in said, said


def test_a_damaged_state_is_never_taken_for_another(lab):
    site = one_tenant(lab)
    weir = site.weir()
    with weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        state = weir.ctl("export").stdout
    file = weir.state / "state.redb"
    whole = file.read_bytes()
    noise = random.Random(1)
    damaged = 0
    for page in range(len(whole) // PAGE):
        file.write_bytes(whole[: page * PAGE] + noise.randbytes(PAGE) + whole[(page + 1) * PAGE :])
        done = weir.check()
        # A page that holds nothing may hold anything.
        if done.returncode != 0:
            damaged += 1
            said = done.stdout + done.stderr
            assert done.returncode == 4 and str(file) in said and "mend:" in said, f"exit {done.returncode}: {said}"
    assert damaged > 0
    for length in (0, 1, PAGE, len(whole) // 2):
        file.write_bytes(whole[:length])
        refused(weir, str(file))
    file.write_bytes(whole)
    with weir:
        assert weir.ctl("export").stdout == state
        site.host.reaches("10.0.0.2")


def test_a_state_that_does_not_fit_the_file_is_said_to(lab):
    site = one_tenant(lab)
    weir = site.weir()
    with weir:
        weir.apply(site.state)
    name = site.ports[0]["name"]
    site.ports[0]["name"] = "other0"
    refused(site.weir(), name)
