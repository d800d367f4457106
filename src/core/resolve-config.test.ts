import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { field } from './config.ts';
import { ConfigError } from './errors.ts';
import { formatConfig, withoutSecrets } from './format-config.ts';
import { type ConfigSources, type FlagValue, resolveConfig } from './resolve-config.ts';

const schema = z.strictObject({
  model: field(z.string().min(1)).describe('folder of the policy'),
  learningRate: field(z.number().positive().default(5e-5)).describe('peak step size'),
  epochs: field(z.number().default(1), { aliases: ['numTrainEpochs'] }).describe('passes over the data'),
  schedule: field(z.enum(['constant', 'linear', 'cosine']).default('linear')).describe('shape of the rate'),
  stop: field(z.array(z.string()).default([])).describe('stop texts'),
  packing: field(z.boolean().default(false)).describe('join short rows'),
  maxSteps: field(z.int().min(1).optional()).describe('optimizer updates'),
  weights: field(z.record(z.string(), z.number()).default({})).describe('weight of each scorer'),
  target: field(z.union([z.number(), z.literal('auto')]).default('auto')).describe('target KL'),
  lora: z
    .strictObject({
      rank: field(z.int().min(1).default(8)).describe('columns of A'),
      alpha: field(z.number().default(16)).describe('scale'),
    })
    .nullable()
    .default(null),
});

const flags = (...pairs: [string, string | boolean][]): FlagValue[] =>
  pairs.map(([name, value]) => ({ name, value }));
const file = (text: string, path = 'run.yaml') => ({ path, text });

