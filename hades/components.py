"""The module of every component and interface of hades, so that one is found without importing the others.

The registry and the public names use these tables; a test compares them with what the modules register.
"""

from collections.abc import Mapping

COMPONENTS: Mapping[str, Mapping[str, str]] = {
    "Algorithm": {
        "Evolution": "hades.algorithms.evolution",
        "GradientDistillation": "hades.algorithms.gradient_distillation",
        "PPO": "hades.algorithms.ppo",
        "TeacherMatching": "hades.algorithms.teacher_matching",
    },
    "Code": dict.fromkeys(("Cosines", "Drawn"), "hades.inner.codes"),
    "Environment": {
        "Brax": "hades.environments.brax",
        "Gymnasium": "hades.environments.gymnasium",
        "Gymnax": "hades.environments.gymnax",
        "Labelled": "hades.environments.labelled",
        "Playground": "hades.environments.playground",
        "Point": "hades.environments.point",
        "Rendered": "hades.environments.rendered",
        "Tasks": "hades.environments.tasks",
    },
    "Experiment": {"Experiment": "hades.runs.experiment"},
    "Fitness": {
        "CloningLoss": "hades.fitness.regularizers",
        "Curriculum": "hades.fitness.curriculum",
        "DatasetL2": "hades.fitness.regularizers",
        "EpisodicReturn": "hades.fitness.episodic_return",
        "ShapedReturn": "hades.fitness.shaped_return",
        "VisitedDistance": "hades.fitness.regularizers",
        "WeightedSum": "hades.fitness.weighted_sum",
        "WindowedReturn": "hades.fitness.windowed_return",
    },
    "InitScheme": dict.fromkeys(("FixedInit", "RandomInit"), "hades.inner.init_scheme"),
    "InnerLearner": {
        "BehaviourCloning": "hades.inner.behaviour_cloning",
        "Identity": "hades.inner.identity",
        "RidgeCloning": "hades.inner.ridge_cloning",
    },
    "Loss": dict.fromkeys(("CrossEntropy", "GaussianNLL", "Huber", "LogitMSE", "MSE"), "hades.inner.losses"),
    "Noise": dict.fromkeys(("LowRankNoise", "SeededNoise", "StoredNoise"), "hades.outer.noise"),
    "Normalizer": {
        "ConstantNormalizer": "hades.normalizers.constant",
        "NoNormalizer": "hades.normalizers.none",
        "RestartingNormalizer": "hades.normalizers.restarting",
        "RunningNormalizer": "hades.normalizers.running",
    },
    "OuterOptimizer": {
        "Evosax": "hades.outer.evosax",
        "OpenES": "hades.outer.open_es",
        "SNES": "hades.outer.snes",
    },
    "Policy": {
        "CNN": "hades.policies.cnn",
        "ImpalaCNN": "hades.policies.impala",
        "MLP": "hades.policies.mlp",
        "NatureCNN": "hades.policies.cnn",
        "NetworkPool": "hades.policies.network_pool",
        "WideMLP": "hades.policies.wide_mlp",
    },
    "Region": {"NearStates": "hades.inner.region"},
    "SessionObject": {"SessionObject": "hades.environments.session_object"},
    "StageRecord": {"StageRecord": "hades.inner.stage_record"},
    "StartPairs": {"StartPairs": "hades.inner.pairs", "TeacherStates": "hades.inner.teacher_states"},
    "Teacher": {"Teacher": "hades.inner.teacher"},
    "TeacherRecord": {"TeacherRecord": "hades.inner.teacher"},
}
"""Module by interface and name. The class has the component's name."""

INTERFACES: Mapping[str, str] = {
    "Algorithm": "hades.algorithms.base",
    "Code": "hades.inner.codes",
    "Environment": "hades.environments.base",
    "Fitness": "hades.fitness.base",
    **dict.fromkeys(("InitScheme", "InnerLearner"), "hades.inner.base"),
    "Loss": "hades.inner.losses",
    "Noise": "hades.outer.noise",
    "Normalizer": "hades.normalizers.base",
    "OuterOptimizer": "hades.outer.base",
    "Policy": "hades.policies.base",
    "Region": "hades.inner.region",
    "Start": "hades.inner.pairs",
}
"""Module of every interface that several components share."""
