"""A task of a campaign: its label space, its specialists and its domains."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.domain import DomainConfig
from umc_ray.config.encoder import READS, EncoderConfig, Input
from umc_ray.config.section import Name, Section
from umc_ray.config.specialist import (
    AUTO_TUNED,
    FINE,
    FINE_TUNED,
    LEARNED_BY_TREES,
    LEARNS_FROM,
    READERS,
    SIDE_BY_SIDE,
    TUNABLE,
    WITH_CLASSES,
    SpecialistConfig,
)
from umc_ray.records import RELEASED, LearnedFrom

if TYPE_CHECKING:
    from umc_ray.tasks.task import TaskKind

READER_LAYERS, READER_EPOCHS = 3, 4
"""Of networks that learn from tokens by default: spans need more than the embedding of a text."""


class TaskConfig(Section):
    """A label space, the models that see its samples, and where they come from."""

    kind: str = Field(
        description="what an answer is: classification, multi_label, regression, extractive_qa, "
        "generation"
    )
    input: Input | None = Field(
        None, description="what a sample is; default: text if a domain names text or columns"
    )
    labels: list[str] = Field(
        [], description="the label set; left out where the kind has its own, or none"
    )
    synonyms: dict[str, str] = Field(
        {},
        description="other names of labels in sources, sheets and imports, such as "
        "{Football: sport}",
    )
    range: tuple[float, float] | None = Field(
        None,
        description="the lowest and the highest answer, such as [0, 5] (regression)",
    )
    max_answer_bytes: int | None = Field(
        None,
        ge=8,
        le=20_000,
        description="the longest answer, in bytes of UTF-8, 500 by default: longer ones are "
        "refused, and what models write is cut there with … at its end (generation)",
    )
    encoder: EncoderConfig | None = Field(None, description="the encoder, if there is only one")
    encoders: dict[Name, EncoderConfig] = Field(
        {}, description="several encoders by name, in place of encoder"
    )
    selection_encoder: str | None = Field(
        None, description="encoder whose embeddings tell which samples differ; default: the first"
    )
    domains: dict[Name, DomainConfig] = Field(
        min_length=1, description="sources of samples by name; the budget is split over them"
    )
    specialists: Literal["auto", "per_domain"] | dict[Name, SpecialistConfig] = Field(
        "auto",
        description="per_domain: for each encoder, a head for each domain, of many the eight with "
        "the most labels, and, of several domains, a generalist; auto: the same, a head over all "
        "encoders side by side if there are several, and, from 100 labels on, fine-tuned networks "
        "where held-out labels show that they pay. Where either makes a head for an encoder of "
        "kind table, it makes trees, too",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if problems := [*self._label_problems(), *self._model_problems()]:
            raise ValueError("\n".join(problems))
        return self

    def _label_problems(self) -> Iterator[str]:
        try:
            kind = self.task_kind()
        except ValueError as error:
            yield str(error)
            return
        for name, domain in self.domains.items():
            if self.payload == "text" and not domain.has_text:
                yield (
                    f"domain {name} of a text task needs text: the column's name, or columns: "
                    "those of a table"
                )
            yield from self._pair_problems(name, domain, kind)
            for class_name in domain.names_by_id.values():
                try:
                    kind.parse(class_name)
                except ValueError as error:
                    yield f"label_names of domain {name}: {error}"
            for column in domain.keep:
                if column in (*RELEASED, *kind.measures_about):
                    yield (
                        f"domain {name} keeps {column!r}, which is a column of every release "
                        "already; rename it in the source, or leave it out of keep"
                    )

    def _pair_problems(self, name: str, domain: DomainConfig, kind: "TaskKind") -> Iterator[str]:
        if bool(self.pair) != bool(domain.pair):
            yield f"text of domain {name} must be two columns in all domains of a task, or in none"
        if self.learned_from == "tokens" and not domain.pair:
            yield f"domain {name} needs text: two columns, such as [question, context]"
        for column in domain.pair:
            if column in {*RELEASED, *kind.measures_about, *domain.keep} - {"text"}:
                yield (
                    f"text of domain {name} names {column!r}, which is another column of every "
                    "release; rename it in the source, or leave it out of keep"
                )

    def _model_problems(self) -> Iterator[str]:
        if (self.encoder is None) == (not self.encoders):
            yield "a task needs encoder or, for several, encoders"
            return
        for name, config in self.named_encoders.items():
            if READS[config.kind] not in (self.payload, "embedding"):
                yield (
                    f"encoder {name} of kind {config.kind} reads {READS[config.kind]}, "
                    f"the samples of this task are {self.payload}"
                )
            if self.pair and config.kind == "table":
                yield f"encoder {name} of kind table reads columns, the samples are pairs of texts"
        yield from self._embedding_problems()
        yield from self._encoder_problems("selection_encoder", self.selection_encoder)
        yield from self._specialist_problems()

    def _specialist_problems(self) -> Iterator[str]:
        if not self.ensemble():
            if self.specialists in ("auto", "per_domain"):
                yield f"a task of kind {self.kind} needs an encoder of kind transformers"
            else:
                yield "specialists are none: name at least one, or leave it out"
        for name, specialist in self.ensemble().items():
            yield from self._learning_problems(name, specialist)
            for encoder in specialist.encoders:
                yield from self._encoder_problems(f"specialist {name}", encoder)
            yield from self._tuning_problems(name, specialist)
            if len(set(specialist.encoders)) < len(specialist.encoders):
                yield f"specialist {name} names an encoder twice: {list(specialist.encoders)}"
            if specialist.domain is not None and specialist.domain not in self.domains:
                known = ", ".join(self.domains)
                yield f"specialist {name} names domain {specialist.domain}, the task has {known}"

    def _learning_problems(self, name: str, specialist: SpecialistConfig) -> Iterator[str]:
        """Say why a specialist cannot learn what this kind of task asks."""
        if specialist.kind == "trees" and self.kind not in LEARNED_BY_TREES:
            yield (
                f"specialist {name} of kind trees cannot learn a task of kind {self.kind}, "
                f"only {' and '.join(LEARNED_BY_TREES)}"
            )
        elif self.learned_from not in LEARNS_FROM[specialist.kind]:
            able = [each for each, known in LEARNS_FROM.items() if self.learned_from in known]
            yield (
                f"specialist {name} of kind {specialist.kind} cannot learn a task of kind "
                f"{self.kind}: name one of kind {', '.join(able)}"
            )
        if specialist.class_weights != "none" and self.kind not in WITH_CLASSES:
            yield (
                f"specialist {name} has class_weights, but a sample of a task of kind "
                f"{self.kind} has no single class; only {' and '.join(WITH_CLASSES)} has"
            )

    def _tuning_problems(self, name: str, specialist: SpecialistConfig) -> Iterator[str]:
        does = "reads" if specialist.kind == "memory" else "trains the network of"
        if len(specialist.encoders) > 1 and specialist.kind in (*FINE_TUNED, "memory"):
            yield (
                f"specialist {name} of kind {specialist.kind} {does} one encoder, "
                f"found {list(specialist.encoders)}"
            )
        if not specialist.fine_tunes:
            return
        tunable = TUNABLE if self.learned_from == "embedding" else READERS
        for encoder in specialist.encoders:
            config = self.named_encoders.get(encoder)
            if config is not None and config.kind not in tunable:
                yield (
                    f"specialist {name} of kind {specialist.kind} cannot train encoder {encoder} "
                    f"of kind {config.kind}; kinds with a network: {', '.join(tunable)}"
                )

    def _embedding_problems(self) -> Iterator[str]:
        given = [name for name, each in self.named_encoders.items() if each.kind == "given"]
        if len(given) > 1:
            yield f"a task can have one encoder of kind given, found {' and '.join(given)}"
        for name, domain in self.domains.items():
            if given and domain.embedding is None:
                yield f"domain {name} needs embedding: the column that encoder {given[0]} reads"
            if domain.embedding is not None and not given:
                yield f"no encoder reads embedding of domain {name}: add one of kind given"

    def _encoder_problems(self, where: str, name: str | None) -> Iterator[str]:
        if name is not None and name not in self.named_encoders:
            known = ", ".join(self.named_encoders)
            yield f"{where} names encoder {name}, the task has {known}"

    @property
    def payload(self) -> Input:
        """The column of the pool that holds a sample."""
        if self.input is not None:
            return self.input
        return "text" if any(domain.has_text for domain in self.domains.values()) else "image"

    @property
    def pair(self) -> tuple[str, ...]:
        """What the two texts of a sample are called, if samples are pairs: as the first domain."""
        return next((domain.pair for domain in self.domains.values() if domain.pair), ())

    @property
    def named_encoders(self) -> dict[str, EncoderConfig]:
        """The encoders by name; a single one is named after its kind."""
        return self.encoders if self.encoder is None else {self.encoder.kind: self.encoder}

    @property
    def dimension(self) -> int | None:
        """How many numbers the embeddings have that the sources come with, if they do."""
        sizes = (each.dimension for each in self.named_encoders.values())
        return next((size for size in sizes if size is not None), None)

    def task_kind(self) -> "TaskKind":
        """Return the task's kind with its label space.

        Raises:
            ConfigError: there is no such kind.
            ValueError: the labels do not fit it.
        """
        options = {"range": self.range, "max_answer_bytes": self.max_answer_bytes}
        named = tuple((name, value) for name, value in options.items() if value is not None)
        return _task_kind(self.kind, tuple(self.labels), tuple(self.synonyms.items()), named)

    @property
    def learned_from(self) -> LearnedFrom:
        """What its models learn from."""
        from umc_ray.tasks.registry import learned_from  # as in _task_kind

        return learned_from(self.kind)

    @property
    def default_encoder(self) -> str:
        """The name of the encoder that selection goes by."""
        return self.selection_encoder or next(iter(self.named_encoders))

    @property
    def default_encoder_config(self) -> EncoderConfig:
        """The encoder that selection goes by."""
        return self.named_encoders[self.default_encoder]

    def ensemble(self) -> dict[str, SpecialistConfig]:
        """Return the specialists by name, each with the encoder that it reads."""
        first = next(iter(self.named_encoders))
        if isinstance(self.specialists, dict):
            return {
                name: each.model_copy(update={"encoder": each.encoder or first})
                for name, each in self.specialists.items()
            }
        if self.learned_from != "embedding":
            memory = {"memory": SpecialistConfig(kind="memory", encoder=first)}
            return self._readers() if self.learned_from == "tokens" else memory | self._writers()
        heads = self._heads_per_domain()
        return heads if self.specialists == "per_domain" else heads | self._more_specialists()

    def _readers(self) -> dict[str, SpecialistConfig]:
        """Return a fine-tuned network for each text encoder that has one."""
        names = [name for name, each in self.named_encoders.items() if each.kind == "transformers"]
        reader = SpecialistConfig(kind="top_layers", layers=READER_LAYERS, epochs=READER_EPOCHS)
        return {f"reader-{name}": reader.model_copy(update={"encoder": name}) for name in names}

    def _writers(self) -> dict[str, SpecialistConfig]:
        """Return a fine-tuned network for each text encoder that has one, if it writes texts."""
        names = [name for name, each in self.named_encoders.items() if each.kind == "transformers"]
        return {f"writer-{name}": SpecialistConfig(kind="full", encoder=name) for name in names}

    def _heads_per_domain(self) -> dict[str, SpecialistConfig]:
        experts: list[tuple[str, str | None]] = [(name, name) for name in self.domains]
        if len(experts) > 1:  # of a single domain, both would learn the same
            experts.append(("generalist", None))
        return {
            "-".join([*prefix, name]): SpecialistConfig(kind=kind, encoder=encoder, domain=domain)
            for encoder in self.named_encoders
            for kind, prefix in self._kinds(encoder)
            for name, domain in experts
        }

    def _kinds(self, encoder: str) -> Iterator[tuple[Literal["linear", "trees"], list[str]]]:
        """Return the kinds of default specialists of an encoder, and how their names begin."""
        prefix = [] if encoder == next(iter(self.named_encoders)) else [encoder]
        yield "linear", prefix
        if self.named_encoders[encoder].kind == "table" and self.kind in LEARNED_BY_TREES:
            yield "trees", [*prefix, "trees"]

    def _more_specialists(self) -> dict[str, SpecialistConfig]:
        """Return those that read all encoders, or train one."""
        names = list(self.named_encoders)
        more = {SIDE_BY_SIDE: SpecialistConfig(encoder=names)} if len(names) > 1 else {}
        tunable = [name for name, each in self.named_encoders.items() if each.kind in AUTO_TUNED]
        return more | {
            f"{FINE}-{name}": SpecialistConfig(kind="top_layers", encoder=name) for name in tunable
        }


@lru_cache(maxsize=64)  # it is asked for often, and a thousand labels take milliseconds to check
def _task_kind(
    name: str,
    labels: tuple[str, ...],
    synonyms: tuple[tuple[str, str], ...],
    options: tuple[tuple[str, object], ...],
) -> "TaskKind":
    # Kinds compute with torch, which takes seconds to import; a command line should not wait.
    from umc_ray.tasks.registry import task_kind
    from umc_ray.tasks.spelling import LabelSet

    return task_kind(name, LabelSet(labels, dict(synonyms)), **dict(options))
