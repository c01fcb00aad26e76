import threading
import time

import pytest

from soups.data.ahead import drawn_ahead


class Source:
    """Numbers from 0, which notes what was drawn and by which threads."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.drawn, self.threads = [], set()

    def __iter__(self):
        for number in range(self.count):
            self.drawn.append(number)
            self.threads.add(threading.current_thread())
            yield number
        if self.error:
            raise self.error


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_items_come_in_order_from_one_other_thread(count, depth):
    source = Source(count)
    assert list(drawn_ahead(source, depth)) == list(range(count))
    assert threading.main_thread() not in source.threads
    assert len(source.threads) == min(count, 1)
    assert not any(thread.is_alive() for thread in source.threads)


def test_a_given_number_of_items_is_drawn_ahead():
    source = Source(100)
    ready = drawn_ahead(source, 3)
    assert source.drawn == []  # nothing is drawn before the first use
    assert next(ready) == 0
    deadline = time.monotonic() + 30
    while len(source.drawn) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert source.drawn == [0, 1, 2, 3]
    ready.close()
    assert len(source.drawn) <= 4
    assert not any(thread.is_alive() for thread in source.threads)


def test_an_error_comes_in_its_place_and_ends_the_thread():
    source, seen = Source(3, ValueError("broken")), []
    with pytest.raises(ValueError, match="broken"):
        seen.extend(drawn_ahead(source))
    assert seen == [0, 1, 2]
    assert not any(thread.is_alive() for thread in source.threads)


def test_an_error_in_the_loop_ends_the_thread():
    source = Source(100)

    def use() -> None:
        for item in drawn_ahead(source):
            if item == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as error:
        use()
    del error  # its traceback holds the generator
    assert len(source.drawn) <= 9