function failure(sources: ConfigSources): ConfigError {
  try {
    resolveConfig(schema, sources);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('resolveConfig accepted what it should refuse');
}

describe('precedence', () => {
  const sources = {
    files: [
      file('model: a\nlearningRate: 1\nepochs: 1\nmaxSteps: 1'),
      file('learningRate: 2\nepochs: 2\nmaxSteps: 2', 'b.yaml'),
    ],
    env: { HEED_EPOCHS: '3', HEED_MAX_STEPS: '3', OTHER: 'x' },
    flags: flags(['max-steps', '3'], ['max-steps', '4']),
  };

  it('is defaults < files in order < environment < flags in order', () => {
    const { value } = resolveConfig(schema, sources);
    expect(value).toMatchObject({ schedule: 'linear', model: 'a', learningRate: 2, epochs: 3, maxSteps: 4 });
  });

  it('remembers the source of each key', () => {
    const { sources: found } = resolveConfig(schema, sources);
    expect([...found].map(([key, { text }]) => `${key} ${text}`)).toEqual([
      'model run.yaml:1:1',
      'learningRate b.yaml:1:1',
      'epochs HEED_EPOCHS',
      'schedule default',
      'stop default',
      'packing default',
      'maxSteps --max-steps',
      'weights default',
      'target default',
      'lora.rank default',
      'lora.alpha default',
    ]);
  });

  it('reads an empty variable as absent', () => {
    expect(resolveConfig(schema, { env: { HEED_MODEL: 'm', HEED_EPOCHS: '' } }).value.epochs).toBe(1);
  });
});

describe('spelling', () => {
  it.each(['learning_rate', 'learning-rate', 'learningRate', 'LearningRate'])(
    '%s is one key everywhere',
    (name) => {
      expect(resolveConfig(schema, { files: [file(`model: m\n${name}: 0.5`)] }).value.learningRate).toBe(0.5);
      expect(resolveConfig(schema, { flags: flags(['model', 'm'], [name, '0.5']) }).value.learningRate).toBe(
        0.5,
      );
    },
  );

  it('reads aliases', () => {
    expect(resolveConfig(schema, { files: [file('model: m\nnum_train_epochs: 3')] }).value.epochs).toBe(3);
  });

  it('reads nested keys as a map, with dots, and from the environment', () => {
    const nested = { rank: 4, alpha: 16 };
    expect(resolveConfig(schema, { files: [file('model: m\nlora:\n  rank: 4')] }).value.lora).toEqual(nested);
    expect(resolveConfig(schema, { files: [file('model: m\nlora.rank: 4')] }).value.lora).toEqual(nested);
    expect(resolveConfig(schema, { env: { HEED_MODEL: 'm', HEED_LORA_RANK: '4' } }).value.lora).toEqual(
      nested,
    );
    const both = { files: [file('model: m\nlora: {rank: 2, alpha: 1}')], flags: flags(['lora.rank', '4']) };
    expect(resolveConfig(schema, both).value.lora).toEqual({ rank: 4, alpha: 1 });
    expect(resolveConfig(schema, { files: [file('model: m')] }).value.lora).toBeNull();
    expect(resolveConfig(schema, { files: [file('model: m\nlora: {}')] }).value.lora).toEqual({
      rank: 8,
      alpha: 16,
    });
  });
});

describe('text becomes the type of the key', () => {
  const read = (name: string, value: string | boolean): Record<string, unknown> =>
    resolveConfig(schema, { flags: flags(['model', 'm'], [name, value]) }).value;

  it.each([
    ['learningRate', '1e-5', 1e-5],
    ['packing', 'yes', true],
    ['packing', 'off', false],
    ['packing', true, true],
    ['stop', 'a, b', ['a', 'b']],
    ['stop', '["a, b"]', ['a, b']],
    ['weights', '{length: 0.5}', { length: 0.5 }],
    ['target', '6', 6],
    ['target', 'auto', 'auto'],
    // Text stays text, whatever it looks like.
    ['model', '123', '123'],
  ])('%s from %s', (name, text, value) => {
    expect(read(name, text)[name]).toEqual(value);
  });

  it('a repeated flag extends a list', () => {
    const given = flags(['model', 'm'], ['stop', 'a'], ['stop', 'b,c']);
    expect(resolveConfig(schema, { flags: given }).value.stop).toEqual(['a', 'b', 'c']);
  });
});

describe('errors', () => {
  it('an unknown key of a file: line, column, nearest key', () => {
    const error = failure({ files: [file('model: m\n\nlerning_rate: 1')] });
    expect(error.where).toBe('run.yaml:3:1');
    expect(error.message).toBe(
      'run.yaml:3:1: expected a key of this command, received the unknown key lerning_rate. Did you mean learningRate?',
    );
  });

  it('an unknown nested key', () => {
    const error = failure({ files: [file('model: m\nlora:\n  rnak: 1')] });
    expect(error.message).toContain('run.yaml:3:3');
    expect(error.message).toContain('Did you mean lora.rank?');
  });

  it('an unknown flag, and an alias that was nearest', () => {
    expect(failure({ flags: flags(['lr', '1']) }).message).toContain('--lr: expected a flag');
    expect(failure({ flags: flags(['lr', '1']) }).fix).toBe('Did you mean --learning-rate?');
    expect(failure({ flags: flags(['num_train_epoch', '1']) }).fix).toBe('Did you mean --epochs?');
  });

  it.each([
    [
      { files: [file('model: m\nlearningRate: fast')] },
      'run.yaml:2:1 (learningRate): expected number > 0, received "fast"',
    ],
    [
      { flags: flags(['model', 'm'], ['learning-rate', '-1']) },
      '--learning-rate: expected number > 0, received -1',
    ],
    [
      { env: { HEED_MODEL: 'm', HEED_MAX_STEPS: '1.5' } },
      'HEED_MAX_STEPS: expected integer ≥ 1, received 1.5',
    ],
    [{ flags: flags(['model', '']) }, '--model: expected text of at least 1 character, received ""'],
    [
      { flags: flags(['model', 'm'], ['schedule', 'cosin']) },
      '--schedule: expected constant | linear | cosine, received "cosin". Did you mean cosine?',
    ],
    [
      { files: [file('model: m\nlora:\n  rank: 0')] },
      'run.yaml:3:3 (lora.rank): expected integer ≥ 1, received 0',
    ],
    [
      { flags: flags(['model', 'm'], ['weights', '{a: b}']) },
      '--weights: expected map of names to number, received "b"',
    ],
    [{}, 'model: expected a value (folder of the policy), received nothing. Pass --model <text>'],
  ] as [ConfigSources, string][])('%j', (sources, message) => {
    expect(failure(sources).message).toContain(message);
  });

  it('ends with a full stop when there is nothing to advise', () => {
    const { message } = failure({ flags: flags(['model', 'm'], ['learning-rate', '-1']) });
    expect(message).toBe('--learning-rate: expected number > 0, received -1.');
  });

  it('names all wrong values at once', () => {
    const { message } = failure({ files: [file('learningRate: -1\nepochs: x')] });
    expect(message).toContain('model: expected a value');
    expect(message).toContain('Also wrong: run.yaml:1:1 (learningRate)');
    expect(message).toContain('run.yaml:2:1 (epochs)');
  });

  it('a key given twice, under two spellings', () => {
    const error = failure({ files: [file('model: m\nlearningRate: 1\nlearning_rate: 2')] });
    expect(error.message).toContain('run.yaml:3:1: expected learningRate once');
    expect(error.message).toContain('first at run.yaml:2:1');
  });

  it.each([
    ['model: [a\nlearningRate: 1', /^run\.yaml:\d+:\d+: expected valid YAML/],
    ['- a\n- b', /^run\.yaml: expected a map of keys to values.*received a list/],
    ['model', /received the text "model"/],
    ['model: m\nmodel: n', /^run\.yaml:2:1: expected valid YAML.*unique/],
  ])('bad YAML: %j', (text, message) => {
    expect(failure({ files: [file(text)] }).message).toMatch(message);
  });

  it('warns about a variable that looks like a misspelled key, and only then', () => {
    const env = { HEED_MODEL: 'm', HEED_LERNING_RATE: '1', HEED_DEBUG: '1', LEARNING_RATE: '1' };
    expect(resolveConfig(schema, { env }).warnings).toEqual([
      'HEED_LERNING_RATE is not read here; did you mean HEED_LEARNING_RATE?',
    ]);
  });
});

describe('formatConfig', () => {
  it('names the source of each key', () => {
    const text = formatConfig(
      schema,
      resolveConfig(schema, {
        files: [file('lora: {rank: 2}')],
        env: { HEED_EPOCHS: '2' },
        flags: flags(['model', 'm']),
      }),
    );
    expect(text).toBe(
      [
        'model: m               # --model',
        'learningRate: 0.00005  # default',
        'epochs: 2              # HEED_EPOCHS',
        'schedule: linear       # default',
        'stop: []               # default',
        'packing: false         # default',
        '# maxSteps:            # not set',
        'weights: {}            # default',
        'target: auto           # default',
        'lora:',
        '  rank: 2              # run.yaml:1:8',
        '  alpha: 16            # default',
        '',
      ].join('\n'),
    );
  });

  it('leaves secrets out, wherever they come from, and says where that is', () => {
    const keys = z.strictObject({
      apiKey: field(z.string().min(8).optional(), { secret: true }).describe('key'),
      judge: z.strictObject({
        token: field(z.string(), { secret: true }).describe('token'),
        url: z.string(),
      }),
    });
    const resolved = resolveConfig(keys, {
      files: [file('judge: {token: hidden-one, url: here}')],
      env: { HEED_API_KEY: 'hidden-two' },
    });
    const text = formatConfig(keys, resolved);
    expect(text).not.toContain('hidden');
    expect(text.split('\n')).toEqual([
      '# apiKey: ********   # HEED_API_KEY',
      'judge:',
      '  # token: ********  # run.yaml:1:9',
      '  url: here          # run.yaml:1:28',
      '',
    ]);
    expect(withoutSecrets(keys, resolved.value)).toEqual({ judge: { url: 'here' } });
    const refused = (): unknown => resolveConfig(keys, { env: { HEED_API_KEY: 'hidden' } });
    expect(refused).toThrow(/HEED_API_KEY: expected text of at least 8 characters, received another value/);
    expect(refused).not.toThrow(/hidden/);
  });

  it.each([' ', '\u00a0', '\u2003a', 'a\u3000', '\ufeff', '\u0085', '\u2028', '\t'])(
    'keeps the space characters of a value: %j',
    (model) => {
      const full = schema.parse({ model });
      const written = formatConfig(schema, { value: full, sources: new Map(), warnings: [] });
      expect(resolveConfig(schema, { files: [file(written)] }).value.model).toBe(model);
    },
  );

  it('reads back as the same configuration', () => {
    const text = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' });
    const config = fc.record({
      model: text,
      learningRate: fc.double({ min: 1e-12, max: 1e12, noNaN: true }),
      epochs: fc.double({ noNaN: true, noDefaultInfinity: true }),
      stop: fc.array(text),
      maxSteps: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
      weights: fc.dictionary(
        text.filter((key) => key !== '__proto__'),
        fc.integer(),
        { noNullPrototype: true },
      ),
      lora: fc.option(fc.record({ rank: fc.integer({ min: 1 }), alpha: fc.integer() })),
    });
    fc.assert(
      fc.property(config, (value) => {
        const full = schema.parse(value);
        const written = formatConfig(schema, { value: full, sources: new Map(), warnings: [] });
        expect(resolveConfig(schema, { files: [file(written)] }).value).toEqual(full);
      }),
    );
  });
});
