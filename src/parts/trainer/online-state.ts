/** The state of an online run: everything that the next iteration depends on, beside the policy's weights. */
import { CheckpointError } from '../../core/errors.ts';
import { type Controls, controlsState, loadControls } from '../controller/controller.ts';
import type { PromptSource } from '../rollout/prompt-source.ts';
import type { OnlineOptions } from './online.ts';
import type { TrainerState } from './trainer.ts';

/** Counters of a run; they advance. */
export interface OnlineCounters {
  iteration: number;
  episodes: number;
  tokens: number;
  /** Optimizer steps of policy and critic. */
  policySteps: number;
  criticSteps: number;
}

type Stateful = Pick<OnlineOptions, 'critic' | 'optimizer' | 'watch' | 'resume'>;

const CRITIC_MOMENT = 'critic.moment.';
const CRITIC_WEIGHTS = 'critic.weights';
const CONTROLLER = 'controller.';
const PROMPTS = 'prompts.';

/** What has a state of its own. */
export interface OnlineParts {
  readonly controls: Controls;
  readonly prompts: PromptSource;
}

/** The state as of now. Vectors are live, apart from those of the prompts. */
export function onlineState(
  { critic, optimizer, watch }: Stateful,
  { controls, prompts }: OnlineParts,
  counters: OnlineCounters,
): TrainerState {
  const criticOptimizer = critic?.optimizer.state();
  const source = prompts.state();
  const { iteration, episodes, policySteps, criticSteps } = counters;
  return {
    step: iteration,
    tokens: counters.tokens,
    optimizer: optimizer.state(),
    extra: {
      numbers: {
        ...{ episodes, policySteps, criticSteps, criticOptimizerSteps: criticOptimizer?.steps ?? 0 },
        ...prefixed(CONTROLLER, controlsState(controls)),
        ...prefixed(PROMPTS, source.numbers),
        ...watch?.watchdog.state(),
      },
      vectors: {
        ...(critic && { [CRITIC_WEIGHTS]: critic.parameters.flat }),
        ...(criticOptimizer && prefixed(CRITIC_MOMENT, criticOptimizer.moments)),
        ...prefixed(
          PROMPTS,
          Object.fromEntries(Object.entries(source.vectors).map(([name, data]) => [name, data.slice()])),
        ),
      },
    },
  };
}

/**
 * Counters to start from; with a state to resume, also loads critic, optimizers, controllers and the place in the prompts from it.
 *
 * @throws CheckpointError when the state is not one of an online run, or belongs to another critic
 */
export function loadOnlineState(
  { critic, optimizer, watch, resume }: Stateful,
  { controls, prompts }: OnlineParts,
): OnlineCounters {
  if (resume === undefined) return { iteration: 0, episodes: 0, tokens: 0, policySteps: 0, criticSteps: 0 };
  const { numbers = {}, vectors = {} } = resume.extra ?? {};
  const weights = vectors[CRITIC_WEIGHTS];
  const { episodes, policySteps, criticSteps, criticOptimizerSteps } = numbers;
  if (
    weights?.length !== critic?.parameters.flat.length ||
    episodes === undefined ||
    policySteps === undefined ||
    criticSteps === undefined ||
    criticOptimizerSteps === undefined
  ) {
    throw new CheckpointError({
      where: 'resume',
      expected: `the state of an online run with ${critic === undefined ? 'no critic' : `a critic of ${critic.parameters.flat.length} numbers`}`,
      received: weights === undefined ? 'a state without critic' : `a critic of ${weights.length}`,
      fix: 'Resume with the models the run was started with',
    });
  }
  optimizer.load(resume.optimizer);
  if (critic !== undefined && weights !== undefined) critic.parameters.flat.set(weights);
  critic?.optimizer.load({ steps: criticOptimizerSteps, moments: stripped(CRITIC_MOMENT, vectors) });
  loadControls(controls, stripped(CONTROLLER, numbers));
  prompts.load({ numbers: stripped(PROMPTS, numbers), vectors: stripped(PROMPTS, vectors) });
  watch?.watchdog.load(numbers);
  return { iteration: resume.step, tokens: resume.tokens, episodes, policySteps, criticSteps };
}

function prefixed<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]));
}

function stripped<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(record)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );
}
