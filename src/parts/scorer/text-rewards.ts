/** Verifiable rewards that look at the form of a completion: its tags, a pattern, its length. */
import { z } from 'zod';
import { ConfigError } from '../../core/errors.ts';
import { type BuiltinReward, perItem } from './builtin-reward.ts';
import type { ScoreItem } from './scorer.ts';

const formatOptions = z.strictObject({
  tags: z
    .array(z.string().regex(/^[a-z][\w-]*$/i, 'a tag name such as think'))
    .min(1)
    .default(['think'])
    .describe('tags that must stand one after the other, each once, from the start of the completion'),
  rest: z
    .enum(['any', 'some', 'none'])
    .default('any')
    .describe('what may follow the last tag: anything, something, nothing but spaces'),
  right: z.number().default(1).describe('score of a completion of this form'),
  wrong: z.number().default(0).describe('score of any other'),
});

/**
 * `format`: whether a completion is `<think>…</think>` and then its answer; with more tags, one after the other.
 *
 * @source huggingface/trl v1.16.0 `trl/rewards/format_rewards.py` (`think_format_reward`: the
 *   defaults, but a second closing tag fails too)
 */
export const format: BuiltinReward<typeof formatOptions> = {
  name: 'format',
  summary: 'the completion begins with <think>…</think>, or with other tags in order, each once',
  options: formatOptions,
  build({ tags, rest, right, wrong }) {
    // No tag may stand again inside or behind: the first closing tag must be the only one, and so the opening one.
    const inner = tags.map((tag) => `<${tag}>(?:(?!</?${tag}>)[^])*</${tag}>`).join('\\s*');
    const again = tags.map((tag) => `</?${tag}>`).join('|');
    const tail = { any: `(?:(?!${again})[^])*`, some: `\\s*\\S(?:(?!${again})[^])*`, none: '\\s*' }[rest];
    const pattern = new RegExp(`^${inner}${tail}$`);
    return perItem('format', ({ completion }) => (pattern.test(completion) ? right : wrong));
  },
};

const regexOptions = z.strictObject({
  pattern: z.string().describe('JavaScript regular expression'),
  flags: z.string().default('s').describe('its flags'),
  whole: z.boolean().default(false).describe('match the whole completion, not a part of it'),
  right: z.number().default(1).describe('score of a completion that matches'),
  wrong: z.number().default(0).describe('score of any other'),
});

/** `regex`: whether a completion matches a regular expression. */
export const regex: BuiltinReward<typeof regexOptions> = {
  name: 'regex',
  summary: 'the completion matches a regular expression',
  options: regexOptions,
  build({ pattern, flags, whole, right, wrong }) {
    let expression: RegExp;
    try {
      // Without g and y, `test` keeps no place between completions.
      expression = new RegExp(whole ? `^(?:${pattern})$` : pattern, flags.replace(/[gy]/g, ''));
    } catch (cause) {
      throw new ConfigError({
        where: 'rewardOptions.regex',
        expected: 'a JavaScript regular expression with its flags',
        received: `/${pattern}/${flags}: ${(cause as Error).message}`,
        cause,
      });
    }
    return perItem('regex', ({ completion }) => (expression.test(completion) ? right : wrong));
  },
};

const lengthOptions = z.strictObject({
  unit: z.enum(['tokens', 'words', 'characters']).default('tokens').describe('what is counted'),
  minimum: z.int().min(0).default(0).describe('shortest length that costs nothing'),
  maximum: z.int().min(1).describe('longest length that costs nothing'),
  margin: z.int().min(1).describe('distance from either bound at which the score has fallen to −1'),
});

/**
 * `length`: 0 between `minimum` and `maximum`, falling on a straight line to −1 at `margin` beyond them, and −1 from there on.
 *
 * @source for the upper side Yu et al. 2025, "DAPO" (arXiv 2503.14476), eq. 13, which counts tokens
 * @example maximum 100, margin 50: 80 → 0, 125 → −0.5, 150 and more → −1
 */
export const length: BuiltinReward<typeof lengthOptions> = {
  name: 'length',
  summary: '0 for a length within bounds, falling to −1 outside them',
  options: lengthOptions,
  build({ unit, minimum, maximum, margin }) {
    if (minimum > maximum) {
      throw new ConfigError({
        where: 'rewardOptions.length',
        expected: `a minimum of at most the maximum (${maximum})`,
        received: String(minimum),
      });
    }
    const count = {
      tokens: ({ completionIds }: ScoreItem) => completionIds.length,
      words: ({ completion }: ScoreItem) => completion.split(/\s+/).filter(Boolean).length,
      characters: ({ completion }: ScoreItem) => [...completion].length,
    }[unit];
    return perItem('length', (item) => {
      const size = count(item);
      const beyond = Math.max(minimum - size, size - maximum, 0);
      // From 0, so that no distance is not a −0.
      return 0 - Math.min(1, beyond / margin);
    });
  },
};
