/** Rewards as plain functions of a batch of completions, and modules that export one. */
import { basename, extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError, DataError, HeedError, NumericError } from '../../core/errors.ts';
import type { ScoreContext, ScoreItem } from './scorer.ts';
import type { PartScore, Reward } from './weighted-scorer.ts';

/** What a reward function gets: lists with an entry per completion. */
export interface RewardInput {
  /** Texts, special tokens left out; a chat prompt is its rendered template, `columns.prompt` has the messages. */
  readonly prompts: readonly string[];
  readonly completions: readonly string[];
  /** Tokens; the stop token is included where there is one. */
  readonly promptIds: readonly ArrayLike<number>[];
  readonly completionIds: readonly ArrayLike<number>[];
  /** How sampling ended: at a stop token, or cut at the length; undefined for completions that were not sampled. */
  readonly finish: readonly ('stop' | 'length' | undefined)[];
  /** Every column of the data by name; undefined where a row lacks it. */
  readonly columns: Readonly<Record<string, readonly unknown[]>>;
  /** Iteration of the run, from 1; 0 outside of runs. */
  readonly step: number;
  /** What `rewardOptions` says under the reward's name. */
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * A number per completion, higher is better; `undefined` (or a missing value) for "cannot be scored", which leaves the
 * completion out of training; `null` for "does not concern this completion", which leaves the reward out of its score.
 */
export type RewardFunction = (input: RewardInput) => readonly PartScore[] | Promise<readonly PartScore[]>;

/**
 * A reward from a function.
 *
 * An error of the function is reported with the name of the reward, the step and the row: to find the row, the function
 * is called again on one completion at a time, up to the first that fails.
 *
 * @throws (from `score`) DataError when the function throws, or returns something else than a list of one score per
 *   completion; NumericError on NaN and infinity
 */
export function functionReward(
  name: string,
  score: RewardFunction,
  options: Readonly<Record<string, unknown>> = {},
): Reward {
  const call = (items: readonly ScoreItem[], context: ScoreContext) =>
    score(rewardInput(items, context, options));
  return {
    name,
    async score(items, context = {}) {
      let scores: readonly PartScore[];
      try {
        scores = await call(items, context);
      } catch (error) {
        // heed's own rewards name the row themselves.
        if (error instanceof HeedError) throw error;
        throw await failure(name, items, context, error, (item) => call([item], context));
      }
      return checkScores(name, items, context, scores);
    },
    dispose() {},
  };
}

/** Completions with their rows as the lists that reward functions take. */
export function rewardInput(
  items: readonly ScoreItem[],
  { iteration }: ScoreContext = {},
  options: Readonly<Record<string, unknown>> = {},
): RewardInput {
  const names = new Set(items.flatMap(({ row }) => Object.keys(row?.columns ?? {})));
  return {
    prompts: items.map(({ prompt }) => prompt),
    completions: items.map(({ completion }) => completion),
    promptIds: items.map(({ promptIds }) => promptIds),
    completionIds: items.map(({ completionIds }) => completionIds),
    finish: items.map(({ finish }) => finish),
    columns: Object.fromEntries(
      Array.from(names, (column) => [column, items.map(({ row }) => row?.columns[column])]),
    ),
    step: iteration === undefined ? 0 : iteration + 1,
    options,
  };
}

const stepText = ({ iteration }: ScoreContext): string =>
  iteration === undefined ? '' : `, step ${iteration + 1}`;

const itemText = ({ row, completion }: ScoreItem): string =>
  `${row?.where ?? 'a completion without row'} (completion ${JSON.stringify(completion.slice(0, 60))})`;

async function failure(
  name: string,
  items: readonly ScoreItem[],
  context: ScoreContext,
  error: unknown,
  scoreOne: (item: ScoreItem) => unknown,
): Promise<DataError> {
  let [where, cause] = [`all ${items.length} completions at once, though none alone`, error];
  for (const item of items) {
    try {
      await scoreOne(item);
    } catch (single) {
      [where, cause] = [itemText(item), single];
      break;
    }
  }
  return new DataError({
    where: `reward ${name}${stepText(context)}, ${where}`,
    expected: 'scores',
    received: cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause),
    fix: 'Correct the function; it returns undefined for a completion that it cannot score',
    cause,
  });
}

function checkScores(
  name: string,
  items: readonly ScoreItem[],
  context: ScoreContext,
  scores: unknown,
): readonly PartScore[] {
  if (!Array.isArray(scores) || scores.length !== items.length) {
    throw new DataError({
      where: `reward ${name}${stepText(context)}`,
      expected: `a list of ${items.length} scores, one per completion`,
      received: Array.isArray(scores) ? `a list of ${scores.length}` : describe(scores),
      fix: 'Return one score per completion, in order',
    });
  }
  // A hole is an undefined, which `map` and `forEach` would skip.
  for (let index = 0; index < scores.length; index++) {
    const score: unknown = scores[index];
    if (score === undefined || score === null || Number.isFinite(score)) continue;
    throw new NumericError({
      where: `reward ${name}${stepText(context)}, ${itemText(items[index]!)}`,
      expected: 'a finite number; undefined for "cannot be scored", null for "does not concern it"',
      received: typeof score === 'number' ? String(score) : describe(score),
      fix: 'Return undefined instead, or correct the function',
    });
  }
  return Array.from(scores as PartScore[]);
}

const describe = (value: unknown): string =>
  value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value).slice(0, 80);

/** Whether a text names a module, perhaps with an export: `rewards/mine.mjs#brevity`. */
export function isModulePath(text: string): boolean {
  return /\.[cm]?[jt]s(#[\w$]+)?$/.test(text);
}

/**
 * Imports a reward function.
 *
 * @param path file, and after `#` the name of the export; the default export without
 * @returns the function, and its name: that of the export, or of the file
 * @throws ConfigError when the file cannot be read, is TypeScript where Node cannot read it, or exports no such function
 */
export async function loadRewardFunction(
  path: string,
): Promise<{ readonly name: string; readonly score: RewardFunction }> {
  const [, file = path, exported] = /^(.*?)(?:#([\w$]+))?$/.exec(path) ?? [];
  const where = `reward ${path}`;
  if (/\.[cm]?ts$/.test(file) && !canReadTypes()) {
    throw new ConfigError({
      where,
      expected: 'JavaScript, which every version of Node runs',
      received: `TypeScript, which Node ${process.versions.node} does not`,
      fix: `Run heed with Node 22.18 or newer, or compile the file (npx tsc ${basename(file)} --module nodenext --target es2023) and name the result`,
    });
  }
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>;
  } catch (cause) {
    throw new ConfigError({
      where,
      expected: 'a module that can be imported',
      received: cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause),
      fix: 'Check the path, which is relative to the working directory, and the code of the module',
      cause,
    });
  }
  const score = module[exported ?? 'default'];
  if (typeof score === 'function') {
    const name = exported ?? basename(file, extname(file));
    return { name, score: score as RewardFunction };
  }
  const functions = Object.keys(module).filter((key) => typeof module[key] === 'function');
  throw new ConfigError({
    where,
    expected: exported === undefined ? 'a function as default export' : `an exported function "${exported}"`,
    received: functions.length === 0 ? 'no exported function' : `the functions ${functions.join(', ')}`,
    fix: functions.length === 0 ? 'Export one' : `Write ${file}#${functions[0]}`,
  });
}

/** Whether this Node strips types: `process.features.typescript`, from Node 22.10; on without a flag from 22.18. */
function canReadTypes(): boolean {
  return Boolean((process.features as { typescript?: string | false }).typescript);
}
