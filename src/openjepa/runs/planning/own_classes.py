"""A method or a network that a program gives as an object, in place of a name."""

import copy
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from openjepa.config import Config, size_text
from openjepa.errors import UsageError, shown
from openjepa.interop.foreign.artifact import StoredForeign
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.masking.samplers import STRATEGIES
from openjepa.methods.base import Inputs, Method
from openjepa.methods.registry import METHODS, VIEWS
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder, check_patch_encoder, has_statistics
from openjepa.models.vit import SIZES
from openjepa.own import OWN, names_own, own_name
from openjepa.runs.planning.build_model import Networks, build_around, method_of
from openjepa.safety.schema import Name, Schema, Text, shortened

OwnName = Annotated[str, Field(pattern=r"^own:\w{1,200}$")]


class StoredMethod(Schema):
    """What config.json states of a method's class, so that its run can be read where the class is not known."""

    name: OwnName
    views: Annotated[int, Field(ge=1, le=1024)]
    needs_masks: bool
    default_masks: Name
    predicts_all_hidden: bool
    unused_settings: dict[Name, Text]
    default_views: Name = "crops"
    takes_small_views: bool = False
    compares_images: bool = False


class StoredModel(Schema):
    """The class of a network, and a hash of the names and shapes of its tensors."""

    name: OwnName
    shapes: Name


class NotGiven(Method):
    """A method that a stored run names, and that this program has not given: it cannot train."""

    @classmethod
    def build(cls, encoder: PatchEncoder, predictor: Predictor | None = None, **settings: Any) -> Method:
        raise UsageError(
            f"the run was trained by the class {cls.__name__} of a program: give it again, as method={cls.__name__}"
        )

    def loss(self, inputs: Inputs) -> Tensor:
        raise NotImplementedError


def use_method(method: Any) -> str:
    """The name of a class of a method in settings, by which it is found from now on. Raises UsageError."""
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UsageError(
            f"--method {shortened(repr(method))} is not possible: give a name ({', '.join(METHODS)}) or a class "
            "derived from openjepa.Method"
        )
    if inspect.isabstract(method):
        missing = ", ".join(sorted(method.__abstractmethods__))
        raise UsageError(f"method {method.__name__} has no {missing}: openjepa.Method says what it must give")
    OWN["method"][own_name(method)] = method
    return own_name(method)


def describe_method(config: Config) -> dict[str, Any]:
    """What config.json states of the method of a config, {} for one that is known by its name."""
    if not names_own(config.method):
        return {}
    method = method_of(config)
    names = StoredMethod.model_fields.keys() - {"name", "unused_settings"}
    facts = {name: getattr(method, name) for name in sorted(names)}
    facts |= {"unused_settings": dict(method.unused_settings)}
    return {"own_method": {"name": config.method, **facts}}


def know_stored(method: StoredMethod | None, model: StoredModel | None) -> None:
    """Accept the names of the classes that a stored run was trained with. ValueError for unknown masks or views."""
    if method:
        if method.default_views not in VIEWS:
            raise ValueError(f"own_method has the views {method.default_views}, which are not known")
        if method.default_masks not in STRATEGIES:
            raise ValueError(f"own_method has the masks {method.default_masks}, which are not known")
        if issubclass(OWN["method"].get(method.name, NotGiven), NotGiven):
            facts = method.model_dump(exclude={"name"})
            OWN["method"][method.name] = type(method.name.partition(":")[2], (NotGiven,), facts)
    if model:
        OWN["model"][model.name] = None


@dataclass(frozen=True)
class OwnModel:
    """A network that keeps the protocol `PatchEncoder`; it stays as it is, runs start from copies of it."""

    network: Any

    @classmethod
    def of(cls, network: Any) -> "OwnModel":
        """Raises UsageError, which names what is missing, unless the network keeps the protocol."""
        if not isinstance(network, nn.Module):
            raise UsageError(
                f"--model {shortened(repr(network))} is not possible: give a name ({', '.join(SIZES)}) or an nn.Module "
                "that keeps the protocol openjepa.PatchEncoder"
            )
        try:
            check_patch_encoder(network)
        except ValueError as error:
            raise UsageError(f"model {type(network).__name__} cannot be trained: {error}") from error
        OWN["model"][own_name(type(network))] = None
        return cls(network)

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that it decides; UsageError where others are `given`."""
        network = self.network
        size = size_text((network.image_size[0], network.image_size[1]))
        fixed = {"image_size": size, "patch_size": network.patch_size, "channels": network.in_chans}
        for name, value in fixed.items():
            asked = given.get(name)
            if asked is not None and str(asked) != str(value):
                raise UsageError(f"the model has {name} {value}, not {shown(asked)}: leave it out")
        if given.get("init") or given.get("teacher"):
            raise UsageError("a model that is an nn.Module has neither init nor teacher: leave one out")
        return {"model": own_name(type(network)), **fixed}

    @property
    def stored(self) -> StoredModel:
        network = self.network
        sizes = (network.embed_dim, network.patch_size, network.in_chans, tuple(network.image_size))
        shapes = [(name, tuple(t.shape), str(t.dtype)) for name, t in network.state_dict().items()]
        return StoredModel(
            name=own_name(type(network)), shapes=hashlib.sha256(repr((sizes, shapes)).encode()).hexdigest()
        )

    def networks(self, config: Config) -> Networks:
        """Networks whose encoder is a copy of it; whatever else the method has is drawn by the seed."""
        about = {"own_model": self.stored.model_dump()}
        if isinstance(self.network, ForeignPatchEncoder):
            about["foreign"] = StoredForeign.of(self.network.source.network).model_dump()
        trained = has_statistics(self.network)
        return Networks(lambda: self._build(config), imported=trained, width=self.network.embed_dim, about=about)

    def _build(self, config: Config) -> Method:
        return build_around(config, copy.deepcopy(self.network))


def check_same_model(model: OwnModel | None, stored: StoredModel | None, foreign: bool = False) -> None:
    """Raise UsageError unless the network that is given to resume a run is like the one that it was started with.

    `foreign`: the run folder states the architecture, so that none needs to be given.
    """
    name = stored.name.partition(":")[2] if stored else ""
    if stored and model is None and not foreign:
        raise UsageError(f"the run was started with a model of the class {name}: give it again, as model=...")
    if stored and model and model.stored != stored:
        given = type(model.network).__name__
        why = "its tensors have other shapes" if given == name else f"the run was started with a {name}"
        raise UsageError(f"the model {given} cannot go on with this run: {why}")
