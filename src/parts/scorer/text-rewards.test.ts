import { expect, it } from 'vitest';
import type { BuiltinReward } from './builtin-reward.ts';
import { builtinRewards } from './builtin-rewards.ts';
import { format, length, regex } from './text-rewards.ts';

const services = { env: {}, seed: 0 };
const score = async (reward: unknown, options: object, ...completions: string[]) => {
  const { options: schema, build } = reward as BuiltinReward;
  return build(schema.parse(options), services).score(
    completions.map((completion) => ({
      ...{ prompt: '', completion, promptIds: [1], completionIds: completion.split(' ').map(() => 1) },
    })),
  );
};

// The first two are the example of TRL's think_format_reward.
it('format: tags in order, each once, from the start', async () => {
  const think = [
    '<think>\na\n</think>\nb.',
    '<think>\na\nb.',
    ' <think>a</think>',
    '<think>a</think>b<think>',
  ];
  expect(await score(format, {}, ...think, '<think>a</think></think>')).toEqual([1, 0, 0, 0, 0]);
  const options = { tags: ['think', 'answer'], rest: 'none', wrong: -1 };
  const both = '<think>a</think>\n<answer>b</answer>\n';
  expect(await score(format, options, both, `${both}c`, '<answer>b</answer>')).toEqual([1, -1, -1]);
  expect(await score(format, { rest: 'some' }, '<think>a</think> b', '<think>a</think> ')).toEqual([1, 0]);
});

it('regex: a part or the whole, never dependent on the completion before', async () => {
  expect(await score(regex, { pattern: 'a+', flags: 'g' }, 'xa', 'ax', 'xx')).toEqual([1, 1, 0]);
  expect(await score(regex, { pattern: 'a|b', whole: true }, 'a', 'ab')).toEqual([1, 0]);
  // A dot takes a line break by default, and not where flags are given without s.
  expect(await score(regex, { pattern: 'a.b', right: 3, wrong: -2 }, 'a\nb', 'ab')).toEqual([3, -2]);
  expect(await score(regex, { pattern: 'a.b', flags: 'iy' }, 'a\nb', 'xA-b')).toEqual([0, 1]);
  await expect(score(regex, { pattern: '(' }, 'a')).rejects.toThrow(/a JavaScript regular expression/);
});

it('length: 0 within bounds, a straight line to −1 beyond', async () => {
  const words = (count: number): string => new Array(count).fill('w').join(' ');
  const options = { minimum: 4, maximum: 10, margin: 4 };
  expect(await score(length, options, ...[1, 2, 4, 10, 11, 14, 30].map(words))).toEqual([
    -0.75, -0.5, 0, 0, -0.25, -1, -1,
  ]);
  expect(await score(length, { ...options, unit: 'characters' }, 'é'.repeat(12))).toEqual([-0.5]);
  expect(await score(length, { ...options, unit: 'words' }, ' a  b\nc ', 'a b c d')).toEqual([-0.25, 0]);
  expect(await score(length, { ...options, minimum: 10 }, words(10), words(9))).toEqual([0, -0.25]);
  await expect(score(length, { ...options, minimum: 11 }, 'a')).rejects.toThrow(/at most the maximum/);
});

it('every option of every reward is described, and the names are those of the files', () => {
  for (const [name, { options }] of builtinRewards) {
    for (const [key, schema] of Object.entries(options.shape))
      expect((schema as { description?: string }).description, `${name}.${key}`).toBeTruthy();
  }
});
