"""Returns at which an environment counts as solved, and the most that one pays."""

SOLVED = {
    "CartPole-v1": (475.0, 500),
    "Acrobot-v1": (-100.0, 500),
    "MountainCar-v0": (-110.0, 200),
    "MountainCarContinuous-v0": (90.0, 999),
}
"""`reward_threshold` of Gymnasium's registry (1.0), with the episode length that it holds for."""

MOST = {"CartPole-v1": (500.0, 500)}
"""The largest return of an episode, with the same."""
