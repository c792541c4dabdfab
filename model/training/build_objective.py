"""The objective of a training by the form of its model, with first weights that depend on data."""

from contracts.errors import BadInput
from model.config import PretrainConfig
from model.data.batches import BatchOrder
from model.data.corpus import TrainingInput
from model.data.ready_vectors import ReadyVectors
from model.forms.memory_model import MemoryModel
from model.layers.user_encoder import UserEncoder
from model.layers.user_model import UserModel
from model.objective.measured_constants import measure_constants
from model.objective.objective import Objective
from model.objective.period_objective import PeriodObjective, trainable_users
from model.training.distributed import Processes
from model.training.initialization import (
    center_user_encoder,
    place_title_vectors,
    place_word_vectors,
)


def build_objective(
    model: UserEncoder,
    given: TrainingInput,
    config: PretrainConfig,
    processes: Processes,
    ready: ReadyVectors,
) -> Objective | PeriodObjective:
    """What `model` learns from `given`; the model gets what it measures before its first step."""
    if isinstance(model, MemoryModel):
        if ready.words or ready.titles:
            raise BadInput("the form memory makes its own vectors of words and titles: give none")
        return _period_objective(model, given, config, processes)
    assert isinstance(model, UserModel)
    if ready.titles:
        place_title_vectors(model, given.corpus, ready.titles)
    if config.first_weights == "centered":
        center_user_encoder(model, given.corpus, ready.words)
    elif ready.words:
        place_word_vectors(model, ready.words)
    order = BatchOrder(
        given.training_pairs, config.batch_size, config.seed, processes.rank, processes.world
    )
    return Objective(model, given.corpus, config, order)


def _period_objective(
    model: MemoryModel, given: TrainingInput, config: PretrainConfig, processes: Processes
) -> PeriodObjective:
    histories = given.corpus.histories
    assert histories is not None, "arrays for the memory form have histories"
    users = trainable_users(histories)
    if len(users) < config.batch_size:
        raise BadInput(
            f"{len(users)} training users have views of more than 28 days before {given.as_of}, "
            f"and batch_size is {config.batch_size}: choose a later day, or a lower --batch-size"
        )
    order = BatchOrder(
        users,
        config.batch_size,
        config.seed,
        processes.rank,
        processes.world,
        whole_steps=True,
    )
    objective = PeriodObjective(model, given.corpus, config, order)
    measure_constants(objective)
    return objective
