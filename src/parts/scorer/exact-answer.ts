/** A verifiable reward: whether the final answer of a completion equals the one that its row states. */
import { z } from 'zod';
import { DataError } from '../../core/errors.ts';
import { type BuiltinReward, perItem } from './builtin-reward.ts';
import type { ScoreItem } from './scorer.ts';
import type { PartScore } from './weighted-scorer.ts';

export const answerForms = ['any', 'boxed', 'hash', 'stated', 'last-number', 'whole'] as const;
export type AnswerForm = (typeof answerForms)[number];

const options = z.strictObject({
  column: z.string().default('answer').describe('column with the right answer, or a list of right answers'),
  form: z
    .enum(answerForms)
    .default('any')
    .describe(
      'where the answer of a completion stands: in the last \\boxed{}, after the last ####, after "answer is" or "answer:", the last number, the whole text; any: the first of these that is there',
    ),
  right: z.number().default(1).describe('score of a right answer'),
  wrong: z.number().default(0).describe('score of a wrong answer, or of none'),
  optional: z
    .boolean()
    .default(false)
    .describe('rows without the column are no concern of this reward, instead of an error'),
});

/**
 * `exact-answer`: `right` where the completion's final answer equals an answer of its row, else `wrong`. Numbers are compared
 * by value (`1,000`, `$1000.00` and `1e3` are equal, `0.5` and `\frac{1}{2}` too), other answers as text without case,
 * spaces, `$…$`, `\text{}` and a full stop at the end.
 */
export const exactAnswer: BuiltinReward<typeof options> = {
  name: 'exact-answer',
  summary: 'the final answer (\\boxed{}, ####, "answer is", last number) equals a column of the row',
  options,
  build: (settings) =>
    perItem('exact-answer', (item): PartScore => {
      const right = rightAnswers(item, settings);
      if (right === null) return null;
      const answer = extractAnswer(item.completion, settings.form);
      return answer !== undefined && right.some((other) => sameAnswer(answer, other))
        ? settings.right
        : settings.wrong;
    }),
};

function rightAnswers(
  { row }: ScoreItem,
  { column, optional }: z.output<typeof options>,
): readonly string[] | null {
  const value = row?.columns[column];
  if (value === undefined && optional) return null;
  const list = Array.isArray(value) ? value : [value];
  if (list.length > 0 && list.every((entry) => typeof entry === 'string' || typeof entry === 'number'))
    // A row may state its whole solution, as GSM8K does: the answer stands after ####.
    return list.map((entry) => extractAnswer(String(entry), 'hash') ?? String(entry));
  const names = Object.keys(row?.columns ?? {}).map((name) => `\`${name}\``);
  throw new DataError({
    where: `reward exact-answer, ${row?.where ?? 'a completion without row'}`,
    expected: `a column \`${column}\` with a text or a number, or a list of them`,
    received:
      value === undefined
        ? `the columns ${names.join(', ') || '(none)'}`
        : JSON.stringify(value).slice(0, 80),
    fix: 'Name the column under rewardOptions (exact-answer: {column: …}), or set optional: true there',
  });
}

/**
 * The final answer of a text; undefined where it has none of the form.
 *
 * @example extractAnswer('So 3 + 4 = 7.\n#### 7', 'any') // '7'
 * @example extractAnswer('Hence \\boxed{\\frac{1}{2}}.', 'boxed') // '\\frac{1}{2}'
 */
