/** What an online run will cost, by term, before it starts. */
import type { OnlineMethod } from '../online-method.ts';
import type { TrainStep } from '../step/train-step.ts';
import { type MemoryPlan, memoryPlan, productFlops } from './memory.ts';
import { fitOnline, longestColumns, onlineMemory } from './online-memory.ts';
import type { OnlineModels } from './online-models.ts';
import { countNumbers } from './plan.ts';
import { updateProgram } from './programs.ts';
import { updateSizes } from './run-online.ts';
import { type OnlineTrainingConfig, openOnlineRun } from './run-online-training.ts';
import type { RunObserver } from './run-training.ts';

export interface OnlinePlan {
  /** All numbers of the policy, and those that are trained, the critic's apart. */
  readonly parameters: number;
  readonly trained: number;
  readonly critic: number;
  readonly prompts: number;
  readonly iterations: number;
  readonly updatesPerIteration: number;
  /** Padded columns of the longest prompt with the longest completion. */
  readonly columns: number;
  /** As configured, or as chosen for `--memory`. */
  readonly microBatchSize: number;
  readonly gradientCheckpointing: boolean;
  readonly memory: MemoryPlan;
  /** Floating-point operations of the products of the updates of one iteration, every completion at its longest. */
  readonly flopsPerIteration: number;
}

/** Loads the inputs of an online run and traces its programs, without computing anything. */
export async function planOnline(
  method: OnlineMethod,
  config: OnlineTrainingConfig,
  observer: RunObserver,
  residentBytes: () => number,
): Promise<OnlinePlan> {
  const { models, prompts, step } = await openOnlineRun(method, config, observer);
  const { policy, critic } = models;
  const { miniBatchSize, stepsPerIteration } = updateSizes(step, config);
  const inputs = { models, prompts, step, config };
  const choice = fitOnline(inputs);
  const { microBatchSize } = choice;
  const terms = onlineMemory(inputs, choice);
  const columns = longestColumns(prompts, config);
  const learners: (readonly [Pick<OnlineModels['policy'], 'model'>, TrainStep<unknown>])[] = [
    [policy, step.policy],
    ...(critic && step.critic ? ([[critic, step.critic]] as const) : []),
  ];
  const flops = learners.reduce(
    (total, [model, of]) =>
      total +
      productFlops(updateProgram(model.model, of, microBatchSize, columns, choice.gradientCheckpointing)),
    0,
  );
  return {
    parameters: countNumbers(policy.model.parameters),
    trained: policy.parameters.count,
    critic: critic?.parameters.count ?? 0,
    prompts: prompts.length,
    iterations: config.iterations,
    updatesPerIteration: stepsPerIteration,
    columns,
    ...choice,
    memory: memoryPlan({ process: Math.max(0, residentBytes() - terms.weights), ...terms }),
    flopsPerIteration: flops * stepsPerIteration * (miniBatchSize / microBatchSize),
  };
}
