/**
 * Generalised knowledge distillation: a student learns from a teacher's whole distribution at every token, on completions that the
 * student samples itself, the teacher samples, or the data have.
 *
 * @paper   Agarwal et al. 2024, "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes"
 *          (arXiv 2306.13649), eq. 1 and algorithm 1
 * @code    huggingface/trl v1.16.0 `trl/experimental/gkd` (divergence and its ends, defaults)
 * @differs 1. without the reward of section 3.3
 *          2. who samples is drawn per optimizer step; TRL draws per micro-batch
 *          3. the mean is over the tokens that are learned; TRL divides what it sampled by the number of tokens of the data's batch
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError, DataError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { createRng } from '../../core/rng.ts';
import {
  createEncoder,
  detectRowType,
  type EncodedExample,
  encodeCache,
  encodeRows,
  type Row,
} from '../../data/index.ts';
import { generalizedJsd } from '../../parts/loss/distillation.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { lastPromptLength, onPolicySampling } from '../../parts/step/batch-sampling.ts';
import { type DistillExample, distillStep } from '../../parts/step/distill.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields, encodingOptions } from '../../parts/trainer/encoding-fields.ts';
import { teacherFields } from '../../parts/trainer/teacher-fields.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  ...teacherFields,
  ...section('Distillation', {
    beta: field(z.number().min(0).max(1).default(0.5)).describe(
      'of the divergence: 0 forward KL (the student covers the teacher), 1 reverse KL (it keeps to what the teacher does), between them Jensen–Shannon',
    ),
    lambda: field(z.number().min(0).max(1).default(0.5), { aliases: ['lmbda'] }).describe(
      'share of batches that the student samples itself; sampling costs time',
    ),
    seqKd: field(z.boolean().default(false)).describe(
      'the teacher samples the other batches; else they are the completions of the data',
    ),
    maxNewTokens: field(z.int().positive().default(128)).describe(
      'longest completion that is sampled, in tokens',
    ),
    temperature: field(z.number().positive().default(0.9)).describe('of sampling; TRL’s default'),
    divergenceTemperature: field(z.number().positive().default(1)).describe(
      'divides the logits of both before the divergence: above 1 the unlikely tokens count for more',
    ),
  }),
});

export const gkd = defineMethod<typeof config, DistillExample>({
  id: 'gkd',
  kind: 'train',
  summary:
    'on-policy distillation: learn a teacher’s whole distribution, on completions of the student’s own',
  data: 'language modeling, prompt-completion or prompt-only',
  config,
  needs: ['policy', 'teacher'],
  metrics: [
    ...trainMetrics,
    metric('entropy', 'mean entropy of the student’s predictions at learned tokens', { unit: 'nats' }),
    metric('teacher/forward_kl', 'mean KL(teacher‖student) per learned token', {
      unit: 'nats',
      healthy: 'falls',
    }),
    metric('teacher/reverse_kl', 'mean KL(student‖teacher) per learned token', {
      unit: 'nats',
      healthy: 'falls',
    }),
    metric('teacher/agreement', 'share of learned tokens where both find the same token likeliest', {
      healthy: 'rises',
    }),
    metric('sampling/student_share', 'share of sequences that the student sampled', {
      healthy: 'near lambda',
    }),
    metric('sampling/teacher_share', 'share of sequences that the teacher sampled'),
    metric('completions/mean_length', 'mean learned tokens of a sequence', { unit: 'tokens' }),
  ],
  encode(rows, { config, tokenizer, model, teacher, encodeFolder }) {
    const { maxLength, truncation, refused, maxNewTokens, lambda, seqKd } = config;
    const options = { maxLength, truncation, ...encodingOptions(config) };
    const cache = encodeCache(encodeFolder, tokenizer, { supervised: options });
    const encoder = createEncoder(tokenizer, options);
    const encode = (row: Row): EncodedExample => {
      if (detectRowType(row) !== 'prompt-only') return encoder.supervised(row);
      if (lambda < 1 && !seqKd) throw noCompletion(row);
      const { ids, ...prompt } = encoder.prompt(row);
      return {
        ...prompt,
        ids,
        mask: new Uint8Array(ids.length),
        promptLength: ids.length,
        boundary: 'exact',
      };
    };
    const encoded = encodeRows(rows, encode, { refused, cache });
    const longest = encoded.examples.reduce((most, example) => Math.max(most, lastPromptLength(example)), 0);
    const context = Math.min(model.maxPositions, teacher?.maxPositions ?? Number.POSITIVE_INFINITY);
    if ((lambda > 0 || seqKd) && longest + maxNewTokens > context) {
      throw new ConfigError({
        where: '--max-new-tokens',
        expected: `at most ${context - longest}: the context of ${context} that student and teacher share less the longest prompt`,
        received: String(maxNewTokens),
        fix: 'Lower it, or maxLength with truncation keep-end',
      });
    }
    return encoded;
  },
  build(config, context) {
    const { beta, lambda, seqKd, maxNewTokens, temperature, divergenceTemperature, seed } = config;
    const { teacher, stopIds } = context ?? {};
    if (teacher === undefined || stopIds === undefined) {
      throw new ConfigError({ where: 'gkd.build', expected: 'a teacher and stop tokens', received: 'none' });
    }
    return distillStep({
      teacher,
      temperature: divergenceTemperature,
      loss: (student, taught) => generalizedJsd(student, taught, beta),
      sampling: onPolicySampling({
        ...{ studentShare: lambda, teacherSamples: seqKd, teacher, maxNewTokens, temperature, stopIds },
        rng: createRng(seed).split('on-policy'),
      }),
    });
  },
});

const noCompletion = ({ where }: Row): DataError =>
  new DataError({
    where,
    expected: 'a completion: with lambda below 1, batches that nobody samples are learned from the data',
    received: 'a prompt alone',
    fix: 'Set --lambda 1, or --seq-kd, by which the teacher completes prompts',
  });
