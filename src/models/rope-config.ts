/** Rotary settings of config.json, in the older form (`rope_theta`, `rope_scaling`) and the newer (`rope_parameters`). */
import { z } from 'zod';
import { ConfigError } from '../core/errors.ts';
import type { RopeConfig, RopeScaling } from '../nn/rope.ts';

const ropeKeys = z.looseObject({
  rope_type: z.string().optional(),
  /** Name of `rope_type` before transformers 4.43. */
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  low_freq_factor: z.number().positive().optional(),
  high_freq_factor: z.number().positive().optional(),
  original_max_position_embeddings: z.int().positive().nullish(),
  attention_factor: z.number().positive().nullish(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  truncate: z.boolean().optional(),
});

const ropeSource = z.looseObject({
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeKeys.nullish(),
  rope_parameters: ropeKeys.nullish(),
});

const kinds = ['default', 'linear', 'dynamic', 'llama3', 'yarn'] as const;
type RopeKind = RopeScaling['kind'];

/**
 * Reads the rotary settings for heads of which `headSize` elements are rotated.
 *
 * @param supported kinds that the architecture has
 * @throws ConfigError on a kind not among `supported`, or a missing factor
 */
export function readRope(
  config: object,
  headSize: number,
  maxPositions: number,
  supported: readonly RopeKind[] = kinds,
): RopeConfig {
  const parsed = ropeSource.safeParse(config);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new ConfigError({
      where: `config.json ${issue.path.join('.')}`,
      expected: issue.message,
      received: 'another value',
    });
  }
  const { rope_theta: theta, rope_scaling: scaling, rope_parameters: newer } = parsed.data;
  const keys = newer ?? scaling ?? {};
  return {
    theta: newer?.rope_theta ?? theta ?? 10000,
    headSize,
    maxPositions,
    scaling: readScaling(keys, maxPositions, supported),
  };
}

/**
 * Elements of a head that are rotated, where the config has a share of them.
 *
 * @param share in the older form of the config; the newer one has `rope_parameters.partial_rotary_factor`
 */
export function rotatedElements(
  config: Readonly<Record<string, unknown>>,
  headSize: number,
  share: number,
): number {
  const newer = z.looseObject({ partial_rotary_factor: z.number().positive().max(1).optional() });
  const parsed = newer.nullish().safeParse(config['rope_parameters']);
  if (!parsed.success) {
    throw new ConfigError({
      where: 'config.json rope_parameters.partial_rotary_factor',
      expected: 'a number above 0 and up to 1',
      received: JSON.stringify(config['rope_parameters']),
      fix: 'Take config.json from the original checkpoint',
    });
  }
  return Math.trunc(headSize * (parsed.data?.partial_rotary_factor ?? share));
}

function readScaling(
  keys: z.infer<typeof ropeKeys>,
  maxPositions: number,
  supported: readonly RopeKind[],
): RopeScaling {
  const given = keys.rope_type ?? keys.type ?? 'default';
  const kind = supported.find((known) => known === given);
  if (kind === undefined) {
    throw new ConfigError({
      where: 'config.json rope_scaling.rope_type',
      expected: supported.join(', '),
      received: `"${given}"`,
      fix: 'This rotary variant is not implemented for the architecture',
    });
  }
  const required = (name: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const number = keys[name];
    if (number === undefined) {
      throw new ConfigError({
        where: `config.json rope_scaling.${name}`,
        expected: `a number for rope type "${kind}"`,
        received: 'nothing',
        fix: 'Take config.json from the original checkpoint',
      });
    }
    return number;
  };
  const originalMaxPositions = keys.original_max_position_embeddings ?? maxPositions;
  switch (kind) {
    case 'default':
      return { kind };
    case 'linear':
    case 'dynamic':
      return { kind, factor: required('factor') };
    case 'llama3':
      return {
        kind,
        factor: required('factor'),
        lowFrequencyFactor: required('low_freq_factor'),
        highFrequencyFactor: required('high_freq_factor'),
        originalMaxPositions,
      };
    case 'yarn':
      return {
        kind,
        factor: required('factor'),
        betaFast: keys.beta_fast ?? 32,
        betaSlow: keys.beta_slow ?? 1,
        originalMaxPositions,
        truncate: keys.truncate ?? true,
        ...(keys.attention_factor == null ? {} : { attentionFactor: keys.attention_factor }),
      };
  }
}
