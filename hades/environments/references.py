"""Returns beside which a reported one is read: of random actions, of released runs and of other methods here.

Each is of whole episodes, of LENGTH steps at most, in the environment as it comes.

RANDOM: the mean of 64 episodes of uniformly random actions (`studies.retention.random_return`; gymnax 1.0.1, and
brax 0.14.2 with the positional backend).
RELEASED: "Behaviour Distillation" (Lupu et al., 2024), released training curves: the mean return of the population in
the last generation, over seeds; 64 pairs (Brax) or 16 (MinAtar) and networks 512 wide. Left out are tasks that have
changed since (SpaceInvaders, the inverted double pendulum) and Freeway, whose published zeros are no returns of whole
episodes.
HERE: docs/baselines.md, docs/results.md and docs/gradient.md.
"""

LENGTH = {
    "CartPole-v1": 500,
    "Acrobot-v1": 500,
    "MountainCar-v0": 200,
    "MountainCarContinuous-v0": 999,
    "Pendulum-v1": 200,
    "Asterix-MinAtar": 1000,
    "Breakout-MinAtar": 1000,
    "Freeway-MinAtar": 2500,
    "SpaceInvaders-MinAtar": 1000,
    "hopper": 1000,
    "ant": 1000,
    "halfcheetah": 1000,
    "humanoid": 1000,
    "humanoidstandup": 1000,
    "inverted_double_pendulum": 1000,
    "reacher": 1000,
    "walker2d": 1000,
}
RANDOM = {
    "CartPole-v1": 22.2,
    "Acrobot-v1": -497.4,
    "MountainCar-v0": -200.0,
    "MountainCarContinuous-v0": -33.3,
    "Pendulum-v1": -1216.0,
    "Asterix-MinAtar": 0.77,
    "Breakout-MinAtar": 0.44,
    "Freeway-MinAtar": 0.44,
    "SpaceInvaders-MinAtar": 4.3,
    "hopper": 101.2,
    "inverted_double_pendulum": 502.0,
    "reacher": -831.0,
    "walker2d": 277.3,
    "halfcheetah": -107.9,
    "ant": -169.2,
    "humanoid": 411.7,
    "humanoidstandup": 6743.6,
}
RELEASED = {
    "Asterix-MinAtar": {"HaDES-R": 4.66, "HaDES-F": 7.75},
    "Breakout-MinAtar": {"HaDES-R": 10.66, "HaDES-F": 15.18},
    "ant": {"HaDES-R": 249.6, "HaDES-F": 1129.5},
    "halfcheetah": {"HaDES-R": 3346.8, "HaDES-F": 3625.8},
    "hopper": {"HaDES-R": 1771.3, "HaDES-F": 1835.4},
    "humanoid": {"HaDES-R": 1737.3, "HaDES-F": 4610.2},
    "humanoidstandup": {"HaDES-R": 218_655.0, "HaDES-F": 249_962.0},
    "reacher": {"HaDES-R": -168.5, "HaDES-F": -168.2},
    "walker2d": {"HaDES-R": 2397.1, "HaDES-F": 2725.8},
}
HERE = {
    "CartPole-v1": {"PPO, 0.5 M steps": 500.0, "direct ES, 2.1 M steps": 500.0},
    "Acrobot-v1": {"PPO, 0.5 M steps": -82.3, "direct ES, 0.8 M steps": -83.6},
    "MountainCar-v0": {"PPO, 1 M steps": -109.8, "direct ES, 3.6 M steps": -105.2},
    "Pendulum-v1": {"PPO, 0.1 M steps": -182.8, "direct ES, 15.4 M steps": -155.6},
    "Breakout-MinAtar": {"PPO, 10 M steps": 63.2},
    "Freeway-MinAtar": {"PPO, 10 M steps": 60.5, "direct ES, 10 M steps": 27.7},
    "hopper": {"PPO, 2.3 M steps": 823.2, "direct ES, 1.1 M steps": 1712.1},
}


def references(environment: str, max_episode_steps: int) -> dict[str, float]:
    """Returns by what earned them; empty for an environment that is not known, or with episodes of another length."""
    if LENGTH.get(environment) != max_episode_steps:
        return {}
    random = {"uniformly random actions": RANDOM[environment]} if environment in RANDOM else {}
    released = {f"{method} as released, population mean": x for method, x in RELEASED.get(environment, {}).items()}
    return random | HERE.get(environment, {}) | released
