/** The data sets of a world as rows in TRL's column types, with what is known of each row in further columns. */
import { prefer, usualAnnotator } from './annotators.ts';
import { type Attributes, scoreAttributes } from './attributes.ts';
import { type Draw, drawAt } from './draw.ts';
import { keepsPrinciple, principles, rate, writeCritique } from './feedback.ts';
import { goldCost, goldReward } from './gold.ts';
import { compareByFactors, driftedPersona, type Persona, personas, preferAs } from './personas.ts';
import type { Kind, Request, Split } from './request.ts';
import { bestStyle, demonstrationStyle, type Style } from './respond.ts';
import { weeklyStream } from './stream.ts';
import { scoreTraits } from './traits.ts';
import type { World } from './world.ts';

export type DataRow = Readonly<Record<string, unknown>>;

export interface SetOptions {
  readonly split: Split;
  readonly count: number;
}

export const setNames = [
  'demonstrations',
  'preferences',
  'unpaired',
  'ratings',
  'principles',
  'critiques',
  'multi-turn',
  'personas',
  'drift',
  'rankings',
  'stream',
  'shifts',
  'pictures',
] as const;
export type SetName = (typeof setNames)[number];

/** Sets that are rows of text in the three usual splits. */
export type TextSet = Exclude<SetName, 'shifts' | 'stream' | 'pictures'>;

/** Where the requests of a set begin, so that no two sets of feedback are about the same requests. */
const offsets: Readonly<Record<TextSet, number>> = {
  demonstrations: 0,
  preferences: 1_000_000,
  unpaired: 2_000_000,
  ratings: 3_000_000,
  principles: 4_000_000,
  critiques: 5_000_000,
  'multi-turn': 6_000_000,
  personas: 7_000_000,
  drift: 8_000_000,
  rankings: 9_000_000,
};

/** Weeks over which taste drifts and disguises change. */
export const weeks = 12;

/** The rows of a set. Pairs that are called a tie or left undecided are absent, so there may be fewer than `count`. */
export function makeSet(world: World, set: TextSet, { split, count }: SetOptions): DataRow[] {
  if (set === 'demonstrations') return world.demonstrations({ split, count }).map((row) => ({ ...row }));
  const kinds: readonly Kind[] | undefined = set === 'multi-turn' ? ['multi-turn'] : undefined;
  const requests = world.requests({ split, count, from: offsets[set], ...(kinds && { kinds }) });
  const rng = world.rng.split(set);
  return requests.flatMap((request, at) =>
    makers[set]({ world, request, at, count, draw: drawAt(rng.split(request.id)) }),
  );
}

/** Rows of a shift away from the training data: each request with its best response. */
export function makeShift(world: World, split: Split, count: number): DataRow[] {
  return world.requests({ split, count }).map((request) => ({
    ...columnsOf(request),
    completion: world.respond(request, bestStyle(request)),
  }));
}

/** Rows of the weekly jailbreak stream, week after week. */
export function makeStream(world: World, count: number): DataRow[] {
  const perWeek = Math.max(1, Math.round(count / weeks));
  return Array.from({ length: weeks }, (_, week) => weeklyStream(world, { week, count: perWeek }))
    .flat()
    .map((row) => ({ ...row }));
}

interface Scope {
  readonly world: World;
  readonly request: Request;
  readonly at: number;
  readonly count: number;
  readonly draw: Draw;
}

