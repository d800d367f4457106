/** Beam search: of all continuations, follow the few whose log-probabilities sum highest. */
import { ConfigError } from '../core/errors.ts';
import type { Decoder } from './decoder.ts';
import type { RowOptions } from './row.ts';
import { adjust, mostLikely, type RowOutputs } from './sample.ts';

export interface BeamOptions {
  /** Continuations followed at a time. */
  readonly beams: number;
  /** Finished ones are ranked by log-probability ÷ length ^ this: above 0 favours long ones; 1 by default. */
  readonly lengthPenalty?: number | undefined;
  /**
   * `true`: ends when `beams` are finished. `false` (default): ends when the best that runs, at its present length, ranks
   * below all that are finished. `never`: as `false`, but with a positive penalty at the length it may still reach.
   */
  readonly earlyStopping?: boolean | 'never' | undefined;
}

/** A continuation, running or finished. */
export interface Beam {
  readonly ids: number[];
  readonly logProbs: number[];
  /** Σ of log-probabilities after penalties and bias, nats. */
  readonly sum: number;
  /** sum ÷ length ^ penalty, once it is finished. */
  readonly score: number;
  readonly finish: 'stop' | 'length';
}

/** One prompt's search. */
interface Search {
  readonly prompt: ArrayLike<number>;
  readonly options: RowOptions;
  /** Longest completion. */
  readonly longest: number;
  running: Running[];
  finished: Beam[];
  done: boolean;
}

interface Running {
  readonly prompt: ArrayLike<number>;
  readonly options: { readonly temperature: number };
  readonly ids: number[];
  readonly logProbs: number[];
  readonly sum: number;
  readonly slot: number;
}

interface Candidate {
  readonly parent: Running;
  readonly token: number;
  readonly logProb: number;
  readonly sum: number;
}

export interface BeamPrompt {
  readonly prompt: ArrayLike<number>;
  readonly options: RowOptions;
  /** Tokens that fit into the context after the prompt. */
  readonly room: number;
}

/**
 * The finished continuations of each prompt, best first, at most `beams`. The prompts are decoded together and take
 * `beams` slots each. Penalties, bias and `minNewTokens` act on log-probabilities; temperature and truncation do not act.
 *
 * @param onStep awaited after each step with the number of tokens decoded
 * @source transformers `GenerationMixin._beam_search` (5.23.0), whose scores and order it gives
 */
export async function beamSearch(
  prompts: readonly BeamPrompt[],
  decoder: Decoder,
  beam: BeamOptions,
  onStep: (tokens: number) => void | Promise<void>,
): Promise<Beam[][]> {
  checkBeams(beam);
  const k = beam.beams;
  const searches = prompts.map(
    ({ prompt, options, room }): Search => ({
      ...{ prompt, options, finished: [], running: [], done: false },
      longest: Math.min(options.maxNewTokens, room),
    }),
  );
  const first = searches.map(({ prompt }, index): Running => ({ ...start(prompt), slot: index * k }));
  await decoder.prefill(
    first.map((row) => [{ row, slot: row.slot }]),
    (outputs, index) => {
      advance(searches[index]!, [{ row: first[index]!, outputs }], beam, decoder);
    },
  );
  await onStep(searches.length);
  while (searches.some(({ done }) => !done)) {
    const rows = new Array<Running | undefined>(searches.length * k).fill(undefined);
    for (const { running, done } of searches) if (!done) for (const row of running) rows[row.slot] = row;
    const outputs = await decoder.step(rows);
    for (const search of searches) {
      if (search.done) continue;
      const own = search.running.map((row) => ({ row, outputs: outputs[row.slot]! }));
      advance(search, own, beam, decoder);
    }
    await onStep(rows.filter((row) => row !== undefined).length);
  }
  return searches.map(({ finished }) => finished);
}

const start = (prompt: ArrayLike<number>): Omit<Running, 'slot'> => ({
  ...{ prompt, ids: [], logProbs: [], sum: 0 },
  options: { temperature: 1 },
});

