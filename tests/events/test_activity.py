import pytest
from simpy import Environment, Event

from simfl.errors import NetworkError
from simfl.events.activity import Activity, parallel


def test_results_come_in_the_order_given() -> None:
    env = Environment()

    def wait(seconds: float) -> Activity[float]:
        yield env.timeout(seconds)
        return seconds

    def main() -> Activity[tuple[list[float], float]]:
        found = yield from parallel(env, (wait(s) for s in (3.0, 1.0, 2.0)))
        return found, env.now

    assert env.run(env.process(main())) == ([3.0, 1.0, 2.0], 3.0)


def test_nothing_in_parallel_ends_at_once_and_a_failure_is_passed_on() -> None:
    env = Environment()

    def fail() -> Activity[None]:
        yield env.timeout(1)
        raise NetworkError("cut")

    def main(n: int) -> Activity[list[None]]:
        return (yield from parallel(env, [fail() for _ in range(n)]))

    assert env.run(env.process(main(0))) == []
    process: Event = env.process(main(2))
    with pytest.raises(NetworkError, match="cut"):
        env.run(process)
