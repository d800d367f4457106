/**
 * Binary Classifier Optimization: a classifier of desirable against undesirable completions whose logit is the implicit reward,
 * less a running mean of rewards.
 *
 * @paper   Jung et al. 2024, "Binary Classifier Optimization for Large Language Model Alignment" (arXiv 2404.04656), eq. 10
 * @code    huggingface/trl v0.24.0 `trl/trainer/bco_trainer.py` (the last version with one: running mean, metric names)
 * @differs 1. the running mean takes in the whole batch at once, however it is cut into micro-batches; TRL takes in one after the
 *             other
 *          2. weights by the density of prompts (section 4.3) embed with the reference unless a model is named, and sample prompts
 *             without replacement; TRL takes a function and samples with replacement
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { mean } from '../../core/statistics.ts';
import { type DensityFields, densityWeights } from '../../parts/density-weights.ts';
import { sequenceLogProbKind } from '../../parts/forward.ts';
import { bcoLoss } from '../../parts/loss/unpaired.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import type { Coupling } from '../../parts/step/coupling.ts';
import { type UnpairedExample, unpairedStep } from '../../parts/step/unpaired.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields } from '../../parts/trainer/encoding-fields.ts';
import {
  encodeUnpaired,
  type MarkedCompletion,
  unpairedMetrics,
  withReference,
} from '../../parts/unpaired-data.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate (tiny models want about 1e-3)',
  ),
  ...section('BCO', {
    beta: field(z.number().positive().default(0.1)).describe(
      'multiplies the log-ratio to the reference: larger stays closer to it',
    ),
    useUdm: field(z.boolean().default(false)).describe(
      'weigh undesirable completions by how much likelier their prompt is among desirable ones (underlying distribution matching); costs a pass over the prompts',
    ),
    embeddingModel: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'language model or encoder whose mean hidden state embeds the prompts; default: the reference',
    ),
    promptSampleSize: field(z.int().positive().default(1024)).describe(
      'most prompts of each mark that the classifier of prompts is fitted to',
    ),
    minDensityRatio: field(z.number().positive().default(0.5)).describe('least weight'),
    maxDensityRatio: field(z.number().positive().default(10)).describe('greatest weight'),
  }),
});

/** δ/β, the mean log π/π_ref of every completion trained on so far, this batch included, as each was when its batch came. */
export function runningMeanReward(): Coupling<UnpairedExample> {
  let [count, total] = [0, 0];
  return {
    survey: (model) => sequenceLogProbKind(model, ({ example }) => example),
    complete(batch, logProbs, training) {
      const ratios = batch.map(({ reference = 0 }, i) => logProbs[i]![0]! - reference);
      if (training) {
        count += ratios.length;
        total += mean(ratios) * ratios.length;
      }
      const anchor = count === 0 ? 0 : total / count;
      return batch.map((one) => ({ ...one, anchor }));
    },
    running: {
      state: () => ({ 'bco.count': count, 'bco.total': total }),
      load(state) {
        [count, total] = [state['bco.count'] ?? 0, state['bco.total'] ?? 0];
      },
    },
  };
}

export const bco = defineMethod<typeof config, UnpairedExample>({
  id: 'bco',
  kind: 'train',
  summary: 'binary classifier optimization on single completions marked desirable or undesirable',
  data: 'unpaired preference or preference',
  config,
  needs: ['policy', 'reference'],
  metrics: [
    ...trainMetrics,
    ...unpairedMetrics,
    metric('density_ratio', 'mean weight of undesirable completions, with --use-udm'),
    metric('delta', 'δ, the running mean of rewards β·log(π/π_ref), nats'),
  ],
  encode: encodeUnpaired,
  async prepare(examples, context) {
    const completions = examples as readonly MarkedCompletion[];
    const known = await withReference(completions, undefined, context);
    if (!context.config.useUdm) return known;
    const weights = await densityWeights(completions, context);
    return known.map((one, index) => ({ ...one, weight: weights[index]! }));
  },
  build: (settings) => {
    checkDensity(settings);
    const { beta, useUdm } = settings;
    return unpairedStep({
      beta,
      ...(useUdm && { weight: 'density_ratio' }),
      loss: bcoLoss({ beta }),
      anchor: { name: 'delta', scale: beta },
      coupling: runningMeanReward(),
    });
  },
});

function checkDensity({
  useUdm,
  embeddingModel,
  minDensityRatio,
  maxDensityRatio,
}: DensityFields & { readonly useUdm: boolean }): void {
  if (embeddingModel !== undefined && !useUdm) {
    throw new ConfigError({
      where: 'embeddingModel',
      expected: '--use-udm, which alone reads it',
      received: `${embeddingModel} without it`,
      fix: 'Add --use-udm, or leave --embedding-model out',
    });
  }
  if (minDensityRatio <= maxDensityRatio) return;
  throw new ConfigError({
    where: 'minDensityRatio',
    expected: `at most maxDensityRatio (${maxDensityRatio})`,
    received: String(minDensityRatio),
  });
}