const makers: Readonly<Record<Exclude<TextSet, 'demonstrations'>, (scope: Scope) => DataRow[]>> = {
  preferences: (scope) => {
    const { world, request } = scope;
    const texts = drawPair(scope);
    return pairRow(request, texts, prefer(request, texts, usualAnnotator, world.rng.split('annotator')), {});
  },
  unpaired: (scope) => {
    const { request, world } = scope;
    const completion = drawText(scope);
    // Liked when preferred to a middling response, by the same annotator as the pairs.
    const middling = world.respond(request, { ...bestStyle(request), manner: 'neutral', filler: 1 });
    const choice = prefer(request, [completion, middling], usualAnnotator, world.rng.split('thumbs'));
    return choice === undefined
      ? []
      : [{ ...columnsOf(request), completion, label: choice === 0, ...gold(request, completion) }];
  },
  ratings: (scope) => {
    const completion = drawText(scope);
    const { request, draw } = scope;
    return [
      {
        ...columnsOf(request),
        completion,
        ...rate(scoreTraits(request, completion), draw),
        ...gold(request, completion),
      },
    ];
  },
  principles: (scope) => {
    const { request, draw } = scope;
    const completion = drawText(scope);
    const traits = scoreTraits(request, completion);
    const fitting = principles.filter((principle) => keepsPrinciple(traits, principle) !== undefined);
    const principle = draw.pick(fitting);
    return [
      {
        ...columnsOf(request),
        completion,
        principle: principle.name,
        principleText: principle.text,
        kept: keepsPrinciple(traits, principle),
      },
    ];
  },
  critiques: (scope) => {
    const { request, draw } = scope;
    const completion = drawText(scope);
    const critique = ` ${writeCritique(scoreTraits(request, completion), draw)}`;
    return [{ ...columnsOf(request), completion, critique, ...gold(request, completion) }];
  },
  'multi-turn': ({ world, request, draw }) => [
    {
      ...columnsOf(request),
      completion: world.respond(request, demonstrationStyle(request, draw)),
      turns: request.turns,
    },
  ],
  personas: (scope) => {
    const { world, request, at } = scope;
    const persona = personas[at % personas.length]!;
    const texts = drawPair(scope);
    return pairRow(request, texts, preferAs(persona, request, texts, world.rng), { persona: persona.name });
  },
  drift: (scope) => {
    const { world, request, at, count } = scope;
    const week = Math.floor((at * weeks) / count);
    const persona = driftedPersona(find('terse'), find('chatty'), week / (weeks - 1));
    const texts = drawPair(scope);
    return pairRow(request, texts, preferAs(persona, request, texts, world.rng), { week });
  },
  rankings: (scope) => {
    const { request } = scope;
    const texts = drawPair(scope);
    const decided = compareByFactors(scoreTraits(request, texts[0]), scoreTraits(request, texts[1]));
    return pairRow(request, texts, decided?.preferred, { level: decided?.level });
  },
};

const find = (name: string): Persona => personas.find((persona) => persona.name === name)!;

/** The columns that every row has. */
function columnsOf({ prompt, id, kind, topic, split }: Request): DataRow {
  return { prompt, requestId: id, kind, topic, split };
}

function gold(request: Request, completion: string): DataRow {
  const scores = scoreAttributes(request, completion);
  return { scores, reward: goldReward(request, scores), cost: goldCost(scores) };
}

function pairRow(
  request: Request,
  texts: readonly [string, string],
  preferred: 0 | 1 | undefined,
  more: DataRow,
): DataRow[] {
  if (preferred === undefined) return [];
  const [chosen, rejected] = preferred === 0 ? texts : [texts[1], texts[0]];
  const [good, bad] = [scoreAttributes(request, chosen), scoreAttributes(request, rejected)] as [
    Attributes,
    Attributes,
  ];
  return [
    {
      ...columnsOf(request),
      chosen,
      rejected,
      ...more,
      chosenScores: good,
      rejectedScores: bad,
      chosenReward: goldReward(request, good),
      rejectedReward: goldReward(request, bad),
      chosenCost: goldCost(good),
      rejectedCost: goldCost(bad),
    },
  ];
}

/** Two different responses of the demonstrations' styles, made worse and more varied. */
function drawPair(scope: Scope): readonly [string, string] {
  const first = drawText(scope);
  for (;;) {
    const second = drawText(scope);
    if (second !== first) return [first, second];
  }
}

function drawText({ world, request, draw }: Scope): string {
  const style: Style = demonstrationStyle(request, draw);
  const flattery = style.flattery + (draw.chance(0.15) ? 1 + draw.integer(3) : 0);
  return world.respond(request, { ...style, right: draw.chance(0.75), flattery }, draw.integer(2 ** 31));
}
