import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { configJsonSchema, describeConfig, field, section } from './config.ts';
import { ConfigError } from './errors.ts';

const schema = z.strictObject({
  ...section('Model', {
    model: field(z.string(), { placeholder: 'folder' }).describe('folder of the policy'),
  }),
  ...section('Optimizer', {
    learningRate: field(z.number().positive().default(5e-5)).describe('peak step size of AdamW'),
    batchSize: field(z.int().min(1).default(8), { aliases: ['perDeviceTrainBatchSize'] }).describe(
      'sequences',
    ),
    schedule: field(z.enum(['constant', 'linear']).default('linear')).describe('shape of the rate'),
  }),
  lora: z
    .strictObject({
      rank: field(z.number().int().min(1).max(64).default(8)).describe('columns of A'),
      targets: field(z.array(z.string()).default(['q_proj'])).describe('layers'),
    })
    .optional(),
  packing: field(z.boolean().default(false)).describe('join short rows'),
  maxSteps: field(z.int().min(1).nullable().default(null)).describe('stop early'),
});

describe('describeConfig', () => {
  const fields = describeConfig(schema);
  const byKey = new Map(fields.map((item) => [item.key, item]));

  it('lists every key in order, nested ones by their path', () => {
    expect(fields.map(({ key }) => key)).toEqual([
      'model',
      'learningRate',
      'batchSize',
      'schedule',
      'lora.rank',
      'lora.targets',
      'packing',
      'maxSteps',
    ]);
  });

  it('names flag and variable', () => {
    expect(fields.map(({ flag }) => flag)).toContain('--learning-rate');
    expect(byKey.get('lora.rank')).toMatchObject({ flag: '--lora.rank', env: 'HEED_LORA_RANK' });
  });

  it('tells type, bounds, default, need and heading', () => {
    expect(byKey.get('model')).toMatchObject({
      type: 'text',
      required: true,
      default: undefined,
      placeholder: 'folder',
      group: 'Model',
      description: 'folder of the policy',
    });
    expect(byKey.get('learningRate')).toMatchObject({
      type: 'number > 0',
      required: false,
      default: 5e-5,
      group: 'Optimizer',
    });
    expect(byKey.get('batchSize')).toMatchObject({
      type: 'integer ≥ 1',
      aliases: ['perDeviceTrainBatchSize'],
    });
    expect(byKey.get('lora.rank')).toMatchObject({ type: 'integer ≥ 1 and ≤ 64', group: 'Options' });
    expect(byKey.get('lora.targets')).toMatchObject({
      type: 'list of text',
      isList: true,
      placeholder: 'text,…',
    });
    expect(byKey.get('schedule')?.type).toBe('constant | linear');
    expect(byKey.get('packing')).toMatchObject({ isBoolean: true, type: 'true | false' });
    expect(byKey.get('maxSteps')).toMatchObject({ type: 'integer ≥ 1 | null', default: null });
  });

  it('keeps what field() said through extend, default and describe', () => {
    const wider = schema.extend({
      beta: field(z.number(), { group: 'Loss' }).default(0.1).describe('weight'),
    });
    expect(describeConfig(wider).at(-1)).toMatchObject({
      key: 'beta',
      group: 'Loss',
      default: 0.1,
      description: 'weight',
    });
    expect(describeConfig(wider)[2]?.aliases).toEqual(['perDeviceTrainBatchSize']);
  });

  it('refuses two keys that read the same', () => {
    const twins = z.strictObject({ lora: z.strictObject({ rank: z.number() }), loraRank: z.number() });
    expect(() => describeConfig(twins)).toThrow(ConfigError);
    expect(() => describeConfig(twins)).toThrow(/lora\.rank/);
  });
});

it('configJsonSchema describes the file: only the model is required, unknown keys are refused', () => {
  const json = configJsonSchema(schema);
  expect(json).toMatchObject({
    type: 'object',
    required: ['model'],
    additionalProperties: false,
    properties: {
      learningRate: { exclusiveMinimum: 0, default: 5e-5, description: 'peak step size of AdamW' },
    },
  });
  expect(JSON.stringify(json)).not.toContain('placeholder');
});
