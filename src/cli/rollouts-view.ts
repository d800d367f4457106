/** What `heed rollouts` shows, as text. */
import type { RolloutLists, RolloutSummary } from '../parts/sinks/rollout-table.ts';
import type { Colors } from './colors.ts';
import { formatNumber } from './format.ts';
import { visible } from './inspect-view.ts';
import { formatTable } from './output.ts';

const number = (value: number | null | undefined, digits = 3): string =>
  value === null || value === undefined ? '–' : formatNumber(value, digits);

/** `12:3`: iteration and place in its batch. */
export const rolloutId = ({ step, sample }: Pick<RolloutSummary, 'step' | 'sample'>): string =>
  `${step}:${sample}`;

/** Columns that a narrow terminal does without, the first of them first. */
const dispensable = ['kl', 'flags', 'tokens', 'reward'];
/** Least room for prompt and completion together, characters. */
const leastRoom = 24;

/** A line per rollout; prompt and completion share what is left of the width. */
export function renderRollouts(rollouts: readonly RolloutSummary[], width: number): string {
  const columns = new Map<string, (rollout: RolloutSummary) => string>([
    ['id', rolloutId],
    ['score', ({ score }) => number(score)],
    ['reward', ({ reward }) => number(reward)],
    ['advantage', ({ advantage }) => number(advantage)],
    ['kl', ({ kl }) => number(kl)],
    ['tokens', ({ tokens }) => number(tokens)],
    ['flags', ({ flags }) => flags.join(',')],
  ]);
  const rows = (): string[][] =>
    rollouts.map((rollout) => [...columns.values()].map((cell) => cell(rollout)));
  const left = (): number =>
    formatTable([[...columns.keys()], ...rows()])
      .split('\n')
      .reduce((least, line) => Math.min(least, width - line.length - 4), width);
  for (const name of dispensable) if (left() < leastRoom) columns.delete(name);
  const room = Math.max(leastRoom, left());
  const head = [...columns.keys()];
  const cells = rows();
  const promptRoom = Math.min(
    Math.floor(room / 3),
    Math.max(6, ...rollouts.map(({ prompt }) => prompt.length)),
  );
  return formatTable([
    [...head, 'prompt', 'completion'],
    ...rollouts.map(({ prompt, completion }, index) => [
      ...cells[index]!,
      // The end of a prompt tells prompts apart, where a template stands before it.
      clipStart(visible(prompt), promptRoom),
      clip(visible(completion), room - promptRoom),
    ]),
  ]);
}

const clip = (text: string, room: number): string =>
  text.length <= room ? text : `${text.slice(0, room - 1)}…`;
const clipStart = (text: string, room: number): string =>
  text.length <= room ? text : `…${text.slice(text.length - room + 1)}`;

export interface RolloutViewOptions {
  readonly colors: Colors;
  readonly width: number;
  /** Text of a token; its number when the tokenizer is not there. */
  readonly tokenText: (id: number) => string;
  /** A line per token with its numbers, instead of colored text. */
  readonly table: boolean;
}

/** One rollout: what it is, its reward by parts, its tokens. */
export function renderRollout(
  rollout: RolloutSummary & RolloutLists,
  { colors, width, tokenText, table }: RolloutViewOptions,
): string {
  const { score, reward, kl, tokens, finish, flags, weightVersion, parts, advantages } = rollout;
  const named = Object.entries(parts).map(([name, value]) => `${name} ${number(value, 4)}`);
  const rewards = Object.entries(rollout.rewards).map(([name, value]) => `${name} ${number(value, 4)}`);
  const facts = [
    ['score', number(score, 4)],
    ...(rewards.length === 0 ? [] : [['rewards', rewards.join(', ')]]),
    [
      'reward',
      named.length > 1
        ? `${number(reward, 4)} = ${named.join(' + ').replaceAll('+ -', '− ')}`
        : number(reward, 4),
    ],
    ['kl', `${number(kl, 4)} nats`],
    ['tokens', `${formatNumber(tokens)}, ${finish === 'stop' ? 'ended by a stop token' : 'cut'}`],
    ['group', String(rollout.group)],
    ['weights', `after ${formatNumber(weightVersion)} optimizer steps`],
    ...(flags.length === 0 ? [] : [['flags', flags.join(', ')]]),
  ];
  const lines = [
    colors.bold(`rollout ${rolloutId(rollout)}`),
    ...facts.map(([name, value]) => `${name!.padEnd(9)} ${value}`),
    '',
    `${colors.bold('prompt')}  ${colors.dim(`${formatNumber(rollout.promptIds.length)} tokens`)}`,
    ...wrap(visible(rollout.prompt), width),
    '',
  ];
  if (table) return [...lines, tokenTable(rollout, tokenText)].join('\n');
  lines.push(`${colors.bold('completion')}  ${legend(advantages, colors)}`);
  lines.push(coloredTokens(rollout, tokenText, colors, width));
  return lines.join('\n');
}

function wrap(text: string, width: number): string[] {
  return text.match(new RegExp(`.{1,${Math.max(20, width)}}`, 'gsu')) ?? [''];
}

/** A line per token: what a terminal without color shows. */
function tokenTable(rollout: RolloutLists, tokenText: (id: number) => string): string {
  const { ids, logProbs, referenceLogProbs, values, advantages } = rollout;
  const columns: [string, readonly number[] | undefined][] = [
    ['log π', logProbs],
    ['log π_ref', referenceLogProbs],
    ['value', values],
    ['advantage', advantages],
  ];
  const there = columns.filter((column): column is [string, readonly number[]] => column[1] !== undefined);
  return formatTable([
    ['', ...there.map(([name]) => name), 'token'],
    ...ids.map((id, t) => [
      String(t + 1),
      ...there.map(([, list]) => list[t]!.toFixed(4)),
      JSON.stringify(visible(tokenText(id))).slice(1, -1),
    ]),
  ]);
}

/** Green pushes a token up, red down; the darker, the nearer to 0. */
function paintFor(advantage: number, largest: number, colors: Colors): (text: string) => string {
  const share = largest === 0 ? 0 : Math.abs(advantage) / largest;
  const hue = advantage > 0 ? colors.green : colors.red;
  if (share < 0.05) return colors.dim;
  if (share < 1 / 3) return (text) => colors.dim(hue(text));
  return share < 2 / 3 ? hue : (text) => colors.bold(hue(text));
}

const largestOf = (list: readonly number[]): number =>
  list.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

function legend(advantages: readonly number[] | undefined, colors: Colors): string {
  if (advantages === undefined) return colors.dim('no advantages');
  const largest = largestOf(advantages);
  if (largest === 0) return colors.dim('advantage 0 at every token');
  const sample = [-1, -0.5, -0.1, 0, 0.1, 0.5, 1].map((share) =>
    paintFor(share * largest, largest, colors)(number(share * largest)),
  );
  return `${colors.dim('advantage')} ${sample.join(' ')}`;
}

function coloredTokens(
  { ids, advantages }: RolloutLists,
  tokenText: (id: number) => string,
  colors: Colors,
  width: number,
): string {
  const largest = largestOf(advantages ?? []);
  const lines: string[] = [];
  let [line, used] = ['', 0];
  for (const [t, id] of ids.entries()) {
    const text = visible(tokenText(id));
    if (used > 0 && used + text.length + 1 > width) {
      lines.push(line);
      [line, used] = ['', 0];
    }
    line += (used > 0 ? colors.dim('│') : '') + paintFor(advantages?.[t] ?? 0, largest, colors)(text);
    used += text.length + 1;
  }
  return [...lines, line].join('\n');
}
