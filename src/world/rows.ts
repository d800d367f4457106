/** Rows of TRL's column types, with what is known of them in further columns. */
import { type Annotator, annotate, crowd } from './annotators.ts';
import { type Draw, drawAt } from './draw.ts';
import { goldCost, goldReward } from './gold.ts';
import type { Kind, Request, Split } from './request.ts';
import { type Attributes, scoreAttributes } from './scorers.ts';
import { comparer, demonstrator, drawStyle, type Writer } from './styles.ts';
import type { World } from './world.ts';

export interface RowsOptions {
  readonly split: Split;
  readonly count: number;
  readonly kinds?: readonly Kind[];
  /** Number of the first request. Different sets of a split should not overlap. Default 0. */
  readonly from?: number;
}

export interface PromptColumns {
  readonly prompt: string;
  readonly requestId: string;
  readonly kind: Kind;
  readonly topic: string;
}

export interface DemonstrationRow extends PromptColumns {
  readonly completion: string;
}

export interface PreferenceColumns extends PromptColumns {
  readonly chosen: string;
  readonly rejected: string;
  readonly chosenScores: Attributes;
  readonly rejectedScores: Attributes;
  readonly chosenReward: number;
  readonly rejectedReward: number;
  readonly chosenCost: number;
  readonly rejectedCost: number;
  readonly tie: boolean;
}

/** Two different completions of a request, with their attributes. */
export interface Candidates {
  readonly texts: readonly [string, string];
  readonly attributes: readonly [Attributes, Attributes];
}

export function promptColumns({ prompt, id, kind, topic }: Request): PromptColumns {
  return { prompt, requestId: id, kind, topic };
}

/** Prompts alone: for sampling. */
export function promptRows(world: World, options: RowsOptions): PromptColumns[] {
  return world.requests(options).map(promptColumns);
}

/** Requests with one response each, in the styles of a writer. */
export function demonstrations(
  world: World,
  { writer = demonstrator, ...options }: RowsOptions & { readonly writer?: Writer },
): DemonstrationRow[] {
  const rng = world.rng.split('demonstrations');
  return world.requests(options).map((request) => {
    const style = drawStyle(request, writer, drawAt(rng.split(request.id)));
    return { ...promptColumns(request), completion: world.respond(request, style) };
  });
}

/** Pairs that an annotator has compared. */
export function preferences(
  world: World,
  {
    annotator = crowd,
    writer = comparer,
    ...options
  }: RowsOptions & { readonly annotator?: Annotator; readonly writer?: Writer },
): PreferenceColumns[] {
  return world.requests(options).map((request) => {
    const draw = drawAt(world.rng.split('preferences').split(request.id));
    return comparePair(request, drawCandidates(world, request, writer, draw), annotator, draw);
  });
}

/** Draws two different responses of a writer. */
export function drawCandidates(world: World, request: Request, writer: Writer, draw: Draw): Candidates {
  const write = (): string => world.respond(request, drawStyle(request, writer, draw), draw.integer(2 ** 31));
  const first = write();
  let second = write();
  while (second === first) second = write();
  return {
    texts: [first, second],
    attributes: [scoreAttributes(request, first), scoreAttributes(request, second)],
  };
}

/** A row of what the annotator prefers. */
export function comparePair(
  request: Request,
  { texts, attributes }: Candidates,
  annotator: Annotator,
  draw: Draw,
): PreferenceColumns {
  const { preferred, tie } = annotate(attributes, annotator, draw);
  const [chosenScores, rejectedScores] = [attributes[preferred], attributes[preferred === 0 ? 1 : 0]];
  return {
    ...promptColumns(request),
    chosen: texts[preferred],
    rejected: texts[preferred === 0 ? 1 : 0],
    chosenScores,
    rejectedScores,
    chosenReward: goldReward(chosenScores),
    rejectedReward: goldReward(rejectedScores),
    chosenCost: goldCost(chosenScores),
    rejectedCost: goldCost(rejectedScores),
    tie,
  };
}
