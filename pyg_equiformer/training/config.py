"""Everything that decides a training run, in one frozen dataclass that is written beside the results."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .config_checks import check_settings
from .losses import LossKind
from .whole_files import whole_file

Averages = Literal["data", "preset"]
Reference = Literal["auto", "elements", "mean", "none"]
Scale = Literal["auto", "forces", "spread", "none"]
CheckpointKind = Literal["none", "tensor_product", "block"]
EngineKind = Literal["auto", "torch", "reference", "triton", "aligned", "cuequivariance", "openequivariance"]
Precision = Literal["float32", "tf32", "bf16", "float64"]
DenoisingKind = Literal["none", "noisy_nodes", "dens"]
Selection = Literal["last", "best"]
LoggerKind = Literal["tensorboard", "wandb"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the defaults are the recipe for the bundled sample.

    Args:
        data: what to train on: a path, or the name of a built-in data set; None for structures handed over in Python.
        valid: structures to watch the training with; None takes `valid_fraction` of the training structures.
        test: structures to test with, one source or several; none takes `test_fraction` of the training structures.
        read: how to read files: names and values of `data.ReadOptions`.
        compare: published results that the report compares with, such as "rmd17:aspirin"; None: those of a built-in
            data set, if that is what `data` names.
        data_root: folder of PyG's own data sets, where they are downloaded to.
        train_size: train on this many structures only, drawn by the seed of the split; None takes all that are left.
        valid_fraction: part of the training structures (or, from 1 on, their number) kept apart to watch the training.
        test_fraction: the same for the test, where no test set is given.
        network: name of the network's preset, see `Equiformer.from_preset`.
        model: values that replace those of the preset, by their name in `EquiformerConfig`.
        averages: where `avg_num_nodes` and `avg_degree` come from, unless `model` has them: `"data"` for those
            of the training structures, `"preset"` for those that the preset was published with.
        reference: what is taken off a scalar per structure before it is learnt: `"elements"` (least squares per
            element, float64), `"mean"` or `"none"`; `"auto"`: elements for energies, the mean for other properties.
        scale: unit of the network's output and of the losses: `"forces"` (root mean square of the force components),
            `"spread"` (standard deviation of the labels without the reference), `"none"` (eV, or the label's own
            unit); `"auto"`: forces where there are any, else the spread.
        weight: weight of each target in the loss, by name. Default 1, for forces 100, for the stress 1000, as
            stresses in eV/Å³ are small numbers beside forces.
        loss: error of each target, by name: `"l1"`, `"mse"` or `"norm"`, see `losses.target_error`. Default: `"l1"`
            for scalars, `"norm"` for vectors and the stress.
        energy_per_atom: whether the loss divides energy errors by the number of atoms, for sets of mixed sizes.
        seed: seed of the initial weights, the split, the order of the data, dropout and noise.
        split_seed: seed of the split where it is not `seed`, as in committees, which share their sets.
        epochs: passes over the training structures; None leaves the end to `max_time`.
        max_time: longest time of the training loop in seconds, or None for no limit; the learning rate falls
            to its end within it. Runs that follow the clock are not repeatable to the last digit.
        batch_size: structures per step and device.
        max_edges: most edges per batch; a batch has fewer than `batch_size` structures where it is reached.
        accumulate: batches per optimizer step.
        learning_rate: the highest learning rate, reached after the warm-up.
        warmup: part of the run in which the learning rate rises from 0.
        final_rate: the fraction of `learning_rate` that the cosine ends with.
        beta2: decay of AdamW's average of squared gradients.
        weight_decay: of AdamW; not applied to biases, norms and other one-dimensional parameters.
        gradient_clip: largest norm of the gradient of all parameters; None for no limit.
        ema_decay: decay per step of the averaged weights, which are those tested and saved; 0: no averaging.
        select: which weights are kept, the `"last"` ones or the `"best"` on the validation set.
        denoising: `"noisy_nodes"` (arXiv 2106.07971) or `"dens"` (arXiv 2403.09549), see `denoising.corrupt`.
        noise_std: standard deviation of the noise in Å.
        noise_probability: probability that a structure is corrupted.
        noise_fraction: part of the atoms of such a structure that are moved.
        noise_weight: weight of the denoising loss.
        precision: `"float32"`, `"tf32"` (float32 with faster products), `"bf16"` (products in bfloat16) or `"float64"`.
        checkpoint: what is computed again instead of stored, to save memory: `"none"`, `"tensor_product"` or `"block"`,
            see `Equiformer`.
        engine: who computes the tensor products, see `Equiformer`.
        compile: run the network through `torch.compile`, see `Equiformer`; the first steps take minutes.
        devices: devices per node, or "auto".
        nodes: number of nodes.
        threads: CPU threads of PyTorch, or None for its own choice. For batches as small as the sample's, two
            threads gain a tenth on a quiet machine and lose a factor on a busy one.
        workers: processes that read and collate batches; 0: the main process.
        validations: how often the validation set is evaluated during the run.
        checkpoint_every: steps between two saves of the state of the run; None: a save every minute.
        loggers: where else the course of the run is written, beside the run folder's `metrics.csv`: `"tensorboard"`,
            `"wandb"`.

    Raises:
        ValueError: if a value is outside its range.

    Example:
        >>> config = TrainConfig(seed=1, epochs=3)
        >>> TrainConfig.from_dict(config.to_dict()) == config
        True
    """

    data: str | None = None
    valid: str | None = None
    test: tuple[str, ...] = ()
    read: Mapping[str, Any] = field(default_factory=dict)
    compare: str | None = None
    data_root: str = "data"
    train_size: int | None = None
    valid_fraction: float = 0.05
    test_fraction: float = 0.2
    network: str = "small"
    model: Mapping[str, Any] = field(default_factory=dict)
    averages: Averages = "data"
    reference: Reference = "auto"
    scale: Scale = "auto"
    weight: Mapping[str, float] = field(default_factory=dict)
    loss: Mapping[str, LossKind] = field(default_factory=dict)
    energy_per_atom: bool = False
    seed: int = 0
    split_seed: int | None = None
    epochs: int | None = 16
    max_time: float | None = None
    batch_size: int = 5
    max_edges: int | None = None
    accumulate: int = 1
    learning_rate: float = 2e-3
    warmup: float = 0.02
    final_rate: float = 0.01
    beta2: float = 0.98
    weight_decay: float = 1e-6
    gradient_clip: float | None = 10.0
    ema_decay: float = 0.995
    select: Selection = "last"
    denoising: DenoisingKind = "none"
    noise_std: float = 0.1
    noise_probability: float = 0.25
    noise_fraction: float = 1.0
    noise_weight: float = 5.0
    precision: Precision = "float32"
    checkpoint: CheckpointKind = "none"
    engine: EngineKind = "auto"
    compile: bool = False
    devices: int | Literal["auto"] = 1
    nodes: int = 1
    threads: int | None = 1
    workers: int = 0
    validations: int = 12
    checkpoint_every: int | None = None
    loggers: tuple[LoggerKind, ...] = ()

    def __post_init__(self) -> None:
        for name in ("read", "model", "weight", "loss"):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                # Lists, as they come back from YAML.
                object.__setattr__(self, name, {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()})
        for name in ("test", "loggers"):
            value = (v,) if isinstance(v := getattr(self, name), str) else v or ()
            object.__setattr__(self, name, tuple(value) if isinstance(value, (list, tuple)) else value)
        check_settings(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain numbers, strings, lists and dicts, ready for YAML."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            k: list(v) if isinstance(v, tuple) else dict(v) if isinstance(v, Mapping) else v for k, v in values.items()
        }

    def replace(self, **changes: Any) -> "TrainConfig":
        """Return a copy with some settings changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Build a configuration from `to_dict`'s output or a part of it.

        Raises:
            ValueError: if a name is not a setting.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"expected one of {names}"
                raise ValueError(f"unknown training setting {name!r}; {hint}")
        return cls(**values)

    def write(self, path: str | Path) -> None:
        """Write the settings as YAML."""
        import yaml  # comes with Lightning

        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "TrainConfig":
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not YAML, or a name or value is wrong.
        """
        return cls.from_dict(read_yaml(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not hold names and values.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML with names and values of settings, reading failed: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected names and values of settings, got {type(values).__name__}")
    return values


#: The choices of the settings that have some.
CHOICES: dict[str, tuple[Any, ...]] = {
    "averages": get_args(Averages),
    "reference": get_args(Reference),
    "scale": get_args(Scale),
    "precision": get_args(Precision),
    "checkpoint": get_args(CheckpointKind),
    "engine": get_args(EngineKind),
    "denoising": get_args(DenoisingKind),
    "select": get_args(Selection),
}