export function extractAnswer(text: string, form: AnswerForm): string | undefined {
  switch (form) {
    case 'boxed':
      return lastBoxed(text);
    case 'hash': {
      const at = text.lastIndexOf('####');
      const line =
        at < 0
          ? ''
          : (
              text
                .slice(at + 4)
                .trimStart()
                .split('\n')[0] ?? ''
            ).trim();
      return line === '' ? undefined : line;
    }
    case 'stated': {
      const found = [...text.matchAll(/answer\s*(?:is\s*:?|:|=)\s*\**\s*([^\n]+)/gi)].at(-1)?.[1];
      // A sentence goes on after the answer: what counts is up to a full stop that is no decimal point.
      const stated = found
        ?.split(/\.(?:\s|$)|[;!?](?:\s|$)/)[0]
        ?.replace(/\*+$/, '')
        .trim();
      return stated === undefined || stated === '' ? undefined : (numberIn(stated) ?? stated);
    }
    case 'last-number':
      return [...text.matchAll(numbers)].at(-1)?.[0];
    case 'whole': {
      const whole = text.trim();
      return whole === '' ? undefined : whole;
    }
    case 'any':
      for (const each of ['boxed', 'hash', 'stated', 'last-number', 'whole'] as const) {
        const answer = extractAnswer(text, each);
        if (answer !== undefined) return answer;
      }
      return undefined;
  }
}

const numbers = /[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?:\s*\/\s*\d+)?%?|[-−+]?\.\d+%?/gi;

/** The number of a text such as "$18 per day" that begins with one. */
function numberIn(text: string): string | undefined {
  const start = text.replace(/^[\s$€£*]+/, '');
  const first = start.match(numbers)?.[0];
  return first !== undefined && start.startsWith(first) ? first : undefined;
}

/** What stands in the braces of the last `\boxed{…}` or `\fbox{…}`; undefined where they do not close. */
function lastBoxed(text: string): string | undefined {
  const start = [...text.matchAll(/\\f?boxed\s*\{|\\fbox\s*\{/g)].at(-1);
  if (start === undefined) return undefined;
  const from = start.index + start[0].length;
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '{' && text[at - 1] !== '\\') depth++;
    if (text[at] === '}' && text[at - 1] !== '\\' && --depth === 0) return text.slice(from, at).trim();
  }
  return undefined;
}

/**
 * Whether two answers are the same: as exact rationals where both are numbers, as plain text otherwise.
 *
 * @example sameAnswer('$1,200.00', '1200') // true
 */
export function sameAnswer(a: string, b: string): boolean {
  const [x, y] = [rational(a), rational(b)];
  if (x !== undefined && y !== undefined) return x[0] * y[1] === y[0] * x[1];
  return plainText(a) === plainText(b);
}

/** Digits beyond this in an exponent would only cost memory. */
const largestExponent = 1000;

/** Numerator and denominator of a decimal, a fraction or a \frac; a percentage is its number; undefined for anything else. */
function rational(answer: string): readonly [bigint, bigint] | undefined {
  const text = plainText(answer)
    .replace(/\\d?t?frac\{([^{}]+)\}\{([^{}]+)\}/, '$1/$2')
    .replace(/[$€£%\\]|(?<=\d),(?=\d{3}(?!\d))/g, '')
    .replace(/−/g, '-');
  const parts = text.split('/');
  if (parts.length > 2) return undefined;
  const decimals = parts.map(decimal);
  const [top, bottom = [1n, 1n] as const] = decimals;
  if (top === undefined || decimals.includes(undefined) || bottom[0] === 0n) return undefined;
  return [top[0] * bottom[1], top[1] * bottom[0]];
}

function decimal(text: string): readonly [bigint, bigint] | undefined {
  const match = /^([-+]?)(\d*)(?:\.(\d*))?(?:e([-+]?\d{1,4}))?$/.exec(text);
  const [, sign = '', whole = '', part = '', exponent = '0'] = match ?? [];
  const power = Number(exponent) - part.length;
  if (match === null || whole + part === '' || Math.abs(power) > largestExponent) return undefined;
  const digits = BigInt(whole + part) * (sign === '-' ? -1n : 1n);
  return power >= 0 ? [digits * 10n ** BigInt(power), 1n] : [digits, 10n ** BigInt(-power)];
}

function plainText(answer: string): string {
  return answer
    .replace(/\\(?:text|mathrm|mathbf)\s*\{([^{}]*)\}/g, '$1')
    .replace(/\\[!,;: ]|\\left|\\right|[\s*]/g, '')
    .replace(/^\$+|\$+$/g, '')
    .replace(/[.。]$/, '')
    .toLowerCase();
}
