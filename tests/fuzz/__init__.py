"""Hostile inputs for everything that hades reads: `python -m tests.fuzz --minutes=10 [--seed=S] [--kinds=a,b]`.

Every input must end within ten seconds in a result that its kind accepts, or in a HadesError whose message is short and
holds no control character. Anything else is a failure: another exception, a hang, a wrong result. A failure is printed
with the command that repeats it.

To add a kind, write a module in this folder and name it in `harness.MODULES`:

    @kind("job-texts")
    def job_texts(rng: random.Random, folder: Path) -> Attempt:
        text = mutated(rng, "steps=3")                       # an input, made from `rng` alone
        return Attempt(repr(text), lambda: parse_job(text), accept=lambda job: "" if job.steps < 10**6 else "too many")

`folder` is an empty folder for the files of this input. `Attempt.call` does what is tried and returns its result.
`Attempt.accept` is the oracle: it returns what is wrong with the result, or "". Work that all inputs share (a valid
file to mutate) belongs into a function with `functools.cache`. Calls take milliseconds: nothing is compiled for each
input.
`mutated` in `harness` flips bits, cuts, repeats and splices text or bytes; `mutated_json` changes JSON values.
"""
