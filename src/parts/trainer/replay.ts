/** Takes the update of a reproducer again and compares the numbers. */
import { ConfigError, HeedError } from '../../core/errors.ts';
import type { Engine } from '../../engine/engine.ts';
import type { ModelWithParameters } from '../../models/lora-model.ts';
import type { TrainMethod } from '../method.ts';
import type { OnlineMethod } from '../online-method.ts';
import type { TrainStep } from '../step/train-step.ts';
import type { TrainerConfig } from './config.ts';
import { createLearner } from './learner.ts';
import type { UpdateCapture } from './learner-watch.ts';
import { loadOnlineModels } from './online-models.ts';
import type { Reproducer } from './reproducer.ts';
import type { OnlineTrainingConfig } from './run-online-training.ts';
import { createOptimizer, loadTrained } from './run-training.ts';

/** A number, or a digest, as it was and as it is now. */
export interface Comparison {
  readonly name: string;
  readonly recorded: number | string;
  readonly replayed: number | string;
  readonly equal: boolean;
}

/**
 * Takes an update again, on the weights and the optimizer of before it.
 *
 * @returns every number of the update with the recorded one; floats are compared bit for bit
 * @throws CheckpointError, ConfigError when the models of the configuration are not there or have changed in size
 */
export async function replay(
  reproducer: Reproducer,
  method: TrainMethod | OnlineMethod,
  engine: Engine,
): Promise<Comparison[]> {
  const config = reproducer.config as unknown as TrainerConfig & OnlineTrainingConfig;
  const { model, parameters, step } = await learnerOf(reproducer, method, config);
  if (parameters.flat.length !== reproducer.weights.length) {
    throw new ConfigError({
      where: 'replay',
      expected: `the model of the run, with ${reproducer.weights.length} numbers to train`,
      received: `${config.model}, with ${parameters.flat.length}`,
      fix: 'Put the model of the run back, or name it with --model',
    });
  }
  parameters.flat.set(reproducer.weights);
  const optimizer = createOptimizer(config, parameters);
  optimizer.load(reproducer.optimizer);
  let captured: UpdateCapture | undefined;
  const learner = createLearner({
    ...{
      engine,
      model,
      parameters,
      step,
      optimizer,
      settings: reproducer.settings,
      name: reproducer.learner,
    },
    watch: {
      watchdog: alwaysAlarmed(reproducer),
      capture(capture) {
        captured = capture;
        return '';
      },
      note() {},
    },
  });
  try {
    await learner.update(reproducer.batch, reproducer.learningRate, reproducer.where);
  } catch (error) {
    // A gradient that is not finite ends the update here as it did there.
    if (!(error instanceof HeedError) || captured === undefined) throw error;
  } finally {
    learner.dispose();
  }
  return compare(reproducer, captured!);
}

/** The model that learned, with its step. */
async function learnerOf(
  { learner }: Reproducer,
  method: TrainMethod | OnlineMethod,
  config: TrainerConfig & OnlineTrainingConfig,
): Promise<ModelWithParameters & { readonly step: TrainStep<unknown> }> {
  if (method.kind === 'train') {
    const { loaded, buildContext } = await loadTrained(method, config, () => {});
    // The batch carries what its losses took from it, and what was sampled.
    const { coupling: _, sampling: __, ...step } = method.build(config, buildContext);
    return { ...loaded, model: method.trained?.(loaded.model, config) ?? loaded.model, step };
  }
  const models = await loadOnlineModels(
    config,
    learner === 'critic' ? { critic: true } : { critic: false, rewardModels: [] },
  );
  const steps = method.build(config);
  return { ...models[learner]!, step: steps[learner]! as TrainStep<unknown> };
}

const alwaysAlarmed = ({ alarm }: Reproducer) => ({
  ...{ action: 'warn' as const, learningRateScale: 1, rollbacks: 0 },
  ...{ iteration() {}, update: () => alarm, rollBack: () => false, state: () => ({}), load() {} },
});

function compare(recorded: UpdateCapture, replayed: UpdateCapture): Comparison[] {
  const numbers = ({ update, gradientDigest, weightsDigest = 'not applied' }: UpdateCapture) => ({
    loss: update.loss,
    'gradient norm': update.norm,
    weight: update.weight,
    ...Object.fromEntries(Object.entries(update.totals).map(([name, total]) => [`Σ ${name}`, total])),
    'gradient (SHA-256)': gradientDigest,
    'weights after (SHA-256)': weightsDigest,
  });
  const now: Readonly<Record<string, number | string>> = numbers(replayed);
  return Object.entries(numbers(recorded)).map(([name, value]) => ({
    name,
    recorded: value,
    replayed: now[name]!,
    equal: Object.is(value, now[name]),
  }));
}