/** One token more: what ends with it is finished, and the best of the rest run on. */
function advance(
  search: Search,
  rows: readonly { readonly row: Running; readonly outputs: RowOutputs }[],
  beam: BeamOptions,
  decoder: Decoder,
): void {
  const { beams, lengthPenalty = 1, earlyStopping = false } = beam;
  const { stopIds } = search.options;
  const length = rows[0]!.row.ids.length + 1;
  const atEnd = length >= search.longest;
  const ends = ({ token }: Candidate): boolean => atEnd || stopIds.has(token);
  // Enough that, whatever ends, `beams` can go on.
  const count = Math.max(2, 1 + stopIds.size) * beams;
  const candidates = rows
    .flatMap(({ row, outputs }) => continuations(row, outputs, search.options, count))
    .sort((a, b) => b.sum - a.sum || a.parent.slot - b.parent.slot || a.token - b.token)
    .slice(0, count);
  // What ranks below the first `beams` is there only to go on with.
  const ended = candidates
    .slice(0, beams)
    .filter(ends)
    .map(
      (candidate): Beam => ({
        ...extended(candidate),
        score: candidate.sum / length ** lengthPenalty,
        finish: stopIds.has(candidate.token) ? 'stop' : 'length',
      }),
    );
  const full = search.finished.length >= beams;
  if (!(full && earlyStopping === true))
    search.finished = [...search.finished, ...ended].sort((a, b) => b.score - a.score).slice(0, beams);
  const next = candidates.filter((candidate) => !ends(candidate)).slice(0, beams);
  const isFull = search.finished.length >= beams;
  const reach = earlyStopping === 'never' && lengthPenalty > 0 ? search.longest : length;
  const hopeless =
    isFull && next.length > 0 && next[0]!.sum / reach ** lengthPenalty <= search.finished.at(-1)!.score;
  search.done = next.length === 0 || hopeless || (isFull && earlyStopping === true);
  if (!search.done)
    search.running = place(next, rows[0]!.row.slot - (rows[0]!.row.slot % beams), beams, decoder);
}

const extended = ({ parent, token, logProb, sum }: Candidate): Pick<Beam, 'ids' | 'logProbs' | 'sum'> => ({
  ids: [...parent.ids, token],
  logProbs: [...parent.logProbs, logProb],
  sum,
});

function continuations(row: Running, outputs: RowOutputs, options: RowOptions, count: number): Candidate[] {
  let highest = Number.NEGATIVE_INFINITY;
  for (const peak of outputs.peaks) highest = Math.max(highest, peak);
  const logNormalizer = highest + outputs.logTotal[0]!;
  const logProbs = outputs.logits.map((logit) => logit - logNormalizer);
  const scores = adjust(logProbs, options, { prompt: row.prompt, ids: row.ids, stopIds: options.stopIds });
  return Array.from(mostLikely(scores, Math.min(count, scores.length)), (token) => ({
    ...{ parent: row, token },
    logProb: outputs.logits[token]! - logNormalizer,
    sum: row.sum + scores[token]!,
  })).filter(({ sum }) => sum > Number.NEGATIVE_INFINITY);
}

/** Puts what goes on into slots: the first child of a parent keeps its slot, others get a copy in a free one. */
function place(next: readonly Candidate[], from: number, beams: number, decoder: Decoder): Running[] {
  const parents = new Set(next.map(({ parent }) => parent.slot));
  const free = Array.from({ length: beams }, (_, i) => from + i).filter((slot) => !parents.has(slot));
  const kept = new Set<number>();
  return next.map((candidate) => {
    const { prompt, options, slot } = candidate.parent;
    const stays = !kept.has(slot);
    kept.add(slot);
    const row: Running = { ...extended(candidate), prompt, options, slot: stays ? slot : free.shift()! };
    if (!stays) decoder.move(slot, row.slot, row);
    return row;
  });
}

function checkBeams({ beams, lengthPenalty = 1 }: BeamOptions): void {
  const wrong = !(Number.isInteger(beams) && beams >= 1)
    ? { name: 'beams', expected: 'a positive integer', value: beams }
    : Number.isFinite(lengthPenalty)
      ? undefined
      : { name: 'lengthPenalty', expected: 'a finite number', value: lengthPenalty };
  if (wrong === undefined) return;
  throw new ConfigError({
    where: `generate(${wrong.name})`,
    expected: wrong.expected,
    received: String(wrong.value),
    fix: 'Correct the option',
  });
}
