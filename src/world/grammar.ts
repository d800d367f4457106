/** The grammar of responses: a text is well formed when each of its sentences is one of the world's. */
import { type PhraseGroup, phraseGroups, rewriteOrder, rewriteSlots, unknowables } from './phrases.ts';
import { capital } from './requests.ts';
import {
  allTopics,
  dangerTasks,
  makers,
  nouns,
  type Property,
  properties,
  propertyWords,
  taskActs,
} from './words.ts';

export interface Claim {
  readonly property: Property;
  readonly value: string;
  readonly technical: boolean;
}

export type Sentence =
  /** Claims about an entity, `undefined` for `it`; `summary` when they follow `In short,`. */
  | {
      readonly type: 'claims';
      readonly entity: string | undefined;
      readonly claims: readonly Claim[];
      readonly summary: boolean;
    }
  | { readonly type: 'step'; readonly act: string; readonly marker: string | undefined }
  | { readonly type: 'total'; readonly total: number; readonly marked: boolean }
  | { readonly type: 'sum'; readonly terms: readonly [number, number]; readonly total: number }
  | {
      readonly type: 'rewrite';
      readonly entity: string;
      readonly ideas: readonly number[];
      readonly plain: number;
      readonly marked: boolean;
    }
  | { readonly type: 'guess'; readonly question: number }
  | { readonly type: 'phrase'; readonly group: PhraseGroup }
  | { readonly type: 'unknown' };

export interface ParsedText {
  readonly sentences: readonly Sentence[];
  /** Sentences joined by single spaces, each beginning with a capital or digit and ending with its stop. */
  readonly tidy: boolean;
}

const unknown: Sentence = { type: 'unknown' };
const entityNames = new Set(
  allTopics.flatMap((topic) => nouns[topic].flatMap((noun) => makers.map((maker) => `${maker} ${noun}`))),
);

const claims = new Map<string, Claim>(
  properties.flatMap((property) => {
    const { plain, technical, values } = propertyWords[property];
    return values.flatMap((value) => [
      ...plain.map((form) => [form.replace('#', value), { property, value, technical: false }] as const),
      [technical.replace('#', value), { property, value, technical: true }] as const,
    ]);
  }),
);
const acts = new Set([...Object.values(taskActs).flat(), ...dangerTasks.flatMap((task) => task.acts)]);

/** Sentences that are fixed as a whole. */
const fixed = new Map<string, Sentence>([
  ...Object.entries(phraseGroups).flatMap(([group, list]) =>
    list.map((text): [string, Sentence] => [text, { type: 'phrase', group: group as PhraseGroup }]),
  ),
  ...unknowables.flatMap(({ guess, values }, question) =>
    values.map((value): [string, Sentence] => [guess.replace('#', value), { type: 'guess', question }]),
  ),
  ...[...acts].flatMap((act) => [
    [`${capital(act)}.`, { type: 'step', act, marker: undefined }] as [string, Sentence],
    ...['First', 'Then', 'Last'].map((marker): [string, Sentence] => [
      `${marker}, ${act}.`,
      { type: 'step', act, marker },
    ]),
  ]),
]);

/** Words of an idea, technical and plain, longest first, so that `prior to` is read whole. */
const ideaPattern = new RegExp(
  `^(In plain words, )?(${alternatives('verb')}) the (\\w+ \\w+) ${rewriteOrder
    .slice(1)
    .map((slot) => `(${alternatives(slot)})`)
    .join(' ')}\\.$`,
  'i',
);
const ideas = new Map<string, { readonly idea: number; readonly plain: number }>(
  rewriteOrder.flatMap((slot) =>
    rewriteSlots[slot].flatMap((forms, idea) =>
      forms.map((form, plain) => [`${slot} ${form}`, { idea, plain }] as const),
    ),
  ),
);

function alternatives(slot: (typeof rewriteOrder)[number]): string {
  return rewriteSlots[slot]
    .flatMap((forms): string[] => [...forms])
    .sort((a, b) => b.length - a.length)
    .join('|');
}

/** Parses a text (a completion: white space around it does not count) into sentences. */
export function parseText(text: string): ParsedText {
  const trimmed = text.trim();
  const parts = trimmed.match(/[^.!?]*[.!?]+|[^.!?]+$/g) ?? [];
  const sentences = parts.map((part, at) => parseSentence(at === 0 ? part : part.slice(1)));
  const tidy =
    parts.length > 0 &&
    parts.every((part, at) => (at === 0 ? /^[A-Z0-9]/ : /^ [A-Z0-9]/).test(part) && /[.!?]$/.test(part));
  return { sentences, tidy };
}

/** Whether a text is a sequence of the world's sentences, properly joined. */
export function isWellFormed(text: string): boolean {
  const { sentences, tidy } = parseText(text);
  return tidy && sentences.every(({ type }) => type !== 'unknown');
}

export function parseSentence(text: string): Sentence {
  const known = fixed.get(text);
  if (known !== undefined) return known;
  if (text.startsWith('It ')) return parseTotal(text) ?? parseClaims(text.slice(3), undefined, false);
  if (text.startsWith('The ')) return parseNamed(text.slice(4), false);
  if (text.startsWith('In short, the ')) return parseNamed(text.slice(14), true);
  return parseTotal(text) ?? parseRewrite(text) ?? unknown;
}

function parseNamed(text: string, summary: boolean): Sentence {
  const space = text.indexOf(' ', text.indexOf(' ') + 1);
  const entity = text.slice(0, space);
  return entityNames.has(entity) ? parseClaims(text.slice(space + 1), entity, summary) : unknown;
}

function parseClaims(text: string, entity: string | undefined, summary: boolean): Sentence {
  if (!text.endsWith('.')) return unknown;
  const parts = summary ? text.slice(0, -1).split(/, | and /) : [text.slice(0, -1)];
  const found: Claim[] = [];
  for (const part of parts) {
    const claim = claims.get(part);
    if (claim === undefined) return unknown;
    found.push(claim);
  }
  return { type: 'claims', entity, claims: found, summary };
}

function parseTotal(text: string): Sentence | undefined {
  const total = /^(Answer:|It is) (\d+) coins\.$/.exec(text);
  if (total !== null) return { type: 'total', total: Number(total[2]), marked: total[1] === 'Answer:' };
  const sum = /^(\d+) and (\d+) make (\d+)\.$/.exec(text);
  if (sum === null) return undefined;
  return { type: 'sum', terms: [Number(sum[1]), Number(sum[2])], total: Number(sum[3]) };
}

function parseRewrite(text: string): Sentence | undefined {
  const match = ideaPattern.exec(text);
  if (match === null) return undefined;
  const [, lead, verb, entity, ...rest] = match;
  if (!entityNames.has(entity!)) return undefined;
  // The verb alone may have a capital, and only when it begins the sentence.
  const spoken = [lead === undefined ? verb!.charAt(0).toLowerCase() + verb!.slice(1) : verb!, ...rest];
  const found = rewriteOrder.map((slot, at) => ideas.get(`${slot} ${spoken[at]}`));
  if (found.some((entry) => entry === undefined)) return undefined;
  return {
    type: 'rewrite',
    entity: entity!,
    ideas: found.map((entry) => entry!.idea),
    plain: found.filter((entry) => entry!.plain === 1).length / found.length,
    marked: lead !== undefined,
  };
}
